"""Rows of a run's history that its loggers have, so that a continued run logs none twice."""

import contextlib
import json
from pathlib import Path

from mer.files import append_lines

#: Name of the file in the run directory: a line per row, `[logger, series, number]`.
FILE = "logged.jsonl"


class LoggedRows:
    """The rows that one logger has of a run, kept in the run directory.

    Args:
        run_dir: Run directory.
        logger: What the rows were logged to, such as the id of a W&B run.
    """

    def __init__(self, run_dir: Path, logger: str) -> None:
        self._path, self._logger = run_dir / FILE, logger
        self._rows: set[tuple[str, int]] = set()
        self._read = 0

    def __contains__(self, row: tuple[str, int]) -> bool:
        """Whether a row was logged, by this process or by another one."""
        self._update()
        return row in self._rows

    def __len__(self) -> int:
        """Number of rows that were logged."""
        self._update()
        return len(self._rows)

    def add(self, row: tuple[str, int]) -> None:
        """Note a row, given by the name of its series and its number."""
        append_lines(json.dumps([self._logger, *row]) + "\n", self._path)

    def _update(self) -> None:
        """Read the whole lines that have come since the last time, but for damaged ones."""
        if not self._path.exists() or self._path.stat().st_size == self._read:
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, end, _ = file.read().rpartition(b"\n")
        self._read += len(whole + end)
        for line in whole.splitlines():
            with contextlib.suppress(TypeError, ValueError):
                logger, series, number = json.loads(line)
                if logger == self._logger:
                    self._rows.add((series, number))
