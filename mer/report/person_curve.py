"""Learning curve over persons: what the score gains with the persons of the training side.

By the SVM on the input itself, which is fitted in seconds and has no other choices. Networks would
have to be trained again; where they gain from more persons is a question of its own.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer import metrics
from mer.randomness import generator
from mer.report.fold_networks import Absent, Networks
from mer.runs import run_files
from mer.runs.head_columns import BASELINE
from mer.runs.stored_run import Run
from mer.training import baseline
from mer.training.baseline import Split, Task

#: Shares of the training persons, and how often fewer than all are drawn.
SHARES, DRAWS = (0.25, 0.5, 0.75, 1.0), 3

#: Above so many seconds of one core there is no curve.
MOST_SECONDS = 300.0


class Point(NamedTuple):
    """One share of the training persons: their mean number over folds, and UF1 of each draw."""

    share: float
    persons: float
    uf1: list[float]


def learning_curve(run: Run, networks: Networks) -> list[Point]:
    """Fit SVMs on some of each fold's training persons and score the test persons, pooled.

    A draw is one seeded order of all persons; each fold takes the first of its training persons.

    Raises:
        Absent: If it would take too long.
    """
    data = networks.dataset
    task = Task(baseline.pixels(data), data.labels, len(data.classes))
    persons = data.table["person"].to_numpy(dtype=str)
    sides = _sides(run, networks)
    known = run.all_scores.get(BASELINE, {}).get("pooled", {}).get("uf1")
    draws = {share: DRAWS if share < 1 else 1 if known is None else 0 for share in SHARES}
    plans = {
        share: [_subsets(sides, persons, share, run.get("seed", 0), draw) for draw in range(count)]
        for share, count in draws.items()
    }
    cost = sum(baseline.seconds(task, one) for several in plans.values() for one in several)
    if cost > MOST_SECONDS:
        raise Absent(f"It would take {cost / 60:.0f} minutes.")
    points = []
    for share, several in plans.items():
        scores = [_uf1(task, splits) for splits in several] or [float(known)]
        numbers = [len(set(persons[split.train])) for split in (several or [sides])[0]]
        points.append(Point(share, float(np.mean(numbers)), scores))
    return points


def take(
    train: NDArray[np.int64], persons: NDArray[np.str_], order: Sequence[str], share: float
) -> NDArray[np.int64]:
    """Training samples of the first persons of an order, rounded up; at least one person."""
    there = set(persons[train])
    chosen = [person for person in order if person in there]
    kept = set(chosen[: max(1, math.ceil(share * len(chosen)))])
    return train[[person in kept for person in persons[train]]]


def _sides(run: Run, networks: Networks) -> list[Split]:
    splits = run_files.read_table(run.directory / "splits.parquet").astype("str")
    train = splits[splits["side"] == "train"].groupby("fold")["sample_id"]
    fitted = {fold: networks.dataset.positions(ids.tolist()) for fold, ids in train}
    return [Split(fitted[fold], tested) for fold, tested in networks.tested.items()]


def _subsets(
    sides: Sequence[Split], persons: NDArray[np.str_], share: float, seed: int, draw: int
) -> list[Split]:
    order = generator(seed, "learning curve", draw).permutation(np.unique(persons)).tolist()
    return [Split(take(side.train, persons, order, share), side.test) for side in sides]


def _uf1(task: Task, splits: Sequence[Split]) -> float:
    tested = np.concatenate([split.test for split in splits])
    said = np.concatenate([one.argmax(axis=1) for one in baseline.fit(task, splits)])
    return float(metrics.scores(task.labels[tested], said, task.n_classes)["uf1"])


def as_table(points: Sequence[Point]) -> pd.DataFrame:
    """A row per share: `share`, `persons`, and mean, lowest and highest UF1 of the draws."""
    rows = [(p.share, p.persons, np.mean(p.uf1), min(p.uf1), max(p.uf1)) for p in points]
    return pd.DataFrame(rows, columns=["share", "persons", "uf1", "low", "high"])
