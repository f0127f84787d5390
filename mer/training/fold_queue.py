"""Which fold of a run trains next, and which have been trained, in running order.

This process and the threads that speak for its workers (`mer.training.workers`) share one queue.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from enum import Enum


class Outcome(Enum):
    """What became of a fold: trained here; another process holds it; it was done meanwhile."""

    TRAINED = "trained"
    HELD = "held"
    DONE = "done"


class FoldQueue:
    """Hands out folds in running order, and gives news of them in the same order.

    Args:
        names: The folds that are not done yet, in running order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._untold = deque(names)
        self._waiting = deque(names)
        self._dropped: deque[str] = deque()
        self._taken: set[str] = set()
        self._outcomes: dict[str, Outcome] = {}
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._changes = self._seen = 0
        self._closed = False

    @property
    def over(self) -> bool:
        """Whether there has been news of every fold."""
        return not self._untold

    @property
    def settled(self) -> int:
        """Number of folds whose outcome is known."""
        return len(self._outcomes)

    @property
    def closed(self) -> bool:
        """Whether nothing more is handed out."""
        return self._closed

    @property
    def secret(self) -> set[str]:
        """Folds that are trained here, or have been, and of which there has been no news."""
        with self._changed:
            return {n for n in self._taken if self._outcomes.get(n) in (None, Outcome.TRAINED)}

    def take(self) -> str | None:
        """Take the next fold for a worker; None when none is left."""
        with self._changed:
            return self._take(self._waiting) if not self._closed else None

    def take_here(self) -> str | None:
        """Take a fold that a worker has dropped, or the next one; None when none is left.

        Raises:
            Exception: What has made a worker fail.
        """
        with self._changed:
            if self._error is not None:
                raise self._error
            return self._take(self._dropped or self._waiting)

    def settle(self, name: str, outcome: Outcome) -> None:
        """Say what became of a fold that was taken."""
        with self._changed:
            self._outcomes[name] = outcome
            self._change()

    def drop(self, name: str) -> None:
        """Give a fold back whose worker has died: it may be the fold's fault, so no worker's."""
        with self._changed:
            self._dropped.append(name)
            self._change()

    def fail(self, error: Exception) -> None:
        """Let `take_here` raise an error; the first one counts."""
        with self._changed:
            self._error = self._error or error
            self._closed = True
            self._change()

    def close(self) -> None:
        """Hand out nothing more to workers."""
        with self._changed:
            self._closed = True

    def wait(self) -> None:
        """Wait until something has happened since the last call."""
        with self._changed:
            self._changed.wait_for(lambda: self._changes > self._seen)
            self._seen = self._changes

    def news(self) -> Iterator[tuple[str, Outcome]]:
        """Give the outcomes that are known, each once; a fold waits for those before it."""
        while self._untold and self._untold[0] in self._outcomes:
            name = self._untold.popleft()
            with self._changed:
                self._taken.discard(name)
            yield name, self._outcomes[name]

    def _take(self, folds: deque[str]) -> str | None:
        if not folds:
            return None
        self._taken.add(folds[0])
        return folds.popleft()

    def _change(self) -> None:
        self._changes += 1
        self._changed.notify_all()
