"""Folds of one run at the same time, in processes of their own: one per device, or per CPU core.

This process trains folds too, so that a short run does not wait until its workers have imported
torch. It alone has observers, a bar and a log.

A small network keeps one core busy and cannot use several: two processes of one thread each train
half as many folds again as one process of two threads.
"""

import contextlib
import functools
import logging
import multiprocessing
import os
import pickle
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from mer import processes
from mer.config.settings import Settings
from mer.errors import MerError
from mer.files import naming
from mer.protocols import Fold
from mer.runs import rundir
from mer.runs.observers import RunContext
from mer.training.devices import devices, on_cpu
from mer.training.engines.engine import Engine, choose
from mer.training.trainer import fold_threads

log = logging.getLogger(__name__)

#: What a worker may take: the libraries take 0.5 GiB, a small network at 64 px 0.3, others more.
BYTES_PER_WORKER = 2 * 2**30


class Outcome(Enum):
    """What became of a fold: trained here; another process holds it; it was done meanwhile."""

    TRAINED = "trained"
    HELD = "held"
    DONE = "done"


def train(
    run: RunContext, engine: Engine, folds: Sequence[Fold]
) -> Generator[tuple[str, Outcome], None, None]:
    """Train folds in this process and in workers; yield the outcome of each as it is known."""
    names = [fold.name for fold in folds]
    pieces = [names[start : start + engine.width] for start in range(0, len(names), engine.width)]
    announce = iter([True])
    with fold_threads(run.settings) as threads:
        places = _places(run.settings, engine, len(pieces), threads)
        jobs = [_pickled(run, place, threads, len(folds)) for place in places[1:]]
        results = processes.run(
            [functools.partial(_train_in_worker, job) for job in jobs],
            pieces,
            here=lambda piece: _train(run, engine, piece, next(announce, False)),
            meanwhile=run.after_epoch,
            name=lambda piece: f"fold {', '.join(piece)}",
            fewer="with trainer.folds_at_once=1",
        )
        with contextlib.closing(results):
            for piece, outcomes in results:
                yield from zip(piece, outcomes, strict=True)


def at_once(
    wanted: int | str,
    pending: int,
    cores: int,
    threads: int,
    room: float,
    beside: bool,
    devices: int = 1,
) -> int:
    """Folds to train at the same time on a CPU.

    Args:
        wanted: `trainer.folds_at_once`: a number, or auto for as many as cores and memory carry.
        pending: Folds that are not done yet.
        cores: Cores that this process may use.
        threads: Threads of each fold.
        room: Folds for which there is memory.
        beside: Whether the cores are this run's, and not those of a job among others.
        devices: Shares of the CPU; each trains as many folds as are `wanted`.
    """
    if wanted == "auto":
        wanted = int(min(cores // threads, room)) // devices if beside else 1
    return max(1, min(devices * max(1, int(wanted)), pending))


def advice(at_once: int, cores: int, threads: int) -> str | None:
    """Say how all cores would be used, where more than half of them are not."""
    if 2 * at_once * threads >= cores:
        return None
    return (
        f"{at_once} fold{'s' * (at_once > 1)} at a time with trainer.threads={threads}: "
        f"{at_once * threads} of {cores} cores are used; trainer.threads={cores // at_once} would "
        "use them all, and change results in the last digits"
    )


def _places(settings: Settings, engine: Engine, pieces: int, threads: int) -> list[torch.device]:
    """Device of every process that trains, this one's first."""
    found = devices(settings)
    if not on_cpu(settings):
        return found[: max(1, pieces)]
    wanted, cores = settings.trainer.folds_at_once, processes.cores()
    if wanted == "auto" and not engine.trains_networks:
        return found[:1]
    beside = multiprocessing.parent_process() is None  # else the launcher shares out the cores
    room = 1 + processes.free_memory() / BYTES_PER_WORKER
    count = at_once(wanted, pieces, cores, threads, room, beside, len(found))
    if wanted == "auto" and beside and pieces and (text := advice(count, cores, threads)):
        log.info(text)
    return found[:1] * count


def _train(
    run: RunContext, engine: Engine, names: Sequence[str], announce: bool = False
) -> list[Outcome]:
    """Train folds that are not done and that no other process holds."""
    by_name = {fold.name: fold for fold in run.folds}
    with contextlib.ExitStack() as locks:
        outcomes = [_claim(run, name, locks) for name in names]
        pairs = zip(names, outcomes, strict=True)
        claimed = [by_name[name] for name, outcome in pairs if outcome is Outcome.TRAINED]
        if claimed:
            with _about(run, claimed):
                engine.run_folds(claimed, announce)
    return outcomes


@contextlib.contextmanager
def _about(run: RunContext, folds: Sequence[Fold]) -> Iterator[None]:
    """Let errors name the folds that are trained inside, or their folder."""
    try:
        with naming(rundir.fold_folder(run.run_dir, folds[0].name)):
            yield
    except MerError as error:
        names = ", ".join(fold.name for fold in folds)
        raise MerError(f"fold{'s' * (len(folds) > 1)} {names}: {error}") from error


def _claim(run: RunContext, name: str, locks: contextlib.ExitStack) -> Outcome:
    """Lock a fold's folder for as long as the stack is open; TRAINED if it is ours to train."""
    folder = rundir.fold_folder(run.run_dir, name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        locks.enter_context(FileLock(folder / ".lock", timeout=0))
    except Timeout:
        return Outcome.HELD
    return Outcome.DONE if rundir.is_done(run.run_dir, name) else Outcome.TRAINED


def _pickled(run: RunContext, device: torch.device, threads: int, pending: int) -> bytes:
    """A run as a worker needs it, with one device."""
    alone = replace(run.settings.trainer, devices=1 if device.index is None else [device.index])
    run = replace(run, settings=replace(run.settings, trainer=alone), after_epoch=None)
    return pickle.dumps((run, device, threads, pending, Path.cwd()))


def _train_in_worker(job: bytes, names: Sequence[str]) -> list[Outcome]:
    return _train(*_open(job), names)


@functools.lru_cache(maxsize=1)
def _open(job: bytes) -> tuple[RunContext, Engine]:
    """Make a worker ready for a run, once for all of its folds."""
    run, device, threads, pending, folder = pickle.loads(job)
    os.chdir(folder)
    torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return run, choose(run, pending)
