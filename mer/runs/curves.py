"""Learning curves of the folds and their mean."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mer.runs import run_files
from mer.runs.rundir import fold_folder

#: What is averaged over the folds, out of the columns of a fold's `metrics.csv`.
NAMES = ("train/loss", "val/loss", "train/uf1", "val/uf1")


def write(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write a fold's history as Lightning's CSV logger does: a row per epoch."""
    with (folder / "metrics.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


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
    """A history as (epoch, what is known of it); a last validation without training is no epoch."""
    history = of_fold(folder)
    return [
        (int(str(epoch)), {str(name): float(value) for name, value in row.dropna().items()})
        for epoch, row in history.iterrows()
        if not np.isnan(row.get("train/loss", np.nan))
    ]


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
