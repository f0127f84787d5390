"""One run: one protocol, all its folds, one pooled result.

A fold is finished when its `predictions.parquet` is there. A run started again in its directory
does the folds that are missing; since every fold has a seed of its own, the result is the same as
that of an uninterrupted run. Several processes may work on one run directory: each fold is locked.
On a CPU a run starts such processes itself (`mer.training.workers`).
"""

import contextlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mer import protocols
from mer.config import trust
from mer.config.composition import typed
from mer.config.settings import (
    Backbone,
    Data,
    Finetune,
    Paths,
    Pretrain,
    Protocol,
    Settings,
    Trainer,
    to_plain,
)
from mer.data import sources
from mer.data.corpus import Corpus
from mer.data.dataset import UnifiedDataset
from mer.files import write_json
from mer.models import cost
from mer.models.checkpoints import load_module
from mer.models.modules import MicroFinetuneModule
from mer.protocols import Fold
from mer.runs import environment, results, rundir
from mer.runs.finished import Run
from mer.runs.observers import Observer, Progress, RunContext, watch
from mer.training import checks, workers
from mer.training.devices import devices, fold_device, refuse_torchrun
from mer.training.engines import frozen, parallel
from mer.training.engines.frozen import Frozen
from mer.training.engines.parallel import ParallelFolds
from mer.training.fold import claim_fold, train_fold
from mer.training.fold_queue import FoldQueue, Outcome
from mer.training.heads import heads_of, make_callbacks
from mer.training.pretrain import macro_weights
from mer.training.trainer import fold_threads

log = logging.getLogger(__name__)


def run(
    config: DictConfig | Settings, run_dir: Path, observers: Sequence[Observer] = ()
) -> dict[str, Any]:
    """Carry out a run in its directory, or finish one that was interrupted.

    Args:
        config: Composed configuration (`conf/train.yaml`), or the settings read from it.
        run_dir: New, empty, or the directory of the same run.
        observers: Told of the start, every fold and the end.

    Returns:
        The content of `metrics.json`; its `status` is `complete` or `incomplete`.

    Raises:
        MerError: If the configuration contradicts itself, data are missing, or the directory
            belongs to a run with another configuration.
    """
    settings = config if isinstance(config, Settings) else typed(config)
    _check(settings, observers)
    roles = ("micro", "macro") if settings.macro.enabled else ("micro",)
    found = sources.read(settings, *roles)
    rundir.claim(run_dir, settings)
    corpus = sources.load(settings, "micro", found["micro"])
    macro = sources.load(settings, "macro", found["macro"]) if settings.macro.enabled else None
    folds = sources.folds(settings, corpus.table)
    return _carry_out(settings, corpus, folds, macro, run_dir, observers)


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
    observers: Sequence[Observer] = (),
) -> Run:
    """Train and test a model on every fold, and pool the predictions.

    What `mer train` does, without a configuration. Given a directory that holds some of the folds,
    it does the others.

    Args:
        data: Labelled samples as inputs.
        folds: Folds of `mer.protocols` over `data.table`.
        backbone: A timm name, or its settings.
        model: Settings of the fine-tuning.
        heads: Heads beside the softmax, such as `mer.SVMHead(C=10)`; each fold gets its own.
        macro: Macro-expression samples to pretrain on, with the same input; None for none.
        pretrain: Settings of the pretraining.
        trainer: Device, precision and speed.
        selection: last, or validation (the best epoch on the folds' validation persons).
        seed: Seed of initial weights, order and augmentation.
        run_dir: Run directory; None makes a new one below `runs`.
        cache: Folder for macro weights, which later runs find there.
        observers: Told of the start, every fold and the end.

    Returns:
        The run, with its metrics and predictions.

    Raises:
        MerError: If settings contradict each other, or the directory belongs to another run.
    """
    settings = Settings(
        data=Data(name="custom", micro={"custom": {}}, macro={"custom": {}} if macro else {}),
        labels={"name": "custom", "classes": data.classes},
        protocol=Protocol(name="custom", validation=0.2 if any(f.validation for f in folds) else 0),
        input=data.settings,
        backbone=backbone if isinstance(backbone, Backbone) else Backbone(backbone),
        model=model or Finetune(),
        macro=replace(pretrain or Pretrain(), enabled=macro is not None),
        callbacks={head.name: trust.describe(head) for head in heads},
        trainer=trainer or Trainer(),
        selection=selection,
        seed=seed,
        paths=Paths(str(cache)),
    )
    _check(settings, observers)
    directory = Path(run_dir or Path("runs", f"custom-{datetime.now():%Y%m%d-%H%M%S-%f}"))
    pool = None if macro is None else macro.corpus
    _carry_out(settings, data.corpus, folds, pool, directory, observers)
    return Run(directory)


def _check(settings: Settings, observers: Sequence[Observer]) -> None:
    """Find out whether a run can be carried out, before any sample is read."""
    checks.check(settings)
    refuse_torchrun()
    devices(settings)
    for observer in observers:
        observer.check()


def _carry_out(
    settings: Settings,
    corpus: Corpus,
    folds: Sequence[Fold],
    macro: Corpus | None,
    run_dir: Path,
    observers: Sequence[Observer],
) -> dict[str, Any]:
    """Freeze the splits, train what is not done yet, and pool."""
    rundir.claim(run_dir, settings)
    rundir.write_manifest(run_dir, corpus, folds)
    environment.write(run_dir, settings, corpus.hash)
    weights = None
    if macro is not None:
        weights = macro_weights(settings, macro, tested=set(corpus.table["person"]))
    dataset = sources.dataset(settings, corpus)
    order = protocols.running_order(folds, corpus.table)
    heads = [*(head.name for head in heads_of(make_callbacks(settings.callbacks))), "softmax"]
    context = RunContext(settings, run_dir, corpus, dataset, order, weights, heads)
    with watch(observers, context):
        _run_folds(context, observers)
        _write_cost(context)
        result = results.pool(run_dir, settings)
        for observer in observers:
            observer.end(result)
    return result


def _train_together(
    run: RunContext, folds: Sequence[Fold], announce: bool, together: Frozen | ParallelFolds
) -> list[Outcome]:
    """As `train_fold`, for several folds at a time on one GPU."""
    with contextlib.ExitStack() as locks:
        outcomes = [claim_fold(run, fold, locks) for fold in folds]
        pairs = zip(folds, outcomes, strict=True)
        mine = [fold for fold, outcome in pairs if outcome is Outcome.TRAINED]
        if mine:
            together.run_folds(mine, announce)
    return outcomes


def _run_folds(run: RunContext, observers: Sequence[Observer]) -> None:
    """Train the folds that are this process's and not done yet, with its workers."""
    cfg, mine = run.cfg, protocols.select_folds(run.folds, run.cfg.protocol.folds)
    pending = {fold.name: fold for fold in mine if not rundir.is_done(run.run_dir, fold.name)}
    if len(pending) < len(mine):
        log.info("%d of %d folds are done already", len(mine) - len(pending), len(mine))
    queue = FoldQueue(list(pending))
    announcer = _Announcer(run, queue, observers)
    together = frozen.engine(run, len(pending)) or parallel.engine(run, len(pending))
    title = f"{cfg.protocol.name} folds"
    hidden = not pending or not cfg.trainer.enable_progress_bar
    with (
        tqdm(total=len(pending), desc=title, unit="fold", disable=hidden) as bar,
        logging_redirect_tqdm(),  # a log line pushes the bar down instead of breaking it
        fold_threads(cfg) as threads,
        workers.helping(run, queue, 1 if together else len(pending), threads),
    ):
        announce = True
        while not queue.over:
            name = queue.take_here()
            if name is None:
                queue.wait()
            elif together is None:
                bar.set_postfix_str(name)
                queue.settle(name, train_fold(run, pending[name], announce))
                announce = False
            else:
                more = [queue.take_here() for _ in range(together.width - 1)]
                names = [name, *(other for other in more if other is not None)]
                mine = [pending[name] for name in names]
                outcomes = _train_together(run, mine, announce, together)
                for one, outcome in zip(names, outcomes, strict=True):
                    queue.settle(one, outcome)
                announce = False
            bar.update(queue.settled - bar.n)
            for name, outcome in queue.news():
                announcer(name, outcome)


def _write_cost(run: RunContext) -> None:
    """Measure what the network costs, once per run, when no fold is being trained here."""
    path = run.run_dir / "cost.json"
    done = [fold.name for fold in run.folds if rundir.is_done(run.run_dir, fold.name)]
    if path.exists() or not done:
        return
    checkpoint = rundir.fold_folder(run.run_dir, done[0]) / "model.ckpt"
    module = load_module(MicroFinetuneModule, checkpoint, trust.names(to_plain(run.cfg)).values())
    image = torch.from_numpy(run.dataset.image(0).transpose(2, 0, 1).copy())
    write_json(cost.measure(module, image, fold_device(run.cfg)), path)


class _Announcer:
    """Tells of folds one by one, in running order, whatever the order in which they finish.

    Args:
        run: The run.
        queue: Knows which folds do not count yet, though they may be done.
        observers: Who is told.
    """

    def __init__(self, run: RunContext, queue: FoldQueue, observers: Sequence[Observer]) -> None:
        self.run, self.queue, self.observers = run, queue, observers
        self._names = [fold.name for fold in run.folds]
        self._score = results.RunningScore(run.run_dir, run.corpus.table, run.corpus.classes)

    def __call__(self, name: str, outcome: Outcome) -> None:
        """Tell of a fold what became of it."""
        if outcome is Outcome.HELD:
            log.info("fold %s is being trained by another process", name)
        if outcome is not Outcome.TRAINED:
            return
        run_dir = self.run.run_dir
        done = [other for other in self._names if rundir.is_done(run_dir, other)]
        secret = self.queue.secret  # looked at later: what is done by now was taken before
        done = [other for other in done if other not in secret]
        record = json.loads((rundir.fold_folder(run_dir, name) / "fold.json").read_text())
        progress = Progress(name, len(done), len(self._names), record, self._score(done))
        for observer in self.observers:
            observer.fold(progress)
