"""Learning curves of the folds and their mean."""

import contextlib
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from mer.runs import run_files
from mer.runs.rundir import fold_folder

#: What is averaged over the folds, out of the columns of a fold's `metrics.csv`.
NAMES = ("train/loss", "val/loss", "train/uf1", "val/uf1")


def write(folder: Path, rows: Sequence[Mapping[str, float | str]]) -> None:
    """Write a fold's history as Lightning's CSV logger does: a row per epoch."""
    with (folder / "metrics.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@contextlib.contextmanager
def continued(folder: Path) -> Iterator[None]:
    """Keep the epochs of an interrupted training, whose history Lightning would begin anew."""
    path = folder / "metrics.csv"
    earlier = _rows(path)
    path.unlink(missing_ok=True)
    try:
        yield
    finally:
        later = _rows(path)
        first = int(later[0]["epoch"]) if later else None
        rows = [row for row in earlier if first is None or int(row["epoch"]) < first] + later
        if rows and rows != later:
            write(folder, rows)


def _rows(path: Path) -> list[dict[str, str]]:
    """The whole lines of a history; none of a damaged or missing one."""
    try:
        text = path.read_text()
        rows = list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
        return [row for row in rows if row["epoch"].isdecimal()]
    except (OSError, UnicodeDecodeError, KeyError):
        return []


def of_fold(folder: Path) -> pd.DataFrame:
    """History of a fold or of pretraining: a row per epoch (the index), the columns of `NAMES`."""
    path = folder / "metrics.csv"
    if not path.exists():
        return pd.DataFrame()
    # Lightning writes the two sides of an epoch on lines of their own.
    history = run_files.read(
        path, lambda path: pd.read_csv(path).groupby("epoch").last(), pd.DataFrame
    )
    return history[[name for name in NAMES if name in history]].dropna(axis=1, how="all")


def by_epoch(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """A history as (epoch, what is known of it), also while it is being written.

    An epoch is over when its training loss is there, which comes last.
    """
    epochs: dict[int, dict[str, float]] = {}
    for row in _rows(folder / "metrics.csv"):
        known = epochs.setdefault(int(row["epoch"]), {})
        known |= {name: float(row[name]) for name in NAMES if row.get(name)}
    return [(epoch, known) for epoch, known in epochs.items() if "train/loss" in known]


class NewEpochs:
    """The epochs of a fold or of pretraining, each once, while its history is being written.

    Args:
        folder: Folder of the history.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._last = folder, -1
        self._state: tuple[int, int] | None = None

    def read(self) -> list[tuple[int, dict[str, float]]]:
        """The epochs that have ended since the last call, as `by_epoch` gives them."""
        try:
            stat = (self._folder / "metrics.csv").stat()
        except FileNotFoundError:
            return []
        state = stat.st_mtime_ns, stat.st_size
        if state == self._state:
            return []
        self._state = state
        new = [(epoch, known) for epoch, known in by_epoch(self._folder) if epoch > self._last]
        self._last = max([self._last, *(epoch for epoch, _ in new)])
        return new


def last_train_loss(folder: Path) -> float | None:
    """Training loss of a fold's last epoch; None where there is no history."""
    history = of_fold(folder)
    return float(history["train/loss"].dropna().iloc[-1]) if "train/loss" in history else None


def mean(run_dir: Path, folds: Sequence[str]) -> pd.DataFrame:
    """Average the folds' curves epoch by epoch, each fold counting once.

    Returns:
        A row per epoch (the index); for each of `NAMES` that the folds have, the mean and, as
        `<name>_low` and `<name>_high`, the mean less and plus one standard deviation over folds.
    """
    curves = [of_fold(fold_folder(run_dir, name)) for name in folds]
    epochs = pd.concat(curves).groupby(level=0)
    middle, spread = epochs.mean(), epochs.std(ddof=0)
    columns = {}
    for name in (name for name in NAMES if name in middle):
        columns[name] = middle[name]
        columns[f"{name}_low"] = middle[name] - spread[name]
        columns[f"{name}_high"] = middle[name] + spread[name]
    return pd.DataFrame(columns)
