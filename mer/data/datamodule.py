"""The data module that macro-pretraining and micro fine-tuning share."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from mer.data.dataset import FoldView, UnifiedDataset
from mer.data.transforms import augmentation


class MERDataModule(pl.LightningDataModule):
    """Loaders of one fold; test samples come without labels, sealed while a model is made.

    Args:
        dataset: All samples of the run.
        train: Positions of the training side. Shape: (M,).
        validation: Positions of the validation persons, possibly empty.
        test: Positions of the test persons, empty for macro-pretraining.
        batch_size: Samples per training batch and device.
        augment: The `augment` node (see `mer.data.transforms.augmentation`), or None.
        num_workers: Loader processes; 0 loads in the training process.
        pin_memory: Whether batches are put in pinned memory, for copies to a GPU.
    """

    def __init__(
        self,
        dataset: UnifiedDataset,
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        test: NDArray[np.int64],
        batch_size: int,
        augment: dict[str, Any] | None = None,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        self.dataset, self.batch_size = dataset, batch_size
        self.train_positions, self.validation_positions = train, validation
        self.test_positions = test
        self.transform = augmentation(augment, dataset.kind)
        self._options = {
            "num_workers": num_workers,
            "persistent_workers": num_workers > 0,
            "pin_memory": pin_memory,
        }

    def train_dataloader(self) -> DataLoader:
        """Shuffled, augmented batches; a last incomplete batch is left out of the epoch."""
        return DataLoader(
            self._view(self.train_positions, augmented=True),
            batch_size=self.batch_size,
            shuffle=True,
            drop_last=len(self.train_positions) > self.batch_size,
            **self._options,
        )

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Validation batches in table order; no loader when there is no validation person."""
        return self._plain(self.validation_positions) if len(self.validation_positions) else []

    def predict_dataloader(self) -> DataLoader:
        """Test batches without labels."""
        return self._plain(self.test_positions, sealed=True)

    def embedding_dataloader(self) -> DataLoader:
        """Training samples in table order, not augmented: what the SVM head is fitted on."""
        return self._plain(self.train_positions)

    def unlabelled_dataloader(self, positions: NDArray[np.int64]) -> DataLoader:
        """Batches of any samples, without labels."""
        return self._plain(positions, sealed=True)

    def _plain(self, positions: NDArray[np.int64], sealed: bool = False) -> DataLoader:
        return DataLoader(
            self._view(positions, sealed=sealed),
            batch_size=4 * self.batch_size,
            shuffle=False,
            generator=torch.Generator(),  # looking at samples leaves the draws of training alone
            **self._options,
        )

    def _view(
        self, positions: NDArray[np.int64], augmented: bool = False, sealed: bool = False
    ) -> Dataset[dict[str, Any]]:
        """Some samples as a dataset; what an item holds is up to a subclass."""
        return FoldView(self.dataset, positions, self.transform if augmented else None, sealed)
