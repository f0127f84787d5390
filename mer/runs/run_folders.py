"""Run directories as they are typed, and folders that a glob such as `runs/*` gives beside them.

Nothing heavy is imported here: a wrong path is told at once.
"""

import csv
import difflib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from mer.errors import raise_all
from mer.files import output_faults

log = logging.getLogger(__name__)

Word = TypeVar("Word", str, Path)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run directory, finished or not."""
    return (folder / "config.yaml").is_file()


def is_rest_of_run(folder: Path) -> bool:
    """Whether a folder is a run directory, even if most of it is lost."""
    signs = ("config.yaml", "manifest.parquet")
    return any((folder / name).exists() for name in signs) or any(folder.glob("metrics*.json"))


def is_pruned(folder: Path) -> bool:
    """Whether a run is a trial that a search ended early, as the search's `trials.csv` says."""
    path = folder.resolve()
    for search in path.parents[:2]:  # a trial of several seeds has a folder for each
        try:
            rows = csv.DictReader((search / "trials.csv").read_text("utf-8").splitlines())
            states = {row["number"]: row["state"] for row in rows}
        except (OSError, ValueError, KeyError, csv.Error):
            continue
        if states.get(path.relative_to(search).parts[0]) == "pruned":
            return True
    return False


def with_run(words: Sequence[Word], holds_run: Callable[[Path], bool] = is_run) -> list[Word]:
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


def require_runs(
    folders: Sequence[Path], holds_run: Callable[[Path], bool] = is_run, writes: bool = False
) -> None:
    """Refuse what is no run directory, or cannot be written to.

    Args:
        folders: What was typed.
        holds_run: Whether a folder is a run directory.
        writes: Whether something will be written into them.

    Raises:
        MerError: With all of them.
    """
    problems = [no_run(folder) for folder in folders if not holds_run(folder)]
    if writes and not problems:
        problems = [one for path in folders for one in output_faults(str(path), path, folder=True)]
    raise_all("this is asked of run directories:", problems)


def absent(path: Path) -> str:
    """Say that a path is not there, and which ones beside it have nearly its name."""
    there = list(path.parent.iterdir()) if path.parent.is_dir() else []
    beside = [one.name for one in there if one != path]  # it may be a link to nothing
    close = difflib.get_close_matches(path.name, beside, n=2)
    hint = " or ".join(str(path.parent / name) for name in close)
    return f"{path} does not exist" + (f" (closest: {hint})" if close else ": check its path")


def no_run(folder: Path) -> str:
    """Say why a path is no run directory, and what to type."""
    if not folder.exists():
        return absent(folder)
    if not folder.is_dir():
        return f"{folder} is a file; name the directory of a run"
    inner = sorted(path.name for path in folder.iterdir() if is_run(path))
    more = f"; in it are {', '.join(inner[:5])}{', ...' if inner[5:] else ''}" if inner else ""
    return (
        f"{folder} is no run directory: it has no config.yaml{more}. Name one, such as "
        f"{folder / inner[0] if inner else 'runs/demo'}"
    )
