"""Folds of one run at the same time: worker processes that train beside this one.

This process hands out the folds one by one and trains folds itself, so a short run does not wait
until its workers have imported everything. It alone has observers, a bar and a log; what workers
warn of goes there too. They stay for the next run of this process and end with it, even if it is
killed.

A small network keeps one core busy and cannot use several: two processes of one thread each train
half as many folds again as one process of two threads.
"""

import atexit
import contextlib
import logging
import logging.handlers
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from mer.config.settings import Settings
from mer.errors import MerError
from mer.runs.observers import RunContext
from mer.training.devices import devices, on_cpu
from mer.training.fold_queue import FoldQueue

log = logging.getLogger(__name__)

#: What a worker may take: the libraries take 0.5, a small network at 64 px 0.3 more, others more.
GIB_PER_WORKER = 2.0


def cores() -> int:
    """Cores that this process may use: by its affinity, its container and OMP_NUM_THREADS."""
    has_affinity = hasattr(os, "sched_getaffinity")
    found = [len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1]
    with contextlib.suppress(KeyError, ValueError):
        found.append(int(os.environ["OMP_NUM_THREADS"]))
    with contextlib.suppress(OSError, ValueError):  # no limit is the word max
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        found.append(math.ceil(int(quota) / int(period)))
    return max(1, min(found))


def room() -> int:
    """Folds for which there is memory; no limit where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return sys.maxsize
    return 1 + int(free / 2**20 / GIB_PER_WORKER)


def at_once(
    wanted: int | str,
    pending: int,
    cores: int,
    threads: int,
    room: int,
    beside: bool,
    devices: int = 1,
) -> int:
    """Folds to train at the same time.

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
        wanted = min(cores // threads, room) // devices if beside else 1
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


@contextlib.contextmanager
def helping(run: RunContext, queue: FoldQueue, pending: int, threads: int) -> Iterator[None]:
    """Let as many workers as `trainer.folds_at_once` asks for train folds while the body runs.

    Afterwards no worker trains: when the body fails, all of them are ended.

    Args:
        run: The run.
        queue: Its folds; what workers make of them gets there.
        pending: Number of the folds.
        threads: Threads of each fold.
    """
    count = _number(run.cfg, pending, threads)
    speakers = []
    if count > 1:
        data = pickle.dumps(run)
        job = ("run", Path.cwd(), threads, data)
        speakers = [
            threading.Thread(target=_speak, args=(worker, queue, job), daemon=True)
            for worker in _crew(count - 1)
        ]
    for speaker in speakers:
        speaker.start()
    try:
        yield
    except BaseException:
        queue.close()
        if speakers:
            end()
        raise
    finally:
        queue.close()
        for speaker in speakers:
            speaker.join()


def _number(cfg: Settings, pending: int, threads: int) -> int:
    if not on_cpu(cfg):
        return 1
    wanted = cfg.trainer.folds_at_once
    beside = multiprocessing.parent_process() is None  # else the launcher shares out the cores
    found = at_once(wanted, pending, cores(), threads, room(), beside, len(devices(cfg)))
    if wanted == "auto" and beside and pending and (text := advice(found, cores(), threads)):
        log.info(text)
    return found


class Worker:
    """A process that trains folds.

    Attributes:
        connection: Speaks with it.
        process: The process.
    """

    def __init__(self) -> None:
        self.connection, other = multiprocessing.Pipe()
        # Not a process of `multiprocessing`, which would run the user's script once more.
        path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)  # noqa: PTH100
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mer.training.workers", str(os.getpid()), str(other.fileno())],
            env={**os.environ, "PYTHONPATH": path, "TQDM_DISABLE": "1"},
            pass_fds=[other.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches this process alone, which decides
        )
        other.close()
        self._ready = False

    def is_ready(self, queue: FoldQueue) -> bool:
        """Wait until it has imported everything; False if nothing is left to train by then."""
        while not self._ready:
            if queue.closed:
                return False
            if self.connection.poll(0.05):
                self._ready = self.hear()[0] == "ready"
        return True

    def hear(self) -> tuple[str, Any]:
        """Wait for what it says; what it logs is logged here.

        Raises:
            EOFError: If it has died.
        """
        while True:
            what, content = self.connection.recv()
            if what != "log":
                return what, content
            logging.getLogger(content.name).handle(content)

    def last_words(self) -> str:
        """Say how it died."""
        code = self.process.wait()
        if code < 0:
            return f"by {signal.Signals(-code).name} (SIGKILL: often for want of memory)"
        return f"with status {code}"

    def end(self) -> None:
        """End it, if it has not ended by itself."""
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.connection.close()


#: The workers of this process, busy or waiting for its next run.
_workers: list[Worker] = []


def _crew(count: int) -> list[Worker]:
    """Give some living workers, started if need be."""
    _workers[:] = [worker for worker in _workers if worker.process.poll() is None]
    _workers.extend(Worker() for _ in range(count - len(_workers)))
    return _workers[:count]


@atexit.register
def end() -> None:
    """End all workers of this process."""
    for worker in _workers:
        worker.process.terminate()
    while _workers:
        _workers.pop().end()


def _speak(worker: Worker, queue: FoldQueue, job: tuple[Any, ...]) -> None:
    """Give a worker folds until none is left."""
    name = None
    try:
        if not worker.is_ready(queue):
            return
        worker.connection.send(job)
        while (name := queue.take()) is not None:
            worker.connection.send(("fold", name))
            what, content = worker.hear()
            if what == "failed":
                queue.fail(content)
                return
            queue.settle(name, content)
    except (EOFError, OSError):
        if queue.closed:
            return
        if name is None:
            log.warning("a worker process has ended %s; the others go on", worker.last_words())
            return
        log.warning(
            "the worker process of fold %s has ended %s; the fold is trained anew in this process",
            name,
            worker.last_words(),
        )
        queue.drop(name)


class _Line(logging.handlers.QueueHandler):
    """A worker's line to the process that has started it, for answers, warnings and worse."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)  # type: ignore[arg-type]
        self.setLevel(logging.WARNING)

    def enqueue(self, record: logging.LogRecord) -> None:
        """Let a message be logged there."""
        self.say("log", record)

    def say(self, what: str, content: Any = None) -> None:
        """Send one message at a time, whatever thread it comes from."""
        with self.lock:  # type: ignore[union-attr]
            self.queue.send((what, content))  # type: ignore[attr-defined]


def _work(connection: Connection) -> None:
    """Be a worker: train what is asked for until nobody asks any more."""
    line = _Line(connection)
    logging.getLogger().addHandler(line)
    import torch

    from mer.training.fold import train_fold

    line.say("ready")
    run, folds = None, {}
    while True:
        what, *content = connection.recv()
        name = content[0] if what == "fold" else None
        try:
            if what == "run":
                folder, threads, data = content
                os.chdir(folder)
                torch.set_num_threads(threads)
                run = pickle.loads(data)
                folds = {fold.name: fold for fold in run.folds}
            else:
                line.say(
                    "settled", train_fold(cast("RunContext", run), folds[name], announce=False)
                )
        except Exception as error:
            line.say("failed", _portable(error, name))


def _portable(error: Exception, name: str | None) -> Exception:
    """An error of the same text that any process can read."""
    where = "a worker process" if name is None else f"fold {name}"
    if isinstance(error, MerError):
        return MerError(f"{where}: {error}")
    return RuntimeError(f"{where} failed:\n{traceback.format_exc().strip()}")


def end_with(parent: int) -> None:
    """End this process when the one that started it is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main() -> int:
    """Be a worker: the words are the id of the process that starts it, and a connection to it."""
    parent, number = map(int, sys.argv[1:])
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):
        _work(Connection(number))
    return 0


if __name__ == "__main__":
    sys.exit(main())
