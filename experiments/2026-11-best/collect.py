"""Score runs on the same samples, all of them and those of which each is surest; write one table.

    python collect.py FILE.csv FIRST OTHER ...      a run, or RUN:HEAD; by default its SVM

Every other run is tested against the first one (paired over persons). `accuracy_80` is the accuracy
on the 80 % of the samples of which the run is surest, as in `mer report`.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from mer import metrics
from mer.compare import paired
from mer.report import run_misses
from mer.runs.stored_run import Run

HERE = Path(__file__).parent
SHARES = (0.8, 0.6, 0.4)


def row(name: str, first: pd.DataFrame | None) -> tuple[dict[str, object], pd.DataFrame]:
    """Scores of a run, and its predictions in the order of the sample ids."""
    path, _, head = name.partition(":")
    run, head = Run(path), head or "svm"
    table = run.predictions.sort_values("sample_id", ignore_index=True)
    classes = sorted(table["label"].unique())
    codes = {column: table[column].map(classes.index).to_numpy() for column in ("label", head)}
    persons, n_classes = table["person"].tolist(), len(classes)
    judged = (codes["label"], codes[head])
    found = {"run": Path(path).name, "head": head, "samples": len(table)}
    bounds = metrics.bootstrap_intervals(*judged, persons, n_classes)
    for score, value in metrics.scores(*judged, n_classes).items():
        found |= _with_bounds(score, value, bounds[score])
    lead = run_misses.lead(run, head).loc[table["sample_id"]]
    curve, _ = run_misses.coverage(lead, judged[0] == judged[1])
    for share in SHARES:
        found[f"accuracy_{round(100 * share)}"] = curve[int(np.ceil(share * len(curve))) - 1]
    table["said"] = codes[head]
    if first is not None:
        pair = paired.compare(codes["label"], first["said"], codes[head], persons, n_classes)
        for score in ("uf1", "accuracy"):
            minus = f"{score}_minus_first"
            found |= _with_bounds(minus, pair.difference[score], pair.interval[score])
            found[f"{minus}_p"] = pair.p[score]
    return found, table


def _with_bounds(name: str, value: float, bounds: tuple[float, float]) -> dict[str, object]:
    low, high = bounds
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def main(file: str, names: list[str]) -> None:
    """Score, test, write, print."""
    first, rows = None, []
    for name in names:
        found, table = row(name, first)
        first = table if first is None else first
        rows.append(found)
    frame = pd.DataFrame(rows).round(4)
    frame.to_csv(HERE / file, index=False)
    print(frame.to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
