"""Worker processes of the preparation, shared by the stores that one command writes.

This module is all of `build` that a worker imports: without pandas it starts in half the time.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection


class Workers:
    """The worker processes of this process: started by the first need, ended by the last user."""

    def __init__(self) -> None:
        self.users = 0
        self._pool: ProcessPoolExecutor | None = None
        self._count = 0

    def pool(self, count: int) -> ProcessPoolExecutor:
        """Give a pool of at least `count` processes; a smaller one is ended first."""
        if count > self._count:
            self.end()
            # MediaPipe's threads don't survive a fork; spawned processes start clean everywhere.
            context = multiprocessing.get_context("spawn")
            self._pool, self._count = ProcessPoolExecutor(count, context, _start_worker), count
        assert self._pool is not None
        return self._pool

    def end(self) -> None:
        """End the processes, without working off their queue."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool, self._count = None, 0


_workers = Workers()


@contextmanager
def shared() -> Iterator[Workers]:
    """Let all stores that are prepared inside use the same worker processes.

    Their start, mostly MediaPipe's imports, then costs 1.1 s once and not once per dataset.
    """
    _workers.users += 1
    try:
        yield _workers
    finally:
        _workers.users -= 1
        if _workers.users == 0:
            _workers.end()


def _start_worker() -> None:
    import cv2

    cv2.setNumThreads(1)
    # Ctrl-C reaches the whole process group: the main process alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """End this worker when the main process is gone, even if that was killed."""
    connection.wait([sentinel])
    os._exit(1)
