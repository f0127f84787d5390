"""Numbers of the pages and tables about scores: heads, classes, persons."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mer import metrics
from mer.runs.head_columns import MAJORITY, REFERENCES, heading
from mer.runs.stored_run import Run

#: Scores in the order of the tables; those that a run's `metrics.json` lacks are left out.
NAMES = {
    "uf1": "UF1",
    "uar": "UAR",
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "kappa": "kappa",
}


class Score(NamedTuple):
    """A score and, where it is known, its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None


class Row(NamedTuple):
    """Scores of one head; `kind` is `main` for the head that counts, `aside` for what guesses."""

    head: str
    kind: str
    scores: dict[str, Score]


class Part(NamedTuple):
    """The rows of the composite (`pooled`) or of one dataset."""

    name: str
    samples: int
    persons: int
    rows: list[Row]


def score_names(run: Run) -> list[str]:
    """Keys out of `NAMES` that the run has."""
    return [name for name in NAMES if name in run.all_scores[MAJORITY]["pooled"]]


def score_table(run: Run) -> list[Part]:
    """Scores of all heads on all parts, with what knows nothing beside them."""
    parts = []
    for part in run.parts:
        counts = run.all_scores[MAJORITY][part]
        rows = [
            Row(title, "" if place else "main", _scores(run, run.all_scores[head][part]))
            for place, (head, title) in enumerate(run.heads.items())
        ]
        rows += [
            Row(heading(name), "aside", _scores(run, run.all_scores[name][part]))
            for name in REFERENCES
            if name in run.all_scores
        ]
        rows.append(Row("guessing", "aside", _scores(run, _guesses(counts["confusion"]))))
        parts.append(Part(part, counts["samples"], counts["persons"], rows))
    return parts


def _scores(run: Run, values: dict[str, Any]) -> dict[str, Score]:
    intervals = values.get("intervals", {})
    return {
        name: Score(values[name], *intervals.get(name, ()))
        for name in score_names(run)
        if values.get(name) is not None
    }


def _guesses(matrix: list[list[int]]) -> dict[str, float]:
    """Expected scores of guessing each class as often as it is true."""
    true = np.asarray(matrix).sum(axis=1)
    return metrics.chance(true.tolist(), len(true))["prior"]


def recall(run: Run) -> list[tuple[str, float, int, int]]:
    """Each class with its pooled recall by the first head, its samples that are right, and all."""
    matrix = np.asarray(run.all_scores[next(iter(run.heads))]["pooled"]["confusion"])
    right, true = matrix.diagonal(), matrix.sum(axis=1)
    return [
        (name, float(one / max(both, 1)), int(one), int(both))
        for name, one, both in zip(run.classes, right, true, strict=True)
    ]


def per_class(run: Run, head: str) -> list[list[Any]]:
    """Rows of part, class, samples, precision, recall and F1 of a head."""
    rows = []
    for part in run.parts:
        matrix = np.asarray(run.all_scores[head][part]["confusion"])
        values = metrics.per_class_from_confusion(matrix)
        for place, name in enumerate(run.classes):
            scores = [float(values[key][place]) for key in ("precision", "recall", "f1")]
            rows.append([part, name, int(matrix[place].sum()), *scores])
    return rows


def per_person(predictions: pd.DataFrame, heads: Sequence[str]) -> pd.DataFrame:
    """Accuracy of each tested person; a person has too few samples and classes for more.

    Returns:
        `dataset`, `person`, `samples` and each head's accuracy under the head's name; by dataset,
        the best first, of equals the one with more samples.
    """
    columns = {head: (f"{head}_correct", "mean") for head in heads}
    groups = predictions.groupby(["dataset", "person"], as_index=False)
    table = groups.agg(samples=("person", "size"), **columns)
    order = ["dataset", heads[0], "samples", "person"]
    return table.sort_values(order, ascending=[True, False, False, True], ignore_index=True)
