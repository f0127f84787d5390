"""The data module that macro-pretraining and micro fine-tuning share."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler

from mer.data.augmentation import augmentation
from mer.data.dataset import UnifiedDataset
from mer.data.open_samples import OpenInputs, OpenSamples
from mer.data.views import FreshInputs, Inputs, SampleView
from mer.randomness import generator


class EpochOrder(Sampler[tuple[int, int]]):
    """The samples of each epoch in an order that the seed and the epoch's number decide.

    Yields (place, epoch), so that who loads a sample knows the epoch. Lightning sets the epoch.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def __len__(self) -> int:
        """Number of samples."""
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Places of the epoch, each with its number."""
        epoch = self.epoch
        return ((int(place), epoch) for place in self.places())

    def places(self) -> NDArray[np.int64]:
        """Places of the epoch. Shape: (M,)."""
        return generator("order", self.seed, self.epoch).permutation(self.count)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0."""
        self.epoch = epoch


class MERDataModule(pl.LightningDataModule):
    """Loaders of one fold; test samples come without labels.

    Args:
        dataset: All samples of the run.
        train: Positions of the training side. Shape: (M,).
        validation: Positions of the validation persons, possibly empty.
        test: Positions of the test persons, empty for macro-pretraining.
        batch_size: Samples per training batch.
        augment: The `augment` node (see `mer.data.augmentation.Augmentation`), or None.
        seed: Seed of the order and of the augmentation of the training samples.
        num_workers: Loader processes; 0 loads in the training process.
        pin_memory: Whether batches are put in pinned memory, for copies to a GPU.
        inputs: Fixed augmentations or cached features, in place of `augment`.
    """

    def __init__(
        self,
        dataset: UnifiedDataset,
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        test: NDArray[np.int64],
        batch_size: int,
        augment: dict[str, Any] | None = None,
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
        inputs: Inputs | None = None,
    ) -> None:
        super().__init__()
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.train_positions, self.validation_positions = train, validation
        self.test_positions = test
        self.augmentation = augmentation(augment, dataset.kind)
        self.inputs = inputs or FreshInputs(dataset, self.augmentation)
        self._options: dict[str, Any] = {
            "num_workers": num_workers,
            "persistent_workers": num_workers > 0,
            "pin_memory": pin_memory,
            "collate_fn": _as_it_is,
        }

    def open_to(self, positions: NDArray[np.int64]) -> "MERDataModule":
        """The same loaders, which reach the samples at some positions alone. Shape: (M,)."""
        part = copy.copy(self)
        part.dataset = OpenSamples(self.dataset, positions)
        part.inputs = OpenInputs(self.inputs, part.dataset)
        return part

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled, augmented batches; a last incomplete batch is left out of the epoch."""
        return DataLoader(
            SampleView(self.inputs, self.train_positions, augmented=True, seed=self.seed),
            batch_size=self.batch_size,
            sampler=EpochOrder(len(self.train_positions), self.seed),
            drop_last=len(self.train_positions) > self.batch_size,
            **self._options,
        )

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Validation batches in table order; no loader when there is no validation person."""
        return self._plain(self.validation_positions) if len(self.validation_positions) else []

    def predict_dataloader(self) -> DataLoader[Any]:
        """Test batches without labels."""
        return self._plain(self.test_positions, labelled=False)

    def embedding_dataloader(self) -> DataLoader[Any]:
        """Training samples in table order, not augmented: what heads are fitted on."""
        return self._plain(self.train_positions)

    def unlabelled_dataloader(self, positions: NDArray[np.int64]) -> DataLoader[Any]:
        """Batches of any samples, without labels."""
        return self._plain(positions, labelled=False)

    def _plain(self, positions: NDArray[np.int64], labelled: bool = True) -> DataLoader[Any]:
        return DataLoader(
            SampleView(self.inputs, positions, labelled=labelled),
            batch_size=4 * self.batch_size,
            shuffle=False,
            generator=torch.Generator(),  # looking at samples leaves the draws of training alone
            **self._options,
        )


def _as_it_is(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a view gives is a batch already."""
    return batch
