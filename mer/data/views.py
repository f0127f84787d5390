"""Batches of a dataset's samples: plain or augmented, with or without labels."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from mer.data.augmentation import Augmentation
from mer.data.dataset import UnifiedDataset


class Inputs(Protocol):
    """What a `SampleView` shows: the inputs of samples, plain and augmented."""

    dataset: UnifiedDataset

    def plain(self, positions: NDArray[np.int64]) -> torch.Tensor:
        """Inputs of some samples as they are. Shape: (B, C, H, W), float32."""

    def augmented(
        self, positions: NDArray[np.int64], epochs: Sequence[int], seed: int
    ) -> torch.Tensor:
        """Inputs of some samples as seed and epoch change them. Shape: (B, C, H, W), float32."""


class FreshInputs:
    """Inputs of a dataset, augmented anew in every epoch."""

    def __init__(self, dataset: UnifiedDataset, augmentation: Augmentation | None) -> None:
        self.dataset, self.augmentation = dataset, augmentation

    def plain(self, positions: NDArray[np.int64]) -> torch.Tensor:
        """See `Inputs`."""
        return torch.from_numpy(self.dataset.images(positions)).permute(0, 3, 1, 2)

    def augmented(
        self, positions: NDArray[np.int64], epochs: Sequence[int], seed: int
    ) -> torch.Tensor:
        """See `Inputs`."""
        if self.augmentation is None:
            return self.plain(positions)
        names = [
            (seed, position, epoch)
            for position, epoch in zip(positions.tolist(), epochs, strict=True)
        ]
        images = self.augmentation.one_by_one(self.dataset.images(positions), names)
        batch = torch.from_numpy(images).permute(0, 3, 1, 2)
        return self.augmentation(batch, self.augmentation.draw(names))


class SampleView(Dataset[dict[str, Any]]):
    """Some samples, augmented or plain, with or without their labels.

    A loader asks for whole batches (`__getitems__`), since augmentation acts on those.

    Args:
        inputs: The inputs of all samples.
        positions: Positions of the samples. Shape: (M,).
        augmented: Whether inputs are augmented.
        seed: Seed of the augmentation.
        labelled: Whether labels are given; without, every label is -1.
    """

    def __init__(
        self,
        inputs: Inputs,
        positions: NDArray[np.int64],
        augmented: bool = False,
        seed: int = 0,
        labelled: bool = True,
    ) -> None:
        self.inputs, self.positions = inputs, positions
        self.augmented, self.seed, self.labelled = augmented, seed, labelled

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.positions)

    def __getitem__(self, item: int | tuple[int, int]) -> dict[str, Any]:
        """One sample, as a batch without its first dimension."""
        return {name: values[0] for name, values in self.__getitems__([item]).items()}

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> dict[str, torch.Tensor]:
        """A batch.

        Args:
            items: Indices into `positions`; in training with the epoch, which decides the changes.

        Returns:
            `image` float32 (B, C, H, W), `label` int64 (B,), `index` int64 (B,).
        """
        pairs = [item if isinstance(item, tuple) else (item, 0) for item in items]
        positions = self.positions[[index for index, _ in pairs]]
        if self.augmented:
            image = self.inputs.augmented(positions, [epoch for _, epoch in pairs], self.seed)
        else:
            image = self.inputs.plain(positions)
        labels = self.inputs.dataset.labels[positions]
        return {
            "image": image,
            "label": torch.from_numpy(labels if self.labelled else np.full_like(labels, -1)),
            "index": torch.from_numpy(positions),
        }
