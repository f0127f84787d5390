"""Callbacks on epochs: keep the best, call after each, count, stop after some, record outputs."""

from collections.abc import Callable, Mapping

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from mer.models.inference import predict_batches
from mer.models.seen_samples import SeenSamples
from mer.progress import Lines


class KeepBest(pl.Callback):
    """Keep the weights of the best validation epoch in memory and put them back when training ends.

    Args:
        monitor: A validation metric, `val/...`; metrics of test persons do not exist during
            training.
        mode: max or min.
    """

    def __init__(self, monitor: str, mode: str) -> None:
        self.monitor, self.mode = monitor, mode
        self.best: float | None = None
        self.epoch: int | None = None
        self._weights: dict[str, torch.Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the weights when the metric has improved."""
        if trainer.sanity_checking:
            return
        value = float(trainer.callback_metrics[self.monitor])
        sign = 1 if self.mode == "max" else -1
        if self.best is None or sign * value > sign * self.best:
            self.best, self.epoch = value, trainer.current_epoch
            self._weights = {
                name: tensor.detach().cpu().clone()
                for name, tensor in pl_module.state_dict().items()
            }

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the best weights back."""
        pl_module.load_state_dict(self._weights)
        self._weights = {}


class AfterEpoch(pl.Callback):
    """Call a function after each epoch, when its row is in the history.

    Args:
        call: The function.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Call it for the epoch before: its row is written after the end of the epoch."""
        self.call()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Call it for the last epoch."""
        self.call()


class EpochLines(pl.Callback):
    """Log how many epochs are done; a continued training begins with those before.

    Args:
        what: What is done.
        shown: Whether anything is logged.
    """

    def __init__(self, what: str, shown: bool = True) -> None:
        self.what, self.shown = what, shown

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with the epochs that are done."""
        done = trainer.current_epoch
        self._lines = Lines(trainer.max_epochs, self.what, "epoch", done, shown=self.shown)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count one more."""
        self._lines.update()


class StopAfter(pl.Callback):
    """End the training after some epochs, on the learning-rate schedule of all of them."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop when they are done."""
        if trainer.current_epoch + 1 >= self.epochs:
            trainer.should_stop = True


class RecordEpochs(pl.Callback):
    """Record logits and embeddings of some samples after an epoch; training is not affected.

    Args:
        positions: Side -> positions of its samples in the dataset.
        every: Whether after each epoch, or after the last alone.

    Attributes:
        epochs: Per epoch, side -> (logits (M, K), embeddings (M, E)), float32.
        index: Side -> positions of the samples of these rows, as their batches name them (M,).
    """

    def __init__(self, positions: Mapping[str, NDArray[np.int64]], every: bool) -> None:
        self.positions, self.every = positions, every
        self.epochs: list[dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]] = []
        self.index: dict[str, NDArray[np.int64]] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Predict the samples, not augmented, in evaluation mode."""
        if not self.every and trainer.current_epoch + 1 < (trainer.max_epochs or 0):
            return
        outputs = {}
        seen: SeenSamples = pl_module.seen  # type: ignore[assignment]
        with trainer.precision_plugin.forward_context(), seen.named():
            for side, positions in self.positions.items():
                loader = trainer.datamodule.unlabelled_dataloader(positions)  # type: ignore[attr-defined]
                batches = predict_batches(pl_module, loader)
                logits, embeddings, self.index[side] = (
                    torch.cat([batch[key] for batch in batches]).cpu().numpy()
                    for key in ("logits", "embedding", "index")
                )
                outputs[side] = logits, embeddings
        self.epochs.append(outputs)
