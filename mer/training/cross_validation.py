"""A run from Python, on samples and folds that are at hand; see `cross_validate`."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from mer import protocols
from mer.config import trust
from mer.config.settings import (
    Backbone,
    Data,
    Finetune,
    Paths,
    Pretrain,
    Protocol,
    Settings,
    Trainer,
)
from mer.data.dataset import UnifiedDataset
from mer.datasets.labels import load_scheme
from mer.errors import MerError
from mer.protocols import Fold
from mer.runs.observers import Observer
from mer.runs.stored_run import Run
from mer.training import runner


def cross_validate(
    data: UnifiedDataset,
    folds: Sequence[Fold],
    *,
    backbone: Backbone | str = "mobilevit_xxs",
    model: Finetune | None = None,
    heads: Sequence[Any] = (),
    macro: UnifiedDataset | None = None,
    pretrain: Pretrain | None = None,
    trainer: Trainer | None = None,
    selection: Literal["last", "validation"] = "last",
    seed: int = 0,
    run_dir: str | Path | None = None,
    cache: str | Path = "cache",
    distinct: Sequence[Sequence[str]] = (),
    baseline: Literal["pixels"] | None = "pixels",
    like: str | Path | None = None,
    observers: Sequence[Observer] = (),
) -> Run:
    """Train and test a model on every fold, and pool the predictions.

    What `mer train` does, without a configuration. Given a directory that holds some of the folds,
    it does the others.

    Args:
        data: Labelled samples as inputs.
        folds: Folds of `mer.protocols` over `data.table`, or your own; every sample is tested once,
            and no person is on two sides of a fold. The one of `mer.protocols.everybody` trains the
            model that is used, which has no score.
        backbone: A timm name, or its settings.
        model: Settings of the fine-tuning.
        heads: Heads beside the softmax, such as `mer.SVMHead(C=10)`; each fold gets its own.
        macro: Macro-expression samples to pretrain on, with the same input; None for none.
        pretrain: Settings of the pretraining; with `motion` it needs no macro samples.
        trainer: Device, precision and speed.
        selection: last, or validation (the best epoch on the folds' validation persons).
        seed: Seed of initial weights, order and augmentation.
        run_dir: Run directory; None makes a new one below `runs`.
        cache: Folder for macro weights and built inputs, which later runs find there.
        distinct: Pairs of sample ids that look alike and are known to be different recordings.
        baseline: What is fitted in the same folds for comparison: an SVM on the input itself
            (pixels), or None.
        like: Run directory whose scores and calibration stand for a model on everybody; it must
            have the same settings.
        observers: Called at the start, after every fold and at the end.

    Returns:
        The run, with its metrics and predictions.

    Raises:
        MerError: If settings contradict each other, folds are unsound, or the directory belongs to
            another run.
    """
    judged = any(fold.test for fold in folds)
    if not judged and [fold.name for fold in folds] != [protocols.EVERYBODY]:
        raise MerError(
            "No fold tests anybody. Give folds with a test side, or mer.protocols.everybody(data."
            "table), which trains one model on everybody."
        )
    if judged and like is not None:
        raise MerError(f"like={like} goes with the folds of mer.protocols.everybody(data.table)")
    protocols.check_folds(folds, data.table, tested=judged)
    held = sum(len(fold.validation) for fold in folds)
    settings = Settings(
        data=Data(
            name="custom",
            micro={"custom": {}},
            macro={"custom": {}} if macro else {},
            distinct=[list(pair) for pair in distinct],
        ),
        labels=_own_scheme(data.classes),
        protocol=Protocol(
            name="custom" if judged else "all",
            like=None if like is None else str(like),
            validation=held / (held + sum(len(fold.train) for fold in folds)),
        ),
        input=data.settings,
        backbone=backbone if isinstance(backbone, Backbone) else Backbone(backbone),
        model=model or Finetune(),
        macro=_pretraining(pretrain or Pretrain(), macro),
        callbacks={head.name: trust.describe(head) for head in heads},
        trainer=trainer or Trainer(),
        selection=selection,
        seed=seed,
        baseline=baseline,
        paths=Paths(str(cache)),
    )
    runner.check(settings, observers)
    directory = Path(run_dir or Path("runs", f"custom-{datetime.now():%Y%m%d-%H%M%S-%f}"))
    for samples in (data, macro):
        if samples is not None:
            samples.keep(Path(cache, "inputs"))
    pool = None if macro is None else macro.corpus
    runner.carry_out(settings, data.corpus, folds, pool, directory, observers)
    return Run(directory)


def _pretraining(pretrain: Pretrain, macro: UnifiedDataset | None) -> Pretrain:
    """Complete the settings of a pretraining by the samples that it has."""
    classes = None if macro is None else macro.classes
    if pretrain.motion is None:
        labels = {} if classes is None else _own_scheme(classes)
        enabled = macro is not None or pretrain.weights is not None
        return replace(pretrain, enabled=enabled, labels=labels)
    scheme = load_scheme(pretrain.labels or "macro-3")
    if classes is not None and list(classes) != scheme["classes"]:
        raise MerError(
            f"the macro samples have the classes {', '.join(classes)}, synthetic motion has "
            f"{', '.join(scheme['classes'])}. Give the samples' scheme as Pretrain(labels=...)"
        )
    return replace(pretrain, enabled=True, labels=dict(scheme))


def _own_scheme(classes: Sequence[str]) -> dict[str, Any]:
    """A label scheme of samples that are labelled already: it maps no emotion."""
    return {"name": "custom", "version": 1, "classes": list(classes), "map": {}}
