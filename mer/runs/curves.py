"""Learning curves of the folds and their mean."""

import contextlib
import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from mer.files import write_text
from mer.runs import run_files
from mer.runs.rundir import fold_folder

#: What is averaged over the folds, out of the columns of a fold's `metrics.csv`.
NAMES = ("train/loss", "val/loss", "train/uf1", "val/uf1")


#: Epochs before an interruption, while the training goes on: Lightning begins its file anew.
_EARLIER = "metrics-earlier.csv"


def write(folder: Path, rows: Sequence[Mapping[str, float | str]]) -> None:
    """Write a fold's history as Lightning's CSV logger does: a row per epoch."""
    _write(folder / "metrics.csv", rows)


def _write(path: Path, rows: Sequence[Mapping[str, float | str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    write_text(text.getvalue(), path)


@contextlib.contextmanager
def continued(folder: Path) -> Iterator[None]:
    """Keep the epochs of an interrupted training, whose history Lightning would begin anew.

    Whenever it is killed, they are in one of two files.
    """
    path, earlier = folder / "metrics.csv", folder / _EARLIER
    if rows := _history(folder):
        _write(earlier, rows)
    path.unlink(missing_ok=True)
    try:
        yield
    finally:
        if earlier.exists():
            write(folder, _history(folder))
            earlier.unlink()


def _history(folder: Path) -> list[dict[str, str]]:
    """Lines of a history; the epochs before an interruption come first."""
    later = _rows(folder / "metrics.csv")
    first = int(later[0]["epoch"]) if later else None
    earlier = _rows(folder / _EARLIER)
    return [row for row in earlier if first is None or int(row["epoch"]) < first] + later


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
    return _epochs(_history(folder))


def _epochs(rows: Iterable[Mapping[str, str]]) -> list[tuple[int, dict[str, float]]]:
    epochs: dict[int, dict[str, float]] = {}
    for row in rows:
        known = epochs.setdefault(int(row["epoch"]), {})
        known |= {name: float(row[name]) for name in NAMES if row.get(name)}
    return [(epoch, known) for epoch, known in epochs.items() if "train/loss" in known]


class NewEpochs:
    """The epochs of a fold or of pretraining, each once, as the training writes them.

    Args:
        folder: Folder of the history.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._last = folder / "metrics.csv", -1
        self._state: tuple[int, int] | None = None

    def read(self) -> list[tuple[int, dict[str, float]]]:
        """The epochs that have ended since the last call, as `by_epoch` gives them."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return []
        state = stat.st_mtime_ns, stat.st_size
        if state == self._state:
            return []
        self._state = state
        epochs = _epochs(_rows(self._path))
        new = [(epoch, known) for epoch, known in epochs if epoch > self._last]
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
