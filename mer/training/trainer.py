"""What macro-pretraining and micro fine-tuning do alike: seeds, module arguments, the trainer."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import CheckpointIO
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_only

from mer.config.conversion import to_plain
from mer.config.settings import Finetune, Pretrain, Settings
from mer.data.inputs import InputKind
from mer.models import backbones
from mer.models.checkpoints import WholeCheckpoints
from mer.progress import is_watched
from mer.training.devices import devices, on_cpu

#: Keys of the `trainer` node that are not Lightning's.
OWN = ("num_workers", "pin_memory", "threads", "folds_at_once")


class Samples(Protocol):
    """What a network is made for: a `UnifiedDataset`, or synthetic motion."""

    classes: list[str]
    kind: InputKind

    def statistics(
        self, positions: NDArray[np.int64], frame_stats: tuple[Sequence[float], Sequence[float]]
    ) -> tuple[list[float], list[float]]:
        """Mean and standard deviation per channel, fitted on some samples."""

    def class_weights(self, positions: NDArray[np.int64]) -> list[float]:
        """Balanced weights of the classes among some samples."""


@contextlib.contextmanager
def fold_threads(settings: Settings) -> Iterator[int]:
    """Let torch use `trainer.threads` threads where one CPU trains a fold; give the number."""
    before, wanted = torch.get_num_threads(), settings.trainer.threads
    if wanted is None or not on_cpu(settings):
        yield before
        return
    torch.set_num_threads(wanted)
    try:
        yield wanted
    finally:
        torch.set_num_threads(before)


def module_arguments(
    settings: Settings,
    node: Finetune | Pretrain,
    dataset: Samples,
    train: NDArray[np.int64],
    seed: int,
) -> dict[str, Any]:
    """Plain arguments of a module; all that is fitted comes from the training side."""
    backbone = to_plain(settings.backbone)
    mean, std = dataset.statistics(train, backbones.input_stats(backbone))
    weighting = node.class_weights
    weights: list[float] | None
    if weighting == "balanced":
        weights = dataset.class_weights(train)
    else:
        weights = None if weighting is None else [float(weight) for weight in weighting]
    return {
        "backbone": backbone,
        "in_chans": dataset.kind.channels,
        "classes": dataset.classes,
        "input_mean": mean,
        "input_std": std,
        "image_size": settings.input.size,
        "class_weights": weights,
        "optimizer": to_plain(node.optimizer),
        "label_smoothing": node.label_smoothing,
        "loss": node.loss,
        "dropout": node.dropout,
        "seed": seed,
    }


def make_trainer(
    settings: Settings,
    node: Finetune | Pretrain,
    folder: Path,
    callbacks: list[pl.Callback],
    history: bool = True,
    progress: bool = False,
    count: int = 1,
) -> pl.Trainer:
    """Build a Lightning trainer from the `trainer` node.

    Args:
        settings: Settings of the run.
        node: Settings of fine-tuning or of pretraining; gives the number of epochs.
        folder: Folder of the CSV history.
        callbacks: Callbacks of this training.
        history: Whether to write one.
        progress: Whether to show a bar per epoch.
        count: Devices that train together, each in a process that calls this.
    """
    options: dict[str, Any] = to_plain(settings.trainer)
    for own in OWN:
        del options[own]
    bar = options.pop("enable_progress_bar")
    plugins = list(options.get("plugins") or [])
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(WholeCheckpoints())
    # Otherwise Lightning looks for SLURM and its like, and refuses what it finds.
    options["plugins"] = [*plugins, LightningEnvironment()]
    indices = [device.index for device in devices(settings)[:count]]
    options["devices"] = count if None in indices else indices
    if count > 1:
        options |= {"strategy": "ddp", "use_distributed_sampler": False}
    # Lightning takes this from the variables of srun, also for tasks that are runs of their own.
    cast("Any", rank_zero_only).rank = 0
    quiet()
    trainer = pl.Trainer(
        max_epochs=node.epochs,
        default_root_dir=folder,
        logger=pl.loggers.CSVLogger(folder, name="", version="") if history else False,
        callbacks=callbacks,
        enable_checkpointing=any(isinstance(c, pl.callbacks.ModelCheckpoint) for c in callbacks),
        enable_progress_bar=progress and bar and is_watched(),
        **options,
    )
    # Lightning would end the training at SIGTERM with exit status 0. Signals are answered by the
    # command line, by the batch system's launcher, or by default.
    connector: Any = trainer._signal_connector
    connector.register_signal_handlers = _leave_signals_alone
    return trainer


def _leave_signals_alone() -> None:
    pass


def quiet() -> None:
    """Silence messages that one run would otherwise show once per fold."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("pytorch_lightning.accelerators.cuda").setLevel(logging.WARNING)
    for text in (
        ".*LeafSpec.*",  # Lightning calls what torch has deprecated
        ".*does not have many workers.*",  # inputs are in memory: workers would cost, not save
        ".*The number of training batches.*",
        ".*module\\(s\\) in eval mode.*",  # frozen batch norms are meant to be
        ".*Total length of .* across ranks is zero.*",  # no validation persons were asked for
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*Experiment logs directory .* exists.*",
        ".*`.fit` with .* was called without.*",
        ".*`srun` command is available.*",  # and need not be used
        ".*callbacks used to create the checkpoint need.*",  # to go on, not to read its weights
    ):
        warnings.filterwarnings("ignore", message=text)
