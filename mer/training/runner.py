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
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mer import protocols
from mer.config import trust
from mer.config.composition import typed
from mer.data import sources
from mer.data.corpus import Corpus
from mer.files import write_json
from mer.models import cost
from mer.models.checkpoints import load_module
from mer.models.modules import MicroFinetuneModule
from mer.protocols import Fold
from mer.runs import environment, results, rundir
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


def run(cfg: DictConfig, run_dir: Path, observers: Sequence[Observer] = ()) -> dict[str, Any]:
    """Carry out a run in its directory, or finish one that was interrupted.

    Args:
        cfg: Composed configuration (`conf/train.yaml`).
        run_dir: New, empty, or the directory of the same run.
        observers: Told of the start, every fold and the end.

    Returns:
        The content of `metrics.json`; its `status` is `complete` or `incomplete`.

    Raises:
        MerError: If the configuration contradicts itself, data are missing, or the directory
            belongs to a run with another configuration.
    """
    checks.check(cfg)
    refuse_torchrun()
    devices(cfg)  # a missing one is told now
    for observer in observers:
        observer.check()
    found = sources.read(typed(cfg), *_roles(cfg))
    rundir.claim(run_dir, cfg)
    corpus = sources.load(typed(cfg), "micro", found["micro"])
    folds = sources.folds(typed(cfg), corpus.table)
    rundir.write_manifest(run_dir, corpus, folds)
    environment.write(run_dir, cfg, corpus.hash)
    pool = sources.load(typed(cfg), "macro", found["macro"]) if cfg.macro.enabled else None
    context = _context(cfg, run_dir, corpus, folds, pool)
    with watch(observers, context):
        _run_folds(context, observers)
        _write_cost(context)
        result = results.pool(run_dir, cfg)
        for observer in observers:
            observer.end(result)
    return result


def _roles(cfg: DictConfig) -> tuple[str, ...]:
    return ("micro", "macro") if cfg.macro.enabled else ("micro",)


def _context(
    cfg: DictConfig, run_dir: Path, corpus: Corpus, folds: list[Fold], pool: Corpus | None
) -> RunContext:
    """Train or find the macro weights and put together what every fold needs."""
    macro = None
    if pool is not None:
        macro = macro_weights(cfg, pool, tested=set(corpus.table["person"]))
    dataset = sources.dataset(typed(cfg), corpus)
    order = protocols.running_order(folds, corpus.table)
    heads = [*(head.name for head in heads_of(make_callbacks(cfg.callbacks))), "softmax"]
    return RunContext(cfg, run_dir, corpus, dataset, order, macro, heads)


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
    module = load_module(MicroFinetuneModule, checkpoint, trust.names(run.cfg).values())
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
