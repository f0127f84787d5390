"""Samples with a fixed number of augmentations each, so that what follows from them can be kept.

An augmentation here is a function of the seed, the sample and the number of the draw alone: order,
loader processes and caches do not matter.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from mer.data.augmentation import augmentation
from mer.data.datamodule import MERDataModule
from mer.data.dataset import UnifiedDataset, labels_of, places_and_epochs
from mer.errors import MerError
from mer.randomness import generator


class Drawn(Protocol):
    """What a `DrawnView` shows: samples, each plain and in `draws` augmentations."""

    dataset: UnifiedDataset

    @property
    def draws(self) -> int:
        """Augmentations per sample; 0 without augmentation."""

    def tensors(
        self, positions: NDArray[np.int64], draws: NDArray[np.int64] | None
    ) -> torch.Tensor:
        """One augmentation of each sample, or the plain samples (None). Float32 (B, C, H, W)."""


class DrawnImages:
    """Images of a dataset, each with a fixed number of augmentations, made when asked for.

    Args:
        dataset: All samples.
        augment: The `augment` node (see `mer.data.augmentation.Augmentation`), or None.
        draws: Augmentations per sample; without `augment` it means nothing.
        seed: Another seed gives other augmentations.

    Raises:
        MerError: If there is augmentation and `draws` is not 1 or more.
    """

    def __init__(
        self,
        dataset: UnifiedDataset,
        augment: dict[str, Any] | None,
        draws: int | None,
        seed: int,
    ) -> None:
        if augment is not None and (draws is None or draws < 1):
            raise MerError(
                f"model.augment_draws is {draws}; set a number of augmentations per sample, 1 or "
                "more, or model.augment=null."
            )
        self.dataset, self.augment, self.seed = dataset, augment, seed
        self.draws = 0 if augment is None else int(draws or 0)
        self._augmentation = augmentation(augment, dataset.kind)
        self._ids = dataset.table["sample_id"].tolist()

    def tensors(
        self, positions: NDArray[np.int64], draws: NDArray[np.int64] | None
    ) -> torch.Tensor:
        """One augmentation of each sample, or the plain samples (None). Float32 (B, C, S, S)."""
        images = self.dataset.images(positions)
        if draws is None or self._augmentation is None:
            return torch.from_numpy(images).permute(0, 3, 1, 2)
        names = [
            (self.seed, self._ids[position], draw)
            for position, draw in zip(positions.tolist(), draws.tolist(), strict=True)
        ]
        batch = torch.from_numpy(self._augmentation.one_by_one(images, names)).permute(0, 3, 1, 2)
        return self._augmentation(batch, self._augmentation.draw(names))


class DrawnView(Dataset[dict[str, Any]]):
    """Some samples, augmented or plain, with labels or sealed; as `FoldView` but for the draws.

    Args:
        source: Images or activations.
        positions: Which samples, by position. Shape: (M,).
        augmented: Whether each access takes one of the draws, as the seed and the epoch decide.
        seed: Another one takes other draws.
        sealed: Whether labels are withheld; every label then is -1.
    """

    def __init__(
        self,
        source: Drawn,
        positions: NDArray[np.int64],
        augmented: bool = False,
        seed: int = 0,
        sealed: bool = False,
    ) -> None:
        self.source, self.positions = source, positions
        self.augmented, self.seed, self.sealed = augmented, seed, sealed

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.positions)

    def __getitem__(self, item: int | tuple[int, int]) -> dict[str, Any]:
        """One sample, as a batch without its first dimension."""
        return {name: values[0] for name, values in self.__getitems__([item]).items()}

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> dict[str, torch.Tensor]:
        """A batch: `image` float32 (B, C, H, W), `label` and `index` int64 (B,)."""
        places, epochs = places_and_epochs(items)
        positions = self.positions[places]
        draws = None
        if self.augmented and self.source.draws:
            draws = picks(self.seed, positions, epochs, self.source.draws)
        return {
            "image": self.source.tensors(positions, draws),
            "label": labels_of(self.source.dataset, positions, self.sealed),
            "index": torch.from_numpy(positions),
        }


def picks(
    seed: int, positions: NDArray[np.int64], epochs: Sequence[int], draws: int
) -> NDArray[np.int64]:
    """Which of its draws each sample shows in an epoch: a function of seed, sample and epoch."""
    pairs = zip(positions.tolist(), epochs, strict=True)
    numbers = [
        generator("pick", seed, position, epoch).integers(draws) for position, epoch in pairs
    ]
    return np.array(numbers, np.int64)


class DrawnDataModule(MERDataModule):
    """Loaders of one fold over images or activations with a fixed number of draws.

    Args:
        source: Images for a whole model, activations for one that is cut.
        train: Positions of the training side. Shape: (M,).
        validation: Positions of the validation persons, possibly empty.
        test: Positions of the test persons.
        batch_size: Samples per training batch and device.
        seed: Of order and draws of the training samples.
        num_workers: Loader processes; 0 loads in the training process.
        pin_memory: Whether batches are put in pinned memory, for copies to a GPU.
    """

    def __init__(
        self,
        source: Drawn,
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        test: NDArray[np.int64],
        batch_size: int,
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        sides = (train, validation, test, batch_size, None, seed, num_workers, pin_memory)
        super().__init__(source.dataset, *sides)
        self.source = source

    def _view(
        self, positions: NDArray[np.int64], augmented: bool = False, sealed: bool = False
    ) -> DrawnView:
        return DrawnView(self.source, positions, augmented, self.seed, sealed)
