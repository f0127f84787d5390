"""Training several folds on one GPU: one CUDA graph takes a step of all of them.

A step of a small network is some 700 kernels of a few microseconds each; starting them one by one
takes five times as long as they run. A graph starts them all at once, and each fold has a stream of
its own in it. The graph is recorded once and serves all folds of a run: what differs between them
is in tensors. The number of parallel folds does not change their results.

Without a GPU the same code takes the steps one by one; tests find it equal to Lightning's loop, bit
for bit. On a GPU the two differ by rounding, which grows with the steps.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mer.data.augmentation import Augmentation
from mer.data.datamodule import EpochOrder, MERDataModule
from mer.errors import MerError
from mer.models import optim
from mer.models.epoch_counts import EpochTally
from mer.models.modules import MERModule
from mer.runs import curves

#: Steps that are taken before a graph is recorded, so that libraries have chosen their kernels.
WARM_UP = 3


class FoldTraining(NamedTuple):
    """One fold to train: its module, on the CPU, its data, and the folder for its history."""

    module: MERModule
    data: MERDataModule
    folder: Path

    @property
    def shape(self) -> tuple[int, int]:
        """Samples per batch, and steps per epoch."""
        samples, batch_size = len(self.data.train_positions), self.data.batch_size
        return min(samples, batch_size), max(1, samples // batch_size)


class ParallelTrainer:
    """Trains several folds of one run at a time.

    Args:
        inputs: Inputs of all samples of the run. Shape: (N, C, S, S), float32, on the device.
        labels: Their class numbers. Shape: (N,), int64, on the device.
        width: Folds at a time.
        epochs: Whole passes over the training side.
        half: Whether networks compute in bfloat16 where that is safe.
        after_epoch: Called after every epoch, when the histories have it.
    """

    def __init__(
        self,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        width: int,
        epochs: int,
        half: bool,
        after_epoch: Callable[[], None] | None = None,
    ) -> None:
        self.inputs, self.labels, self.width = inputs, labels, width
        self.epochs, self.half, self.after_epoch = epochs, half, after_epoch
        self._slots: list[_Slot] = []
        self._replay: Callable[[], None] | None = None

    def train(self, trainings: Sequence[FoldTraining]) -> None:
        """Train some folds, not more than the width, and leave the weights in their modules.

        Folds of one call, and batches of all calls, must be alike (see `FoldTraining.shape`).

        Raises:
            MerError: If a training diverges, with its fold.
        """
        self._load(trainings)
        active = self._slots[: len(trainings)]
        _, per_epoch = trainings[0].shape
        histories: list[list[dict[str, float]]] = [[] for _ in active]
        for epoch in range(self.epochs):
            for slot in active:
                slot.start(epoch)
            for step in range(per_epoch):
                self._fill(active, epoch, step, per_epoch)
                self._step(active)
            for slot, training, rows in zip(active, trainings, histories, strict=True):
                try:
                    scores = slot.scores(epoch)
                except MerError as error:
                    raise MerError(f"fold {training.folder.name}: {error}") from error
                rows.append({"epoch": epoch, "step": (epoch + 1) * per_epoch - 1, **scores})
                curves.write(training.folder, rows)
            if self.after_epoch is not None:
                self.after_epoch()
        for slot, training in zip(active, trainings, strict=True):
            training.module.load_state_dict(slot.module.state_dict())
            training.module.seen.extend("train", np.concatenate(slot.used))

    def _load(self, trainings: Sequence[FoldTraining]) -> None:
        """Put the folds' weights and constants into the slots; the first call makes those."""
        if not self._slots:
            size, _ = trainings[0].shape
            device = self.inputs.device
            first = trainings[0].module
            self._slots = [_Slot(first, size, device, self.half) for _ in range(self.width)]
            if device.type == "cuda":
                self._replay = _record(self._slots, self.inputs)
        for slot, training in zip(self._slots, trainings, strict=False):
            slot.load(training)

    def _fill(self, active: Sequence["_Slot"], epoch: int, step: int, per_epoch: int) -> None:
        """Put the next batches and the learning rate into the slots."""
        device = self.inputs.device
        batches = [slot.batch(step) for slot in active]
        positions = torch.cat([torch.from_numpy(batch) for batch in batches]).to(device)
        images = self.inputs[positions]
        augmentation = active[0].data.augmentation
        if augmentation is not None:
            images = augmentation(images, self._parameters(augmentation, active, batches, epoch))
        labels, done = self.labels[positions], epoch * per_epoch + step
        size = len(batches[0])
        parts = (torch.split(images, size), torch.split(labels, size), batches)
        for slot, image, label, batch in zip(active, *parts, strict=True):
            slot.fill(image, label)
            slot.used.append(batch)
            optim.set_rates(
                slot.optimizer, slot.module.hparams["optimizer"], done, per_epoch, self.epochs
            )

    def _parameters(
        self,
        augmentation: Augmentation,
        active: Sequence["_Slot"],
        batches: list[NDArray[np.int64]],
        epoch: int,
    ) -> torch.Tensor:
        names = [
            (slot.data.seed, position, epoch)
            for slot, batch in zip(active, batches, strict=True)
            for position in batch.tolist()
        ]
        return augmentation.draw(names).to(self.inputs.device, non_blocking=True)

    def _step(self, active: Sequence["_Slot"]) -> None:
        if self._replay is not None:
            self._replay()
            return
        for slot in active:
            slot.step()


class _Slot:
    """A fold in training: tensors that stay where they are, filled anew for each step and fold."""

    def __init__(self, like: MERModule, size: int, device: torch.device, half: bool) -> None:
        self.module: MERModule = type(like)(**like.hparams)
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(like.get_parameter(name).requires_grad)
        self.module.transfer = like.transfer
        self.module.to(device).train()
        self.half = half
        settings = self.module.hparams["optimizer"]
        groups = self.module.parameter_groups()
        self.optimizer = optim.build_optimizer(groups, settings, recorded=device.type == "cuda")
        side, channels = self.module.hparams["image_size"], self.module.hparams["in_chans"]
        image = torch.zeros(size, channels, side, side, device=device)
        self.image = image.contiguous(memory_format=torch.channels_last)
        self.label = torch.zeros(size, dtype=torch.int64, device=device)
        self.mask = torch.ones(size, self.module.embedding_width, device=device)
        self.tally = EpochTally(len(self.module.classes), device)
        self.used: list[NDArray[np.int64]] = []
        self.data: MERDataModule
        self._order: NDArray[np.int64]

    def load(self, training: FoldTraining) -> None:
        """Begin with the weights of a fold and an optimizer without state."""
        self.data, self.used = training.data, []
        self.module.dropout = training.module.dropout
        with torch.no_grad():
            self.module.load_state_dict(training.module.state_dict())
            for state in self.optimizer.state.values():
                for value in state.values():
                    if isinstance(value, torch.Tensor):
                        value.zero_()

    def start(self, epoch: int) -> None:
        """Begin an epoch."""
        order = EpochOrder(len(self.data.train_positions), self.data.seed)
        order.set_epoch(epoch)
        self._order = self.data.train_positions[order.places()]
        self.module.dropout.start(epoch)
        self.tally.clear()

    def batch(self, step: int) -> NDArray[np.int64]:
        """Positions of the samples of a step. Shape: (B,)."""
        size = len(self.label)
        return self._order[step * size : (step + 1) * size]

    def fill(self, image: torch.Tensor, label: torch.Tensor) -> None:
        """Put a batch into place."""
        self.image.copy_(image)
        self.label.copy_(label)
        mask = self.module.dropout.mask(*self.mask.shape)
        if mask is not None:
            self.mask.copy_(mask, non_blocking=True)

    def step(self) -> None:
        """Take one training step."""
        self.optimizer.zero_grad(set_to_none=True)
        precision = (
            torch.autocast(self.image.device.type, torch.bfloat16)
            if self.half
            else contextlib.nullcontext()
        )
        mask = self.mask if self.module.dropout.probability else None
        with precision:
            logits = self.module(self.image, mask)
            loss = self.module.loss(logits, self.label)
        loss.backward()
        self.optimizer.step()
        self.tally.add(loss.detach(), logits.detach(), self.label)

    def scores(self, epoch: int) -> dict[str, float]:
        """Loss and scores of the epoch, float32 as Lightning logs them."""
        values = self.tally.compute(lambda tensor, reduce_op: tensor)
        self.module.check_loss(epoch, values["loss"])
        return {f"train/{name}": float(np.float32(values[name])) for name in sorted(values)}


def _record(slots: Sequence[_Slot], inputs: torch.Tensor) -> Callable[[], None]:
    """Record one step of all slots as a graph."""
    for slot in slots:
        slot.image.copy_(inputs[: len(slot.image)])
    streams = [torch.cuda.Stream() for _ in slots]
    home = torch.cuda.Stream()
    home.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(home):
        for _ in range(WARM_UP):
            for slot in slots:
                slot.step()
    torch.cuda.current_stream().wait_stream(home)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=home):
        for slot, stream in zip(slots, streams, strict=True):
            stream.wait_stream(home)
            with torch.cuda.stream(stream):
                slot.step()
        for stream in streams:
            home.wait_stream(stream)
    return graph.replay
