"""Samples that every head misses, and how sure heads are of what they have right."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mer.runs import members
from mer.runs.head_columns import BASELINE, heading
from mer.runs.rundir import find
from mer.runs.standard_scores import Form, standardise
from mer.runs.stored_run import Run

#: Shares of the samples for which the accuracy is told.
SHARES = (0.5, 0.7, 0.8, 0.9, 1.0)


def judged(run: Run) -> dict[str, str]:
    """The heads of a run, and its baseline: name -> heading."""
    return run.heads | ({BASELINE: heading(BASELINE)} if BASELINE in run.all_scores else {})


def coverage(confidence: ArrayLike, right: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """Accuracy of the n samples of which a head is surest, for each n.

    Args:
        confidence: How sure the head is; only the order counts. Shape: (N,).
        right: Whether its class is the true one. Shape: (N,).

    Returns:
        Accuracy of the first 1, 2, ... N samples, and the mean of these: the area under the curve
        of accuracy over coverage. Of equally sure samples each counts as their mean. Shape: (N,).
    """
    frame = pd.DataFrame({"sure": confidence, "right": right}, dtype=float)
    frame["right"] = frame.groupby("sure")["right"].transform("mean")
    ranked = frame.sort_values("sure", ascending=False)["right"].to_numpy()
    curve = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return curve, float(curve.mean())


def at_shares(curve: NDArray[np.float64]) -> list[float]:
    """Accuracy at each of `SHARES` of the samples."""
    return [float(curve[int(np.ceil(share * len(curve))) - 1]) for share in SHARES]


def lead(run: Run, head: str) -> pd.Series:
    """By how much the best class of each sample leads the second, by a head's scores.

    Votes of an SVM are turned into margins first, since votes say nothing of how sure it is.
    """
    ids = run.predictions["sample_id"].tolist()
    ranked = np.sort(members.scores(run, head, ids, _unless_other), axis=1)
    return pd.Series(ranked[:, -1] - ranked[:, -2], index=ids)


def _unless_other(scores: NDArray[np.float64], form: Form) -> NDArray[np.float64]:
    """Standardise scores of a known form; others would lose what they say of how sure it is."""
    return scores if form == "other" else standardise(scores, form)


def said(run: Run) -> tuple[pd.DataFrame, list[str]]:
    """What each head says of each sample, and an ensemble's members.

    Returns:
        A row per sample, indexed by its id, a column per head under its heading; and members that
        are not there.
    """
    columns = {
        title: members.table_of(run, head, [head])[head] for head, title in judged(run).items()
    }
    absent = []
    for node in members.nodes_of(run.config):
        path, head = run.directory.resolve() / node["run"], node["head"]
        name = f"{Path(node['run']).name}:{head}"
        if find(path, "predictions.parquet") is None:
            absent.append(name)
        else:
            columns[name] = members.table_of(Run(path), head, [head])[head]
    return pd.DataFrame(columns).loc[run.predictions["sample_id"]], absent


def missed_by_all(run: Run) -> dict[str, Any]:
    """The samples that no head has right, and how many all have right."""
    table, absent = said(run)
    true = run.predictions.set_index("sample_id")
    right = table.eq(true["label"], axis=0)
    none, every = ~right.any(axis=1), right.all(axis=1)
    rows = [
        [sample, true.loc[sample, "label"], true.loc[sample, "emotion"] or "", *row]
        for sample, row in zip(table.index[none], table[none].to_numpy().tolist(), strict=True)
    ]
    counts = none.groupby(true["dataset"]).agg(["sum", "size"])
    return {
        "heads": list(table),
        "rows": rows,
        "every": int(every.sum()),
        "samples": len(table),
        "datasets": [
            f"{name}: {missed} of {size} ({100 * missed / size:.0f} %)"
            for name, missed, size in counts.itertuples()
        ],
        "absent": absent,
    }
