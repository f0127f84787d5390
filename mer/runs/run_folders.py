"""Folders that a glob such as `runs/*` gives, some of which may hold no run."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

log = logging.getLogger(__name__)

Word = TypeVar("Word", str, Path)


def with_run(words: Sequence[Word], holds_run: Callable[[Path], bool]) -> list[Word]:
    """Leave out folders without a run, in one line; unless none would be left.

    Args:
        words: What was typed: folders, files, and what is not there, which stays to be refused.
        holds_run: Whether there is a run in a folder.
    """
    empty = [word for word in words if Path(word).is_dir() and not holds_run(Path(word))]
    kept = [word for word in words if word not in empty]
    if not empty or not any(Path(str(word).partition(":")[0]).exists() for word in kept):
        return list(words)
    log.warning("left out, since they hold no run: %s", ", ".join(map(str, empty)))
    return kept


def is_run(folder: Path) -> bool:
    """Whether a folder is a run directory, finished or not."""
    return (folder / "config.yaml").is_file()
