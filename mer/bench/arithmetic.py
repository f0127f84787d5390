"""The arithmetic of a fold alone: its batches lie in memory, nothing is set up, logged or written.

What a fold takes beyond this is overhead.
"""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import OmegaConf

from mer.bench.material import Material, sides
from mer.callbacks.svm_head import SVMHead
from mer.models import frozen_blocks, optim
from mer.models.backbones import evaluation_mode
from mer.models.modules import MicroFinetuneModule
from mer.models.transfer import load_blocks
from mer.protocols import Fold
from mer.training.trainer import module_arguments


class Arithmetic(NamedTuple):
    """Seconds of one fold: an epoch, embedding and predicting, fitting and using the SVM."""

    epoch: float
    predicting: float
    svm: float

    def fold(self, epochs: int) -> float:
        """Seconds of a fold with some epochs."""
        return epochs * self.epoch + self.predicting + self.svm


def measure(
    material: Material,
    fold: Fold,
    epochs: int,
    macro: Path | None = None,
    steps: int | None = None,
) -> Arithmetic:
    """Time the steps of one fold.

    Args:
        material: Samples and configuration; `model.transfer.freeze` is heeded: frozen first blocks
            are computed before the clock starts.
        fold: Who trains and is tested.
        epochs: Epochs of which the mean is taken.
        macro: Checkpoint of macro-pretraining, or None.
        steps: Steps per epoch; None for as many as the samples fill.
    """
    cfg, dataset = material.cfg, material.dataset
    train, test = sides(material, fold)
    torch.manual_seed(cfg.seed)
    module = MicroFinetuneModule(
        **module_arguments(cfg, cfg.model, dataset, train, cfg.seed),
        freeze=cfg.model.transfer.freeze,
    )
    if macro is not None:
        load_blocks(module, macro, cfg.model.transfer.blocks, False)
    inputs = {name: _images(material, side) for name, side in (("train", train), ("test", test))}
    frozen = frozen_blocks.split_off(module)
    if frozen is not None:
        with torch.no_grad():
            inputs = {
                name: torch.cat([frozen(part) for part in batch.split(32)]).contiguous()
                for name, batch in inputs.items()
            }
    labels = torch.from_numpy(dataset.labels[train])
    samples = inputs["train"], labels
    seconds = _train(module, samples, cfg.model.batch_size, epochs, steps)
    started = time.perf_counter()
    with evaluation_mode(module):
        parts = inputs["train"].split(4 * cfg.model.batch_size)
        embeddings = torch.cat([module.embed(part) for part in parts])
        tested = module.embed(inputs["test"])
        module.classifier(tested)
    predicting = time.perf_counter() - started
    head = SVMHead(**_head_options(material))
    started = time.perf_counter()
    head.fit_embeddings(embeddings.double().numpy(), labels.numpy(), len(dataset.classes))
    head.scores(tested)
    return Arithmetic(seconds / max(epochs, 1), predicting, time.perf_counter() - started)


def _train(
    module: MicroFinetuneModule,
    samples: tuple[torch.Tensor, torch.Tensor],
    size: int,
    epochs: int,
    steps: int | None,
) -> float:
    images, labels = samples
    settings = module.hparams["optimizer"]
    groups = optim.parameter_groups(module.named_parameters(), settings["weight_decay"], set(), 1.0)
    optimizer = optim.build_optimizer(groups, settings)
    steps = steps or max(1, len(labels) // size)
    batches = [
        [(images[part], labels[part]) for part in torch.randperm(len(labels)).split(size)[:steps]]
        for _ in range(epochs)
    ]
    module.train()
    started = time.perf_counter()
    for epoch in batches:
        for image, label in epoch:
            optimizer.zero_grad()
            module.loss(module(image), label).backward()
            optimizer.step()
    return time.perf_counter() - started


def _images(material: Material, positions: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(material.dataset.images(positions)).permute(0, 3, 1, 2)


def _head_options(material: Material) -> dict[str, object]:
    node = OmegaConf.to_container(material.cfg.callbacks, resolve=True).get("svm_head") or {}
    return {str(key): value for key, value in node.items() if key != "_target_"}
