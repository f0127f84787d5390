"""Part `loso`: folds of leave-one-subject-out, ours and the plain loop, in three regimes.

A whole protocol takes hours with the plain loop, so some folds of few epochs are measured. What a
fold costs apart from its epochs follows from two runs that differ in their number alone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mer.bench import arithmetic, plain_loop
from mer.bench.figures import Figure, figure, ratio
from mer.bench.material import Material, gather, plan, quiet, run_ours, sides
from mer.bench.settings import Settings
from mer.data import sources
from mer.pretrain import macro_weights


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
    material = gather(settings, cfg, settings.few(4, 2))
    macro = _macro(material)
    many = settings.few(4, 2) if regime.trains else 1
    chosen = plan(material, many if regime.trains else 0, regime.frozen)
    found: dict[str, list[float]] = {
        key: [] for key in ("plain", "ours", "first", "epoch", "constant", "overhead", "rest")
    }
    plain_epochs: list[float] = []
    run_ours(material, 1)  # macro weights, frozen activations and warm caches are there from now on
    for _ in range(settings.few(3, 1)):
        long = run_ours(material, many)
        short = run_ours(material, 1) if many > 1 else long
        # The first fold also pays for what is made once.
        found["first"].append(long.folds[0])
        found["rest"].append(long.rest)
        for number, fold in enumerate(material.folds[1:], start=1):
            outcome = plain_loop.run_fold(
                chosen, material.paths, material.dataset.labels, *sides(material, fold)
            )
            bare = arithmetic.measure(material, fold, many, macro)
            found["plain"].append(outcome.seconds)
            plain_epochs += outcome.epochs
            ours = long.folds[number]
            epoch = (ours - short.folds[number]) / (many - 1) if many > 1 else 0.0
            found["ours"].append(ours)
            found["epoch"].append(epoch)
            found["constant"].append(ours - many * epoch)
            found["overhead"].append(ours - bare.fold(many))
    epochs = f"{many} epoch{'s' * (many > 1)}" if regime.trains else "no training"
    note = (
        f"{cfg.backbone.name}, {cfg.input.size} px, {len(material.dataset)} samples, "
        f"batch {cfg.model.batch_size}, {epochs}"
    )
    own = note if regime.trains else note.replace("no training", "1 epoch of the classifier")
    plain = figure(
        "loso", "fold", f"plain loop, {name}", "s", found["plain"], note=note, baseline=True
    )
    yield plain
    yield figure("loso", "fold", f"ours, {name}", "s", found["ours"], note=own)
    yield ratio("loso", "fold", f"ours, {name}", found["plain"], found["ours"])
    yield figure("loso", "first fold of a run", f"ours, {name}", "s", found["first"])
    yield figure("loso", "run around its folds", f"ours, {name}", "s", found["rest"])
    overhead = [1000 * value for value in found["overhead"]]
    yield figure("loso", "fold beyond its arithmetic", f"ours, {name}", "ms", overhead)
    shares = [o / t for o, t in zip(found["overhead"], found["ours"], strict=True)]
    yield figure("loso", "share beyond the arithmetic", f"ours, {name}", "share", shares)
    if regime.trains:
        yield figure("loso", "epoch", f"plain loop, {name}", "s", plain_epochs, baseline=True)
        yield figure("loso", "epoch", f"ours, {name}", "s", found["epoch"])
        yield figure("loso", "fold without its epochs", f"ours, {name}", "s", found["constant"])
    yield from _whole(material, name, planned if regime.trains else 0, found, plain_epochs, many)


def _whole(
    material: Material,
    name: str,
    planned: int,
    found: dict[str, list[float]],
    plain_epochs: list[float],
    many: int,
) -> Iterator[Figure]:
    """The whole protocol with all epochs, computed from the folds that were measured."""
    folds = material.total_folds
    median = {key: float(np.median(values)) for key, values in found.items()}
    plain_epoch = float(np.median(plain_epochs)) if plain_epochs else 0.0
    plain_constant = median["plain"] - (many * plain_epoch if planned else 0)
    totals = {
        "plain loop": folds * (plain_constant + planned * plain_epoch),
        "ours": median["rest"]
        + median["first"]
        - median["ours"]
        + folds * (median["constant"] + planned * median["epoch"]),
    }
    note = f"{folds} folds, {planned} epochs" if planned else f"{folds} folds, no training"
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
