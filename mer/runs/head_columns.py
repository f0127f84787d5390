"""Which heads a table of predictions holds, and how they are called.

A head has a column `<name>_<class>` with the scores of each class and a column `<name>` with the
predicted class. Every table has the softmax; those of an ensemble have the mean alone.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

SOFTMAX, BASELINE, MAJORITY = "softmax", "baseline", "majority"

#: Rows beside the heads that show what a score is worth.
REFERENCES = (BASELINE, MAJORITY)

#: The mean of several runs, which is the one head of an ensemble.
ENSEMBLE = "ensemble"

#: The pretrained network itself, which no micro sample has trained.
ZERO_SHOT = "zero_shot"

#: Headings of heads; others go by their names.
_HEADINGS = {
    "svm": "SVM on embeddings",
    ZERO_SHOT: "zero-shot",
    BASELINE: "SVM on the input itself, same folds",
    MAJORITY: "majority class",
    ENSEMBLE: "mean of the members",
}


def heads(frame: pd.DataFrame) -> list[str]:
    """Names of the heads of a table: those of the configuration, the softmax, the zero-shot."""
    classes = _classes(frame)
    names = [
        str(column)
        for column in frame
        if classes and all(f"{column}_{name}" in frame for name in classes)
    ]
    last = (SOFTMAX, ZERO_SHOT)
    return sorted(names, key=lambda name: last.index(name) if name in last else -1)


def score_columns(frame: pd.DataFrame) -> list[str]:
    """Columns with the scores of all heads."""
    return [f"{head}_{name}" for head in heads(frame) for name in _classes(frame)]


def file_of(head: str) -> str:
    """Name of the file in a run directory that holds what a head predicts."""
    return "baseline.parquet" if head == BASELINE else "predictions.parquet"


def main_head(names: Iterable[str]) -> str:
    """The head that stands for a run: the first one, or the softmax where there is no other."""
    return next((name for name in names if name not in REFERENCES), SOFTMAX)


def heading(head: str) -> str:
    """How a head is called in tables and figures."""
    return _HEADINGS.get(head, head)


def with_offsets(head: str, scores: NDArray[np.float64], offsets: ArrayLike) -> NDArray[np.float64]:
    """Add to each class what `protocol.inner` chose; of the softmax to its logarithm. (N, K)."""
    with np.errstate(divide="ignore"):
        return (np.log(scores) if head == SOFTMAX else scores) + np.asarray(offsets, np.float64)


def read_states(path: Path) -> dict[str, Any]:
    """Read the state of each head of a fold from its `heads.pt`; no code of the file is run."""
    import torch

    states: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return states


def _classes(frame: pd.DataFrame) -> list[str]:
    """Names of the classes, from the columns of a head that the table must have."""
    for head in (SOFTMAX, ENSEMBLE, BASELINE):
        start = f"{head}_"
        if names := [str(c).removeprefix(start) for c in frame if str(c).startswith(start)]:
            return names
    return []
