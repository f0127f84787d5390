"""Batches of synthetic motion, alone or with real samples beside it."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from mer.config.settings import Settings
from mer.data.datamodule import EpochOrder, MERDataModule
from mer.data.synthetic_motion import Batch, MotionSamples, motion_of
from mer.data.views import SampleView
from mer.synthetic.unit_motion import UNITS

#: Synthetic samples of a validation.
VALIDATED = 2048


class EpochSteps(Sampler[tuple[int, int]]):
    """The steps of an epoch in their order, each with the number of the epoch.

    Args:
        count: Steps of an epoch.
    """

    def __init__(self, count: int) -> None:
        self.count, self.epoch = count, 0

    def __len__(self) -> int:
        """Steps of an epoch."""
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Steps, each with the epoch that was set when the first was asked for."""
        # Lightning sets the epoch of a continued training after it has made the iterator.
        yield from zip(range(self.count), itertools.repeat(self.epoch), strict=False)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0."""
        self.epoch = epoch


class MotionBatches(Dataset[Batch]):
    """One batch per step of a training, a function of the step's number.

    Args:
        motion: Synthetic samples.
        steps: Steps of an epoch.
        size: Synthetic samples of a batch.
        real: Real samples beside them, in an order of their own; None for none.
        real_size: Real samples of a batch.
    """

    def __init__(
        self,
        motion: MotionSamples,
        steps: int,
        size: int,
        real: SampleView | None = None,
        real_size: int = 0,
    ) -> None:
        self.motion, self.steps, self.size = motion, steps, size
        self.real, self.real_size = real, real_size

    def __len__(self) -> int:
        """Steps of an epoch."""
        return self.steps

    def __getitem__(self, item: tuple[int, int]) -> Batch:
        """The batch of a step and an epoch; of real samples `units` are -1."""
        step = item[1] * self.steps + item[0]
        batch = self.motion.take(step * self.size, self.size)
        if self.real is None:
            return batch
        real = self.real.__getitems__(self._places(step))
        real["units"] = torch.full((self.real_size, 2 * len(UNITS)), -1.0)
        return {name: torch.cat([values, real[name]]) for name, values in batch.items()}

    def _places(self, step: int) -> list[tuple[int, int]]:
        """Places of a step's real samples, and the round over all of them that each is of."""
        assert self.real is not None
        count = len(self.real)
        places: list[tuple[int, int]] = []
        order = EpochOrder(count, self.real.seed)
        for number in range(step * self.real_size, (step + 1) * self.real_size):
            if not places or number % count == 0:
                order.set_epoch(number // count)
                drawn = order.places()
            places.append((int(drawn[number % count]), number // count))
        return places


class MotionDataModule(pl.LightningDataModule):
    """Loaders of a pretraining on synthetic motion.

    Args:
        settings: Settings of the run.
        motion: Synthetic samples.
        validation: Synthetic samples that judge the epochs where there is no real one.
        real: Real samples, which are then beside the synthetic ones in every step, and of which
            the validation persons judge the epochs.
    """

    def __init__(
        self,
        settings: Settings,
        motion: MotionSamples,
        validation: MotionSamples,
        real: MERDataModule | None = None,
    ) -> None:
        super().__init__()
        chosen = motion_of(settings)
        steps = max(1, round(chosen.samples / chosen.batch_size / settings.macro.epochs))
        view, self.real = None, real
        if real is not None:
            positions, seed = real.train_positions, real.seed
            view = SampleView(real.inputs, positions, augmented=True, seed=seed)
        self.batches = MotionBatches(
            motion, steps, chosen.batch_size, view, settings.macro.batch_size
        )
        size = min(VALIDATED, chosen.samples)
        self.validation = MotionBatches(validation, -(-size // 256), min(size, 256))
        self.options: dict[str, Any] = {
            "batch_size": None,
            "num_workers": settings.trainer.num_workers,
            "persistent_workers": settings.trainer.num_workers > 0,
            "pin_memory": settings.trainer.pin_memory,
        }

    def train_dataloader(self) -> DataLoader[Any]:
        """One batch per step; steps go on from epoch to epoch."""
        return DataLoader(self.batches, sampler=EpochSteps(len(self.batches)), **self.options)

    def val_dataloader(self) -> Any:
        """The same samples after every epoch."""
        if self.real is not None:
            return self.real.val_dataloader()
        first_epoch = [(step, 0) for step in range(len(self.validation))]
        return DataLoader(self.validation, sampler=first_epoch, **self.options)
