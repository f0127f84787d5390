"""Cores, memory, and the process pool of synthetic corpora, preparation and folds.

Workers are processes of loky: unlike those of `multiprocessing` they do not run the user's script
once more, so a script needs no `if __name__ == "__main__"`. Each worker is an executor of its own,
so that a killed one does not end the others.
"""

import atexit
import contextlib
import ctypes
import logging
import logging.handlers
import math
import os
import pickle
import queue
import re
import signal
import threading
import time
import traceback
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mer.errors import MerError

P = TypeVar("P")
R = TypeVar("R")

log = logging.getLogger(__name__)

#: Seconds after which a worker without work ends.
IDLE = 60

#: Workers that a piece of work may cost before the run gives up.
ATTEMPTS = 3

#: Tells a thread that no piece of work is left.
_OVER: Any = object()

#: All executors of this process, and those that wait for work.
_executors: weakref.WeakSet[Any] = weakref.WeakSet()
_idle: list[Any] = []

#: In a worker: what it has logged and its parent has not.
_lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()


def cores() -> int:
    """Cores that this process may use: by its affinity, its container and OMP_NUM_THREADS."""
    has_affinity = hasattr(os, "sched_getaffinity")
    counts = [len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1]
    with contextlib.suppress(KeyError, ValueError):
        counts.append(int(os.environ["OMP_NUM_THREADS"]))
    for folder in _control_groups():
        with contextlib.suppress(OSError, ValueError):  # no limit is the word max
            quota, period = (folder / "cpu.max").read_text().split()
            counts.append(math.ceil(int(quota) / int(period)))
    return max(1, min(counts))


def free_memory() -> float:
    """Bytes that this process and its workers may still take; inf where the system does not tell.

    The lowest of what the machine has and what each control group (container, batch job) allows.
    """
    free = [math.inf]
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free.append(next(int(x.split()[1]) for x in lines if x.startswith("MemAvailable:")) * 1024)
    for folder in _control_groups():
        with contextlib.suppress(OSError, ValueError, KeyError):
            limit = int((folder / "memory.max").read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
            used = int((folder / "memory.current").read_text())
            files = int(dict(line.split() for line in lines)["inactive_file"])  # given up on demand
            free.append(limit - used + files)
    return max(0, min(free))


def return_freed_memory() -> None:
    """Give freed memory back to the system, where the C library has `malloc_trim` (glibc).

    Its allocator keeps what is freed between small objects that live on. Without this, RCN-A in ten
    folds grew from 1.0 to 3.3 GB, of which 0.2 GB were in use.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _control_groups() -> list[Path]:
    """Folders of the control groups (version 2) that this process is in, the innermost first."""
    root, inside = Path("/sys/fs/cgroup"), ""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        inside = next(line[3:] for line in lines if line.startswith("0::")).lstrip("/")
    folder = root / inside
    return [folder, *(one for one in folder.parents if one.is_relative_to(root))]


class _Answer(NamedTuple):
    """What became of a piece of work; the piece is `_OVER` for a worker that died without one."""

    piece: Any
    result: Any = None
    error: Exception | None = None
    lines: Sequence[logging.LogRecord] = ()


def run(
    workers: Sequence[Callable[[P], R]],
    pieces: Iterable[P],
    here: Callable[[P], R] | None = None,
    meanwhile: Callable[[], None] | None = None,
    name: Callable[[P], str] = str,
    fewer: str = "with fewer processes",
    attempts: int = ATTEMPTS,
) -> Generator[tuple[P, R], None, None]:
    """Do pieces of work in several processes; yield each with its result as it is done.

    A piece whose worker is killed is done again, by another process. An error or Ctrl-C ends the
    workers; close the generator (`contextlib.closing`) where it may be left early. Otherwise they
    wait for the next call. What they log from WARNING on is logged here when the piece is done.

    Args:
        workers: What a worker does with a piece, one function per worker process. A single one
            without `here` works in this process.
        pieces: The work, begun in this order.
        here: What this process does with a piece, beside the workers; None lets it wait for them.
        meanwhile: Called every second while this process waits for a worker.
        name: Names a piece in messages.
        fewer: How the user asks for fewer processes, in the message of the error.
        attempts: Workers that a piece may cost.

    Raises:
        MerError: If a piece has cost too many workers.
        Exception: That of a piece, with the worker's traceback as its note; a `RuntimeError` in
            place of one that cannot be pickled.
    """
    if here is None and len(workers) == 1:
        workers, here = [], workers[0]
    todo: queue.SimpleQueue[P] = queue.SimpleQueue()
    for piece in pieces:
        todo.put(piece)
    left = todo.qsize()
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    threads = [_Worker(function, todo, answers) for function in workers] if left else []
    deaths: Counter[str] = Counter()
    try:
        while left:
            if here is not None and answers.empty() and (taken := _take(todo)):
                answer = _Answer(taken[0], here(taken[0]))
            else:
                answer = _wait(answers, meanwhile)
            for line in answer.lines:
                logging.getLogger(line.name).handle(line)
            if answer.error is None:
                left -= 1
                yield answer.piece, answer.result
                continue
            how, begun = _death(answer.error), answer.piece is not _OVER
            label = f"the process of {name(answer.piece)}" if begun else "a worker process"
            deaths[label] += 1
            if deaths[label] >= attempts and (begun or here is None):
                raise MerError(
                    f"{label} has ended {how}, {deaths[label]} times. What is finished is kept: "
                    f"type the same command again, {fewer}"
                )
            log.warning("%s has ended %s; another one does its work", label, how)
            if begun:
                todo.put(answer.piece)
            if here is None and all(thread.failed for thread in threads):
                threads.append(_Worker(workers[0], todo, answers))
    finally:
        for thread in threads:
            todo.put(_OVER)
            if left:
                thread.executor.shutdown(kill_workers=True)
            elif not thread.failed:
                _idle.append(thread.executor)


@atexit.register
def end() -> None:
    """End all worker processes of this process, whatever they do."""
    for executor in list(_executors):
        executor.shutdown(kill_workers=True)
    _idle.clear()


def _take(todo: queue.SimpleQueue[P]) -> list[P]:
    """The next piece of work, if there is one."""
    with contextlib.suppress(queue.Empty):
        return [todo.get_nowait()]
    return []


def _wait(answers: queue.SimpleQueue[_Answer], meanwhile: Callable[[], None] | None) -> _Answer:
    """Wait for the next answer."""
    while meanwhile is not None:
        with contextlib.suppress(queue.Empty):
            return answers.get(timeout=1)
        meanwhile()
    return answers.get()


class _Worker(threading.Thread):
    """A thread that gives pieces of work to a worker process, one after the other.

    Args:
        function: Function of a piece.
        todo: The pieces that are left.
        answers: Gets the results.
    """

    def __init__(
        self,
        function: Callable[[P], R],
        todo: queue.SimpleQueue[P],
        answers: queue.SimpleQueue[_Answer],
    ) -> None:
        super().__init__(daemon=True)
        self.function, self.todo, self.answers = function, todo, answers
        self.executor = _idle.pop() if _idle else _executor()
        self.failed = False
        self.start()

    def run(self) -> None:
        """Serve until no piece is left or the worker has died."""
        piece = _OVER
        try:
            # A piece that a worker cannot begin before it has imported torch is better done here.
            self.executor.submit(_import, self.function).result()
            while (piece := self.todo.get()) is not _OVER:
                self.answers.put(self.executor.submit(_do, self.function, piece).result())
        except Exception as error:
            self.failed = True
            self.answers.put(_Answer(piece, error=error))


def _executor() -> Any:
    """An executor of one worker process, which is started by its first work."""
    from loky import ProcessPoolExecutor

    executor = ProcessPoolExecutor(
        1,
        timeout=IDLE,
        initializer=_begin,
        initargs=(os.getpid(),),
        env={
            "OPENCV_FOR_THREADS_NUM": "1",
            "PYTHONWARNINGS": "ignore",
            "TQDM_DISABLE": "1",
            "LOKY_MAX_MEMORY_LEAK_SIZE": "1e18",  # else loky ends workers that have grown
        },
    )
    _executors.add(executor)
    return executor


def _death(error: Exception) -> str:
    """How a worker process has died; any other error is raised."""
    from loky.process_executor import TerminatedWorkerError

    if not isinstance(error, TerminatedWorkerError):
        raise error
    found = re.search(r"(SIG\w+)\(", str(error))
    if found is None:
        return "by itself"
    return f"by {found[1]}" + " (often for want of memory)" * (found[1] == "SIGKILL")


def _begin(parent: int) -> None:
    """Make this process a worker: it ends with its parent, and Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger().addHandler(logging.handlers.QueueHandler(_lines))
    logging.getLogger().setLevel(logging.WARNING)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _import(function: Callable[..., Any]) -> None:
    """Do nothing: getting the function has imported its module."""


def _do(function: Callable[[Any], Any], piece: Any) -> _Answer:
    """Do a piece of work in a worker."""
    try:
        answer = _Answer(piece, function(piece))
    except Exception as error:
        answer = _Answer(piece, error=_portable(error))
    lines = []
    while not _lines.empty():
        lines.append(_lines.get())
    return answer._replace(lines=lines)


def _portable(error: Exception) -> Exception:
    """An error that any process can read, with its traceback as a note."""
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(text)
    error.add_note(text)
    return error
