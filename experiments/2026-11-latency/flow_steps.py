"""Error and CPU time of DIS with fewer steps, and on smaller crops: writes flow_steps.csv.

`python flow_steps.py`, a minute of one core. Pairs with known motion are those of
`../2026-11-flow-speed`; errors are in pixels of a crop of 224.
"""

import sys
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "2026-11-flow-speed"))
from pairs import pairs, portraits  # noqa: E402


class Steps(NamedTuple):
    """Iterations of the last variational step: outer and inner ones, their relaxation."""

    outer: int = 5
    inner: int = 20
    relaxation: float = 1.6
    side: int = 224


VARIANTS = {
    "package": Steps(),
    "10 inner": Steps(inner=10),
    "5 inner": Steps(inner=5),
    "3 outer": Steps(outer=3),
    "2 outer": Steps(outer=2),
    "no last step": Steps(outer=0),
    "20 inner, 1.9": Steps(relaxation=1.9),
    "10 inner, 1.9": Steps(inner=10, relaxation=1.9),
    "5 inner, 1.9 (prepare=fast)": Steps(inner=5, relaxation=1.9),
    "5 inner, 1.8": Steps(inner=5, relaxation=1.8),
    "2 outer, 1.9": Steps(outer=2, relaxation=1.9),
    "160 px": Steps(side=160),
    "128 px": Steps(side=128),
    "112 px": Steps(side=112),
    "160 px, 5 inner, 1.9": Steps(inner=5, relaxation=1.9, side=160),
    "128 px, 5 inner, 1.9": Steps(inner=5, relaxation=1.9, side=128),
}


def flow(onset: np.ndarray, apex: np.ndarray, steps: Steps) -> np.ndarray:
    """DIS as the package sets it up, but for the steps."""
    if steps.side < len(onset):
        size = (steps.side, steps.side)
        onset, apex = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (onset, apex))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(1)
    search.setPatchSize(8)
    search.setPatchStride(3)
    field = search.calc(*(cv2.GaussianBlur(p, (0, 0), 1.5) for p in (onset, apex)), None)
    if steps.outer:
        last = cv2.VariationalRefinement.create()
        last.setAlpha(40.0)
        last.setFixedPointIterations(steps.outer)
        last.setSorIterations(steps.inner)
        last.setOmega(steps.relaxation)
        floats = [cv2.GaussianBlur(p.astype(np.float32), (0, 0), 1.5) for p in (onset, apex)]
        field = last.calc(*floats, field)
    return field


def main() -> None:
    """Run all variants in turns on every pair."""
    cv2.setNumThreads(1)
    rows = []
    for pair in pairs(portraits(2)):
        for name, steps in VARIANTS.items():
            started = time.process_time()
            field = flow(pair.onset, pair.apex, steps)
            spent = 1000 * (time.process_time() - started)
            if steps.side < 224:
                field = cv2.resize(field, (224, 224)) * (224 / steps.side)
            error = np.hypot(*(field - pair.truth)[pair.inside].T)
            truth, seen = pair.truth[pair.inside], field[pair.inside]
            share = (seen * truth).sum() / (truth**2).sum() if pair.motion else np.nan
            rows.append((name, pair.motion, pair.noise, error.mean(), share, spent))
    columns = ["steps", "motion", "noise", "error", "share", "cpu_ms"]
    table = pd.DataFrame(rows, columns=columns)
    kept = table.groupby(["steps", "motion", "noise"], sort=False).mean(numeric_only=True)
    middle = table.groupby("steps")["cpu_ms"].median()
    kept["cpu_ms"] = middle[kept.index.get_level_values(0)].to_numpy()
    rounded = kept.round({"error": 4, "share": 3, "cpu_ms": 1})
    rounded.reset_index().to_csv(HERE / "flow_steps.csv", index=False)


if __name__ == "__main__":
    main()
