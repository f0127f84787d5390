"""Error and CPU time of flow methods on pairs with known motion: writes results.csv, why.csv, plot.

`python measure.py` measures everything, about ten minutes of one core. `python measure.py tvl1`
measures the methods whose name contains the word and replaces their rows.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from pairs import Pair, pairs, portraits

from mer.prepare import methods
from mer.prepare.tvl1 import tvl1

HERE = Path(__file__).parent
PERSONS = 2
Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]


def smooth(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Blur on floats; 8 bits would round small motion away."""
    picture = picture.astype(np.float32)
    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma else picture


def opencv(onset: np.ndarray, apex: np.ndarray, sigma: float = 0, **options: Any) -> np.ndarray:
    """OpenCV's TV-L1 with its own defaults where nothing else is said."""
    solver = cv2.optflow.DualTVL1OpticalFlow_create(**options)
    return solver.calc(smooth(onset, sigma) / 255, smooth(apex, sigma) / 255, None)


def corrected(onset: np.ndarray, apex: np.ndarray, **options: Any) -> np.ndarray:
    """OpenCV's TV-L1, each vector moved from where its cubic warp went to where that lies."""
    flow = opencv(onset, apex, **options)
    part = flow - np.floor(flow)
    return flow + np.float32(0.5) * part * (1 - part) * (1 - 2 * part)


def ours(onset: np.ndarray, apex: np.ndarray, sigma: float = 1.0, **options: Any) -> np.ndarray:
    """The package's TV-L1."""
    chosen = {"weight": 0.05, "scales": 3, "warps": 2, "iterations": 24, **options}
    return tvl1(smooth(onset, sigma), smooth(apex, sigma), **chosen)


def half(onset: np.ndarray, apex: np.ndarray, method: Flow, **options: Any) -> np.ndarray:
    """A method on pictures of half the size."""
    small = (onset.shape[1] // 2, onset.shape[0] // 2)
    shrunk = [cv2.resize(p, small, interpolation=cv2.INTER_AREA) for p in (onset, apex)]
    return 2 * cv2.resize(method(*shrunk, **options), onset.shape[::-1])


def preset(onset: np.ndarray, apex: np.ndarray, which: int) -> np.ndarray:
    """DIS as OpenCV sets it up, on the pictures as they are."""
    return cv2.DISOpticalFlow.create(which).calc(onset, apex, None)


def package(onset: np.ndarray, apex: np.ndarray, method: str, **options: Any) -> np.ndarray:
    """A method of the package."""
    return methods.COMPUTE[method](onset, apex, {**methods.DEFAULTS[method], **options})


#: OpenCV's TV-L1 as this package set it up before.
BEFORE = dict(sigma=1.0, lambda_=0.3, nscales=4, scaleStep=0.5, warps=2, outerIterations=5)

METHODS: dict[str, Flow] = {
    "dis, package": partial(package, method="dis"),
    "dis, no last step": partial(package, method="dis", refinements=0),
    "dis, 40 refinements": partial(package, method="dis", refinements=40),
    "dis, preset ultrafast": partial(preset, which=cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST),
    "dis, preset fast": partial(preset, which=cv2.DISOPTICAL_FLOW_PRESET_FAST),
    "dis, preset medium": partial(preset, which=cv2.DISOPTICAL_FLOW_PRESET_MEDIUM),
    "farneback, package": partial(package, method="farneback"),
    "farneback, window 15": partial(package, method="farneback", window=15, iterations=3),
    "opencv tvl1, its defaults": opencv,
    "opencv tvl1, package before": partial(opencv, **BEFORE),
    "opencv tvl1, before, corrected": partial(corrected, **BEFORE),
    "opencv tvl1, before, epsilon .03": partial(opencv, **BEFORE, epsilon=0.03),
    "opencv tvl1, before, 1 x 30 iterations": partial(opencv, **{**BEFORE, "outerIterations": 1}),
    "opencv tvl1, before, 1 x 10 iterations": partial(
        opencv, **{**BEFORE, "outerIterations": 1}, innnerIterations=10
    ),
    "opencv tvl1, before, no median": partial(opencv, **BEFORE, medianFiltering=1),
    "opencv tvl1, before, lambda .1": partial(opencv, **{**BEFORE, "lambda_": 0.1}),
    "opencv tvl1, before, tau .125": partial(opencv, **BEFORE, tau=0.125),
    "opencv tvl1, before, 1 warp": partial(opencv, **{**BEFORE, "warps": 1}),
    "opencv tvl1, before, 112 px": partial(half, method=opencv, **{**BEFORE, "nscales": 3}),
    "own tvl1, package": ours,
    "own tvl1, 12 iterations": partial(ours, iterations=12),
    "own tvl1, 6 iterations": partial(ours, iterations=6),
    "own tvl1, 12 iterations, 1 warp": partial(ours, iterations=12, warps=1),
    "own tvl1, 12 iterations, weight .03": partial(ours, iterations=12, weight=0.03),
    "own tvl1, 12 iterations, weight .1": partial(ours, iterations=12, weight=0.1),
    "own tvl1, 12 iterations, smooth 1.5": partial(ours, iterations=12, sigma=1.5),
    "own tvl1, 12 iterations, 4 scales": partial(ours, iterations=12, scales=4),
    "own tvl1, 12 iterations, 112 px": partial(half, method=ours, iterations=12),
}


def judge(pair: Pair, found: np.ndarray) -> dict[str, float]:
    """Error in px and recovered share of the motion, inside the face."""
    error = np.hypot(*(found - pair.truth)[pair.inside].T)
    truth, seen = pair.truth[pair.inside], found[pair.inside]
    share = float((seen * truth).sum() / (truth**2).sum()) if pair.motion else np.nan
    return {"error": error.mean(), "error_p95": np.quantile(error, 0.95), "share": share}


def measure(wanted: str) -> None:
    """Run the methods on all pairs; a file per word, so that two processes can share the work."""
    shown = list(pairs(portraits(PERSONS)))
    rows = []
    for name, method in METHODS.items():
        if wanted not in name:
            continue
        for pair in shown:
            started = time.process_time()
            found = method(pair.onset, pair.apex)
            spent = 1000 * (time.process_time() - started)
            key = {"method": name, "kind": pair.kind, "motion": pair.motion, "noise": pair.noise}
            rows.append({**key, **judge(pair, found), "cpu_ms": spent})
        print(name, flush=True)
    keys = ["method", "kind", "motion", "noise"]
    table = pd.DataFrame(rows).groupby(keys, sort=False).mean().reset_index()
    # One figure per method: the median over all pairs, so that a busy machine matters less.
    table["cpu_ms"] = (
        pd.DataFrame(rows).groupby("method")["cpu_ms"].median()[table["method"]].values
    )
    file = HERE / "results.csv"
    if file.exists():
        kept = pd.read_csv(file)
        table = pd.concat([kept[~kept["method"].isin(set(table["method"]))], table])
    order = {name: i for i, name in enumerate(METHODS)}
    table = table.sort_values("method", key=lambda names: names.map(order), kind="stable")
    table["cpu_ms"] = table["cpu_ms"].round(1)
    table.round(4).to_csv(file, index=False)


def why() -> None:
    """What shortens the motion in OpenCV's TV-L1: shifts without noise, unrounded and rounded."""
    rows = []
    variants = {
        "package before": partial(opencv, **BEFORE),
        "corrected for the cubic warp": partial(corrected, **BEFORE),
        "epsilon .0005": partial(opencv, **BEFORE, epsilon=0.0005),
        "both": partial(corrected, **BEFORE, epsilon=0.0005),
        "own": ours,
    }
    for exact in (True, False):
        for pair in pairs(portraits(1), (0.1, 0.3, 0.5, 1.0), (0,), ("shift",), exact=exact):
            for name, method in variants.items():
                share = judge(pair, method(pair.onset, pair.apex))["share"]
                pictures = "floats" if exact else "8 bits"
                rows.append((pictures, name, pair.motion, round(share, 3)))
    columns = ["pictures", "method", "motion", "share"]
    pd.DataFrame(rows, columns=columns).to_csv(HERE / "why.csv", index=False)


def plot() -> None:
    """Mean error at noise 2 over all motions against CPU time."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot as plt

    table = pd.read_csv(HERE / "results.csv").query("noise == 2")
    points = table.groupby("method", sort=False)[["error", "cpu_ms"]].mean()
    figure, axes = plt.subplots(figsize=(7, 4))
    families = {"dis": "C0", "farneback": "C2", "opencv tvl1": "C1", "own tvl1": "C3"}
    for family, colour in families.items():
        own = points[points.index.str.startswith(family)]
        axes.scatter(own["cpu_ms"], own["error"], s=24, color=colour, label=family)
    for name in points.index[points.index.str.contains("package|its defaults|corrected")]:
        at = points.loc[name, "cpu_ms"], points.loc[name, "error"]
        text = name.split(", ", 1)[1]
        axes.annotate(text, at, xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", xlabel="CPU time of a pair, ms", ylabel="mean end-point error, px")
    axes.set_ylim(0, None)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(HERE / "error-time.svg")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    words = sys.argv[1:]
    if words == ["plot"]:
        plot()
    elif words == ["why"]:
        why()
    elif words:
        measure(" ".join(words))
    else:
        measure("")
        why()
        plot()
