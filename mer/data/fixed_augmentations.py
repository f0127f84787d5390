"""Samples with a fixed number of augmentations each, so that what follows from them can be cached.

An augmentation here is a function of the seed, the sample and its number alone: order, loader
processes and caches do not matter.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mer.data.augmentation import augmentation
from mer.data.dataset import UnifiedDataset
from mer.errors import MerError
from mer.randomness import generator


class FixedInputs(ABC):
    """Inputs of samples, each plain and in `count` augmentations; see `mer.data.dataset.Inputs`.

    Attributes:
        dataset: All samples.
        count: Augmentations per sample; 0 without augmentation.
    """

    dataset: UnifiedDataset
    count: int

    @abstractmethod
    def tensors(
        self, positions: NDArray[np.int64], numbers: NDArray[np.int64] | None
    ) -> torch.Tensor:
        """Look up one augmentation of each sample, by number, or the plain samples (None).

        Returns:
            Shape: (B, C, H, W), float32.
        """

    def plain(self, positions: NDArray[np.int64]) -> torch.Tensor:
        """Give samples as they are."""
        return self.tensors(positions, None)

    def augmented(
        self, positions: NDArray[np.int64], epochs: Sequence[int], seed: int
    ) -> torch.Tensor:
        """Give one augmentation of each sample, as seed, sample and epoch decide."""
        if not self.count:
            return self.plain(positions)
        return self.tensors(positions, chosen_numbers(seed, positions, epochs, self.count))


def chosen_numbers(
    seed: int, positions: NDArray[np.int64], epochs: Sequence[int], count: int
) -> NDArray[np.int64]:
    """Which of `count` augmentations each sample shows in an epoch. Shape: (B,)."""
    pairs = zip(positions.tolist(), epochs, strict=True)
    numbers = [
        generator("pick", seed, position, epoch).integers(count) for position, epoch in pairs
    ]
    return np.array(numbers, np.int64)


class FixedAugmentations(FixedInputs):
    """Images of a dataset, each with a fixed number of augmentations, made when asked for.

    Args:
        dataset: All samples.
        augment: The `augment` node (see `mer.data.augmentation.Augmentation`), or None.
        count: Augmentations per sample; ignored without `augment`.
        seed: Seed of the augmentations.

    Raises:
        MerError: If there is augmentation and `count` is not 1 or more.
    """

    def __init__(
        self,
        dataset: UnifiedDataset,
        augment: dict[str, Any] | None,
        count: int | None,
        seed: int,
    ) -> None:
        if augment is not None and (count is None or count < 1):
            raise MerError(
                f"model.augment_draws is {count}; set a number of augmentations per sample, 1 or "
                "more, or model.augment=null."
            )
        self.dataset, self.augment, self.seed = dataset, augment, seed
        self.count = 0 if augment is None else int(count or 0)
        self._augmentation = augmentation(augment, dataset.kind)
        self._ids = dataset.table["sample_id"].tolist()

    def tensors(
        self, positions: NDArray[np.int64], numbers: NDArray[np.int64] | None
    ) -> torch.Tensor:
        """Make the images; see `FixedInputs`."""
        images = self.dataset.images(positions)
        if numbers is None or self._augmentation is None:
            return torch.from_numpy(images).permute(0, 3, 1, 2)
        names = [
            (self.seed, self._ids[position], number)
            for position, number in zip(positions.tolist(), numbers.tolist(), strict=True)
        ]
        batch = torch.from_numpy(self._augmentation.one_by_one(images, names)).permute(0, 3, 1, 2)
        return self._augmentation(batch, self._augmentation.draw(names))
