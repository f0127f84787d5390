"""Bi-weighted oriented optical flow as an input: directions of motion, counted over blocks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mer.data.inputs import SampleInput
from mer.prepare.sample import Sample

#: Directions, each as wide as an eighth of a turn; the first begins at the left, over the top.
BINS = 8


@dataclass(frozen=True)
class BiWOOF(SampleInput):
    """Bi-WOOF (Liong et al., Signal Processing: Image Communication 2018).

    A histogram of directions per block: each pixel counts by the length of its motion, each block
    by its mean strain. `size` is the number of blocks per side, and the channels are directions.
    """

    channels = ("unsigned",) * BINS
    needs = ("flow",)

    def draw(self, sample: Sample) -> NDArray[np.floating]:
        """See `SampleInput`."""
        assert sample.flow is not None  # as `needs` says
        u, v, strain = np.asarray(sample.flow, dtype=np.float32)
        if self.center == "median":
            u, v = u - np.median(u), v - np.median(v)
        turn = (np.arctan2(v, u) + np.pi) / (2 * np.pi)
        bins = np.floor(turn * BINS).astype(int) % BINS
        lengths = np.where(bins[..., None] == np.arange(BINS), np.hypot(u, v)[..., None], 0)
        return self.resize(lengths) * self.resize(strain[..., None]).reshape(self.size, -1, 1)
