"""A dataset of which some samples are open and all others closed, for what runs in a training.

Loaders, callbacks and augmentations of a training reach samples of its own sides alone: the input
of a closed sample is refused, and its label is unknown.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mer.config.settings import Input
from mer.data.dataset import UnifiedDataset
from mer.data.views import Inputs
from mer.errors import MerError

#: Columns of the sample table that tell the class, or parts of it.
TELLING = ("label", "emotion", "action_units")

#: What a dataset knows of every sample.
KEPT = ("moments", "rows")


class OpenSamples(UnifiedDataset):
    """The samples of another dataset, at their positions.

    Labels of closed samples are -1, and empty in `table`.
    """

    def __init__(self, whole: UnifiedDataset, positions: NDArray[np.int64]) -> None:
        # Statistics of every sample, where they are known, stay behind.
        vars(self).update({name: known for name, known in vars(whole).items() if name not in KEPT})
        self._others = {}
        self._whole, self._closed = whole, np.ones(len(whole), bool)
        self._closed[positions] = False
        self.labels = np.where(self._closed, -1, whole.labels)
        self.table = whole.table.copy()
        for name in (name for name in TELLING if name in self.table):
            self.table.loc[self._closed, name] = None

    def images(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `UnifiedDataset`.

        Raises:
            MerError: If one of the samples is closed.
        """
        self.check_open(positions)
        return self._whole.images(positions)

    def build(self, position: int) -> NDArray[np.float32]:
        """See `UnifiedDataset`.

        Raises:
            MerError: If the sample is closed.
        """
        self.check_open(np.array([position]))
        return self._whole.build(position)

    def as_input(self, settings: Input) -> UnifiedDataset:
        """See `UnifiedDataset`."""
        return OpenSamples(self._whole.as_input(settings), np.flatnonzero(~self._closed))

    def check_open(self, positions: NDArray[np.int64]) -> None:
        """Refuse positions of closed samples.

        Raises:
            MerError: With the first few.
        """
        closed = np.asarray(positions)[self._closed[positions]]
        if closed.size:
            ids = self.table["sample_id"].iloc[closed].tolist()
            more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
            raise MerError(
                "While the network was trained, a callback, a loader or an augmentation asked for "
                f"{len(ids)} samples that are not on the training side: {', '.join(ids[:3])}{more}"
            )


class OpenInputs:
    """The inputs of open samples."""

    def __init__(self, inputs: Inputs, dataset: OpenSamples) -> None:
        self.dataset: UnifiedDataset = dataset
        self._inputs, self._check = copy.copy(inputs), dataset.check_open
        self._inputs.dataset = dataset

    def plain(self, positions: NDArray[np.int64]) -> torch.Tensor:
        """See `mer.data.views.Inputs`."""
        self._check(positions)
        return self._inputs.plain(positions)

    def augmented(
        self, positions: NDArray[np.int64], epochs: Sequence[int], seed: int
    ) -> torch.Tensor:
        """See `mer.data.views.Inputs`."""
        self._check(positions)
        return self._inputs.augmented(positions, epochs, seed)
