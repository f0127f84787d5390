"""Parallel folds: several folds of a run, trained together on one GPU (see `cuda_graph`)."""

import contextlib
import functools
import logging
import time
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from mer.callbacks.head import fit_on_samples
from mer.config.conversion import to_plain
from mer.config.settings import Settings
from mer.models import backbones, frozen_blocks
from mer.models.checkpoints import save_network
from mer.models.modules import MicroFinetuneModule
from mer.protocols import Fold
from mer.runs.observers import RunContext
from mer.training import fold, fold_evidence, fold_network
from mer.training.devices import fold_device
from mer.training.engines.cuda_graph import FoldTraining, ParallelTrainer
from mer.training.fold_network import Job

log = logging.getLogger(__name__)

#: Folds at a time for `trainer.folds_at_once=auto`.
AUTO = 4


def obstacles(settings: Settings) -> list[str]:
    """Settings that keep the folds of a configuration from being trained in parallel."""
    augment = settings.model.augment
    found = {
        f"selection={settings.selection}": settings.selection != "last",
        # Their scores per epoch belong into the history.
        f"protocol.validation={settings.protocol.validation}": bool(settings.protocol.validation),
        "protocol.inner makes choices": settings.protocol.inner.n_splits is not None,
        "reuse_networks": settings.reuse_networks,
        "model.loss": settings.model.loss is not None,
        "model.optimizer._target_": settings.model.optimizer.target is not None,
        "model.augment_draws": augment is None or settings.model.augment_draws is not None,
        "model.augment.transforms": augment is not None and bool(augment.transforms),
        f"trainer.precision={settings.trainer.precision}": settings.trainer.precision
        not in ("32-true", "bf16-mixed"),
        "trainer.folds_at_once=1": settings.trainer.folds_at_once == 1,
    }
    unknown = sorted(settings.trainer.options)
    return [name for name, holds in found.items() if holds] + [f"trainer.{n}" for n in unknown]


def _on_gpu(settings: Settings) -> bool:
    return fold_device(settings).type == "cuda"


def engine(run: RunContext, pending: int) -> "ParallelFolds | None":
    """Make the engine of parallel folds; None where folds are trained one by one."""
    if not pending or not _on_gpu(run.settings):
        return None
    found = obstacles(run.settings)
    if not fold.has_heads_alone(run):
        found.append("callbacks")
    backbone = to_plain(run.settings.backbone)
    plain = {**backbone, "pretrained": False, "weights": None}
    if frozen_blocks.is_random(backbones.build(plain, run.dataset.kind.channels)):
        found.append("dropout inside the backbone")
    if found:
        log.info("folds are trained one by one on this GPU, because of %s", ", ".join(found))
        return None
    return ParallelFolds(run, pending)


class ParallelFolds:
    """Trains the folds of a run, several at a time."""

    trains_networks = True

    def __init__(self, run: RunContext, pending: int) -> None:
        self.run = run
        wanted = run.settings.trainer.folds_at_once
        self.width = min(AUTO if wanted == "auto" else int(wanted), pending)
        self.device = fold_device(run.settings)
        self._trainers: dict[int, ParallelTrainer] = {}

    def run_folds(self, folds: Sequence[Fold], announce: bool) -> None:
        """Do what `mer.training.fold.run_fold` does for each of some folds."""
        started = time.time()
        jobs = [
            fold.begin(self.run, one, announce and not place) for place, one in enumerate(folds)
        ]
        made = [(job, FoldTraining(*fold_network.make(job), job.folder)) for job in jobs]
        for alike in sorted({training.shape for _, training in made}):
            group = [pair for pair in made if pair[1].shape == alike]
            self._trainer(alike[0]).train([training for _, training in group])
            for job, training in group:
                self._conclude(job, training, started)

    def _trainer(self, size: int) -> ParallelTrainer:
        """The trainer for batches of some size; as a rule all folds have the same."""
        if size not in self._trainers:
            settings = self.run.settings
            half = settings.trainer.precision == "bf16-mixed"
            self._trainers[size] = ParallelTrainer(
                *self._samples, self.width, settings.model.epochs, half, self.run.after_epoch
            )
        return self._trainers[size]

    @functools.cached_property
    def _samples(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and labels of all samples, on the device."""
        dataset = self.run.dataset
        parts = np.array_split(np.arange(len(dataset)), -(-len(dataset) // 256))
        images = [torch.from_numpy(dataset.images(part)).to(self.device) for part in parts]
        labels = torch.tensor(dataset.labels, device=self.device)
        return torch.cat(images).permute(0, 3, 1, 2), labels

    def _conclude(self, job: Job, training: FoldTraining, started: float) -> None:
        module = cast("MicroFinetuneModule", training.module)
        used = fold_evidence.of_training(job, module, training.data)
        epochs = self.run.settings.model.epochs
        save_network(module, job.folder / "model.ckpt", epochs, epochs * training.shape[1])
        module.to(self.device)
        half = self.run.settings.trainer.precision == "bf16-mixed"
        with torch.autocast(self.device.type, torch.bfloat16) if half else contextlib.nullcontext():
            fit_on_samples(job.heads, module, training.data.embedding_dataloader())
            outputs = fold.outputs_of(job, module, training.data)
        record = {"epochs": epochs, "best_epoch": None, "used": used}
        fold.conclude(job, module, outputs, record, started)
        module.cpu()
