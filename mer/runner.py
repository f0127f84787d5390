"""One run: one protocol, all its folds, one pooled result.

A fold is finished when its `predictions.parquet` is there. A run started again in its directory
does the folds that are missing; since every fold has a seed of its own, the result is the same as
that of an uninterrupted run. Several processes may work on one run directory: each fold is locked.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mer import checks, distributed, environment, protocols, results, rundir
from mer.data import sources
from mer.data.dataset import UnifiedDataset
from mer.data.sources import Corpus
from mer.fold import run_fold
from mer.observers import Observer, Progress, RunContext, watch
from mer.pretrain import macro_weights
from mer.protocols import Fold

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
    distributed.check(cfg)
    if distributed.follows(cfg):
        told = distributed.follow_once()
        found = rundir.find(told, "metrics.json") if told else None
        return json.loads(found.read_text()) if found else {}
    for observer in observers:
        observer.check()
    found = sources.read(cfg, *_roles(cfg))
    rundir.claim(run_dir, cfg)
    corpus = sources.load(cfg, "micro", found["micro"])
    folds = protocols.make_folds(
        corpus.table, OmegaConf.to_container(cfg.protocol, resolve=True), cfg.seed
    )
    rundir.write_manifest(run_dir, corpus, folds)
    environment.write(run_dir, cfg, corpus.hash)
    pool = sources.load(cfg, "macro", found["macro"]) if cfg.macro.enabled else None
    with distributed.together(cfg, run_dir):
        context = _context(cfg, run_dir, corpus, folds, pool)
        with watch(observers, context):
            _run_folds(context, observers)
            result = results.pool(run_dir, cfg)
            for observer in observers:
                observer.end(result)
    return result


def follow(cfg: DictConfig, run_dir: Path) -> None:
    """Take part in the trainings of a run as another rank than 0; nothing is written.

    Args:
        cfg: Configuration of rank 0, resolved.
        run_dir: Its run directory.

    Raises:
        RunEnded: When rank 0 ends the run.
    """
    found = sources.read(cfg, *_roles(cfg))
    corpus = sources.load(cfg, "micro", found["micro"])
    folds = protocols.make_folds(
        corpus.table, OmegaConf.to_container(cfg.protocol, resolve=True), cfg.seed
    )
    pool = sources.load(cfg, "macro", found["macro"]) if cfg.macro.enabled else None
    context = _context(cfg, run_dir, corpus, folds, pool)
    by_name = {fold.name: fold for fold in folds}
    while True:
        run_fold(context, by_name[distributed.share()], announce=False)


def _roles(cfg: DictConfig) -> tuple[str, ...]:
    return ("micro", "macro") if cfg.macro.enabled else ("micro",)


def _context(
    cfg: DictConfig, run_dir: Path, corpus: Corpus, folds: list[Fold], pool: Corpus | None
) -> RunContext:
    """Train or find the macro weights and put together what every fold needs."""
    macro = None
    if pool is not None:
        macro = macro_weights(cfg, pool, tested=set(corpus.table["person"]))
    dataset = UnifiedDataset(
        corpus.table, corpus.stores, corpus.classes, OmegaConf.to_container(cfg.input, resolve=True)
    )
    order = protocols.running_order(folds, corpus.table)
    return RunContext(cfg, run_dir, corpus, dataset, order, macro)


def _run_folds(run: RunContext, observers: Sequence[Observer]) -> None:
    """Train the folds that are this process's and not done yet."""
    cfg, mine = run.cfg, protocols.select_folds(run.folds, run.cfg.protocol.folds)
    pending = [fold for fold in mine if not rundir.is_done(run.run_dir, fold.name)]
    if len(pending) < len(mine):
        log.info("%d of %d folds are done already", len(mine) - len(pending), len(mine))
    running = results.RunningScore(run.run_dir, run.corpus.table, run.corpus.classes)
    names = [fold.name for fold in run.folds]
    bar = tqdm(pending, desc=f"{cfg.protocol.name} folds", unit="fold", disable=not pending)
    with logging_redirect_tqdm():  # a log line pushes the bar down instead of breaking it
        for number, fold in enumerate(bar):
            bar.set_postfix_str(fold.name)
            folder = rundir.fold_folder(run.run_dir, fold.name)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with FileLock(folder / ".lock", timeout=0):
                    if rundir.is_done(run.run_dir, fold.name):
                        continue
                    distributed.share(fold.name)
                    run_fold(run, fold, announce=number == 0)
            except Timeout:
                log.info("fold %s is being trained by another process", fold.name)
                continue
            done = [name for name in names if rundir.is_done(run.run_dir, name)]
            record = json.loads((folder / "fold.json").read_text())
            progress = Progress(fold.name, len(done), len(names), record, running(done))
            for observer in observers:
                observer.fold(progress)
