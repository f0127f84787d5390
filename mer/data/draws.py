"""Samples with a fixed number of augmentations each, so that what follows from them can be kept.

An augmentation here is a function of the seed, the sample and the number of the draw alone: order,
loader processes and caches do not matter.
"""

import hashlib
import random
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from mer.data.datamodule import MERDataModule
from mer.data.dataset import UnifiedDataset
from mer.data.transforms import augmentation
from mer.errors import MerError


class Drawn(Protocol):
    """What a `DrawnView` shows: samples, each plain and in `draws` augmentations."""

    dataset: UnifiedDataset

    @property
    def draws(self) -> int:
        """Augmentations per sample; 0 without augmentation."""

    def tensor(self, position: int, draw: int | None) -> torch.Tensor:
        """One augmentation of a sample, or the plain sample. Float32 (C, H, W)."""


class DrawnImages:
    """Images of a dataset, each with a fixed number of augmentations, made when asked for.

    Args:
        dataset: All samples.
        augment: The `augment` node (see `mer.data.transforms.augmentation`), or None.
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
        self._transform = augmentation(augment, dataset.kind)
        self._ids = dataset.table["sample_id"].tolist()

    def tensor(self, position: int, draw: int | None) -> torch.Tensor:
        """One augmentation of a sample, or the plain sample (None). Float32 (C, S, S)."""
        image = self.dataset.image(position)
        if draw is not None and self._transform is not None:
            text = f"{self.seed} {self._ids[position]} {draw}"
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
            # One state for all steps: with `set_random_seed` each would start from the same number,
            # and whether a sample is mirrored would tell its contrast.
            self._transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
            image = self._transform(image=image)["image"]
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))


class DrawnView(Dataset[dict[str, Any]]):
    """Some samples, augmented or plain, with labels or sealed; as `FoldView` but for the draws.

    Args:
        source: Images or activations.
        positions: Which samples, by position. Shape: (M,).
        augmented: Whether each access picks one of the draws, from torch's generator.
        sealed: Whether labels are withheld; every label then is -1.
    """

    def __init__(
        self,
        source: Drawn,
        positions: NDArray[np.int64],
        augmented: bool = False,
        sealed: bool = False,
    ) -> None:
        self.source, self.positions = source, positions
        self.augmented, self.sealed = augmented, sealed

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.positions)

    def __getitem__(self, item: int) -> dict[str, Any]:
        """One sample: `image` float32 (C, H, W), `label` int (-1 when sealed), `index` int."""
        position = int(self.positions[item])
        draw = None
        if self.augmented and self.source.draws:
            draw = int(torch.randint(self.source.draws, ()))
        label = -1 if self.sealed else int(self.source.dataset.labels[position])
        return {"image": self.source.tensor(position, draw), "label": label, "index": position}


class DrawnDataModule(MERDataModule):
    """Loaders of one fold over images or activations with a fixed number of draws.

    Args:
        source: Images for a whole model, activations for one that is cut.
        train: Positions of the training side. Shape: (M,).
        validation: Positions of the validation persons, possibly empty.
        test: Positions of the test persons.
        batch_size: Samples per training batch and device.
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
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        sides = (train, validation, test, batch_size, None, num_workers, pin_memory)
        super().__init__(source.dataset, *sides)
        self.source = source

    def _view(
        self, positions: NDArray[np.int64], augmented: bool = False, sealed: bool = False
    ) -> DrawnView:
        return DrawnView(self.source, positions, augmented, sealed)
