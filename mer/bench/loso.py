"""Part `loso`: folds of leave-one-subject-out, ours and the plain loop, in three regimes.

A whole protocol takes hours with the plain loop, so some folds of few epochs are measured. What a
fold costs apart from its epochs follows from two runs that differ in their number alone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from omegaconf import open_dict

from mer.bench import arithmetic, plain_loop
from mer.bench.figures import Figure, figure
from mer.bench.material import Material, gather, plan, quiet, run_ours, sides
from mer.bench.settings import Settings
from mer.data import sources
from mer.training.pretrain import macro_weights
from mer.training.trainer import fold_threads


class Regime(NamedTuple):
    """What is trained: words of the configuration, frozen blocks, whether epochs play a part."""

    words: tuple[str, ...]
    frozen: tuple[str, ...]
    trains: bool


MACRO = ("macro.epochs=1", "model.transfer.input_stats=macro")

REGIMES = {
    "fully trained": Regime(("macro.enabled=false",), (), True),
    "first blocks frozen": Regime(
        (*MACRO, "model.transfer.freeze=[mobilenetv2]", "model.augment_draws=4"),
        ("mobilenetv2",),
        True,
    ),
    "everything frozen": Regime(
        (
            *MACRO,
            "model.transfer.blocks=all",
            "model.transfer.freeze=[all]",
            "model.augment=null",
        ),
        ("all",),
        False,
    ),
}


def measure(settings: Settings) -> Iterator[Figure]:
    """Time folds of each regime; extrapolated figures are marked."""
    for name, regime in REGIMES.items():
        yield from _regime(settings, name, regime)


def _regime(settings: Settings, name: str, regime: Regime) -> Iterator[Figure]:
    cfg = settings.compose("model.epochs=30", *regime.words)
    planned = int(cfg.model.epochs)
    # Without trained blocks the whole protocol takes seconds, so all of it is measured.
    material = gather(settings, cfg, settings.few(4 if regime.trains else 1000, 2))
    many = settings.few(3, 2) if regime.trains else planned
    found = _Found()
    run_ours(material, 1, "auto")  # macro weights, activations, worker processes: there from now on
    for _ in range(settings.few(2, 1)):
        _ours(material, many, regime.trains, found)
        _others(material, many, regime, found, _macro(material))
    yield from _figures(material, name, many, regime.trains, found)
    yield from _whole(material, name, planned, many, regime.trains, found)


class _Found:
    """Seconds, one value per repeat or per fold.

    Attributes:
        plain: A fold of the plain loop. `plain_epoch`: one of its epochs.
        ours: A fold of ours, many at once: the time of all over their number. `epoch`, `constant`:
            the same of an epoch, and of a fold without its epochs.
        overhead: What a fold of one step takes beyond its arithmetic, one fold at a time.
        rest: A run around its folds.
    """

    def __init__(self) -> None:
        self.plain: list[float] = []
        self.plain_epoch: list[float] = []
        self.ours: list[float] = []
        self.epoch: list[float] = []
        self.constant: list[float] = []
        self.overhead: list[float] = []
        self.rest: list[float] = []


def _ours(material: Material, many: int, trains: bool, found: _Found) -> None:
    """Runs of many epochs and of one: the difference is epochs and nothing else."""
    count = len(material.folds)
    long = run_ours(material, many, "auto")
    epoch = 0.0
    if trains:
        short = run_ours(material, 1, "auto")
        epoch = (long.together - short.together) / count / (many - 1)
    found.ours.append(long.together / count)
    found.epoch.append(epoch)
    found.constant.append(long.together / count - many * epoch)
    found.rest.append(long.rest)


def _others(
    material: Material, many: int, regime: Regime, found: _Found, macro: Path | None
) -> None:
    """The plain loop; and, where blocks are trained, our folds beside their bare arithmetic."""
    chosen = plan(material, many if regime.trains else 0, regime.frozen)
    few = material.folds[1:4]  # the first fold also pays for what is made once
    for fold in few:
        outcome = plain_loop.run_fold(
            chosen, material.paths, material.dataset.labels, *sides(material, fold)
        )
        found.plain.append(outcome.seconds)
        found.plain_epoch += outcome.epochs
    if not regime.trains:
        return
    # One step, so that the difference of two long times does not drown what is looked for.
    cfg = material.cfg.copy()
    with open_dict(cfg):
        cfg.trainer.limit_train_batches = 1
    alone = run_ours(material._replace(cfg=cfg), 1).folds[1:4]
    with fold_threads(material.cfg):
        bare = [arithmetic.measure(material, fold, 1, macro, steps=1).fold(1) for fold in few]
    found.overhead += [one - other for one, other in zip(alone, bare, strict=True)]


def _figures(
    material: Material, name: str, many: int, trains: bool, found: _Found
) -> Iterator[Figure]:
    cfg = material.cfg
    note = (
        f"{cfg.backbone.name}, {cfg.input.size} px, {len(material.dataset)} samples, "
        f"batch {cfg.model.batch_size}, "
    )
    own = note + f"{many} epochs{'' if trains else ' of the classifier'}"
    theirs = note + (f"{many} epochs" if trains else "no training")
    ours = f"ours, {name}"
    plain = f"plain loop, {name}"
    yield figure("loso", "fold", plain, "s", found.plain, note=theirs, baseline=True)
    yield figure("loso", "fold", ours, "s", found.ours, note=own)
    middle = float(np.median(found.plain))
    times = [middle / value for value in found.ours]
    yield figure("loso", "fold: faster than the baseline", ours, "times", times)
    yield figure("loso", "run around its folds", ours, "s", found.rest)
    if not trains:
        return
    overhead = [1000 * value for value in found.overhead]
    yield figure("loso", "fold beyond its arithmetic", ours, "ms", overhead)
    yield figure("loso", "epoch", plain, "s", found.plain_epoch, baseline=True)
    yield figure("loso", "epoch", ours, "s", found.epoch)
    yield figure("loso", "fold without its epochs", ours, "s", found.constant)


def _whole(
    material: Material, name: str, planned: int, many: int, trains: bool, found: _Found
) -> Iterator[Figure]:
    """The whole protocol with all epochs, computed from the folds that were measured."""
    folds = material.total_folds
    plain_epoch = float(np.median(found.plain_epoch)) if trains else 0.0
    plain_constant = float(np.median(found.plain)) - many * plain_epoch
    fold = float(np.median(found.constant)) + planned * float(np.median(found.epoch))
    totals = {
        "plain loop": folds * (plain_constant + planned * plain_epoch),
        "ours": float(np.median(found.rest)) + folds * fold,
    }
    note = f"{folds} folds, {planned} epochs" if trains else f"{folds} folds"
    for who, total in totals.items():
        yield Figure(
            "loso",
            "whole protocol",
            f"{who}, {name}",
            "s",
            total,
            note=note,
            baseline=who == "plain loop",
            extrapolated=True,
        )


def _macro(material: Material) -> Path | None:
    cfg = material.cfg
    if not cfg.macro.enabled:
        return None
    with quiet():
        pool = sources.load(cfg, "macro")
        return macro_weights(cfg, pool, tested=set(material.dataset.table["person"]))
