"""Scores of a batch, as every kind of model gives them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Scores(NamedTuple):
    """What a model gives for a batch.

    Attributes:
        scores: Head -> its scores, of the softmax probabilities. The main head comes first, the
            softmax last. Shape: (B, K), float32 or float64.
        classes: Head -> predicted class numbers, with the thresholds that the fold chose. (B,).
        units: Intensities of the action units, 0 to 1, on the person's left half of the face, then
            on the right half; None where the model has none. Shape: (B, 2 U).
    """

    scores: Mapping[str, NDArray[np.floating]]
    classes: dict[str, NDArray[np.int64]]
    units: NDArray[np.floating] | None = None

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers by the main head. Shape: (B,)."""
        return next(iter(self.classes.values()))
