"""How far a long step is: a bar on a terminal or in a notebook, lines in a file."""

import logging
import sys
import time
from types import TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)

#: Seconds between two lines in a file.
SECONDS = 30.0


def progress_bar(
    total: int | None, what: str, unit: str, initial: int = 0, shown: bool = True
) -> Any:
    """Open a progress bar, a context manager with `update(n=1)`.

    Args:
        total: Number of all units; None where it is not known.
        what: What is done.
        unit: What is counted, in the singular.
        initial: Number of those that are done already.
        shown: Whether anything is shown.
    """
    if not shown or not is_watched():
        return Lines(total, what, unit, initial, shown)
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=what, unit=unit, initial=initial)


def is_watched() -> bool:
    """Whether bars can be seen: on a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def say_loading() -> None:
    """Log that some seconds pass while torch is imported; nothing where it has been."""
    if "torch" not in sys.modules:
        log.info("Loading torch and Lightning, which takes some seconds")


class Lines:
    """Log lines in place of a bar, which would fill a file; none for what is over soon.

    Args:
        total: Number of all units; None where it is not known.
        what: What is done.
        unit: What is counted, in the singular.
        initial: Number of those that are done already.
        shown: Whether anything is shown.
    """

    def __init__(
        self, total: int | None, what: str, unit: str, initial: int = 0, shown: bool = True
    ) -> None:
        self.total, self.n, self._shown = total, initial, shown
        self._what, self._unit, self._initial = what, unit, initial
        self._start = self._said = time.monotonic()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say nothing more."""

    def update(self, n: int = 1) -> None:
        """Count units that are done; a line is due every half minute."""
        self.n += n
        now = time.monotonic()
        if self._shown and now - self._said >= SECONDS:
            self._said = now
            log.info("%s", self._line(now - self._start))

    def _line(self, seconds: float) -> str:
        done = f"{self._what}: {self.n}"
        if self.total is None:
            return f"{done} {self._unit}s"
        rate = max(self.n - self._initial, 1) / max(seconds, 1e-9)
        left = max(self.total - self.n, 0) / rate
        rest = f", about {left / 60:.0f} min left" if left >= 90 else ""
        return f"{done} of {self.total} {self._unit}s{rest}"
