"""Score the runs of this study in each way; write results.csv, differences.csv and inflation.svg.

    python collect.py runs/study/leak-inflation

Runs that are not finished are left out, and said to be.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mer import metrics
from mer.compare import paired
from mer.runs import rundir

HERE = Path(__file__).parent
CLASSES = ("negative", "positive", "surprise")
DRAWS = 2000

#: Folder -> what it is called in the results.
RUNS = {
    "loso": "leave-one-subject-out, last epoch",
    "loso-oracle": "leave-one-subject-out, oracle epoch",
    "random": "random split, last epoch",
}
#: Scoring -> the diagnostics of `metrics.fold_diagnostics` that stand for UF1, UAR, accuracy.
FOLD_MEANS = {
    "fold mean": ("fold_f1_diagnostic", "fold_uar_diagnostic"),
    "fold mean, absent 0": ("fold_f1_absent_0_diagnostic", "fold_uar_absent_0_diagnostic"),
    "fold mean, absent 1": ("fold_f1_absent_1_diagnostic", "fold_uar_diagnostic"),
}
#: What the picture shows: name, run, scoring.
PICTURE = (
    ("clean: last epoch, pooled", "loso", "pooled"),
    ("random split, pooled", "random", "pooled"),
    ("fold mean, absent 0", "loso", "fold mean, absent 0"),
    ("fold mean", "loso", "fold mean"),
    ("fold mean, absent 1", "loso", "fold mean, absent 1"),
    ("oracle epoch, pooled", "loso-oracle", "pooled"),
    ("oracle epoch, fold mean", "loso-oracle", "fold mean"),
    ("oracle epoch, fold mean, absent 1", "loso-oracle", "fold mean, absent 1"),
)

#: One set of predictions: true and predicted class numbers, persons.
Judged = tuple[NDArray[np.int64], NDArray[np.int64], list[str]]


def read(path: Path, head: str) -> Judged:
    """Read a run's pooled predictions, in the order of the sample ids."""
    table = pd.read_parquet(path).sort_values("sample_id")
    number = {name: place for place, name in enumerate(CLASSES)}
    said = (table["label"].map(number).to_numpy(), table[head].map(number).to_numpy())
    return (*said, table["person"].tolist())


def pooled(judged: Judged) -> tuple[NDArray, NDArray]:
    """Pooled UF1, UAR, accuracy (3,), and the same when persons are drawn again (DRAWS, 3)."""
    per_person = metrics.confusion_by(*judged, len(CLASSES))
    times = metrics.draw_persons(len(per_person), DRAWS, seed=0)
    found = [
        metrics.scores_from_confusion(counts)
        for counts in (per_person.sum(0), np.tensordot(times, per_person, axes=1))
    ]
    value, drawn = (np.stack([of[name] for name in metrics.SCORES], axis=-1) for of in found)
    return value, drawn


def fold_means(scoring: str) -> Callable[[Judged], tuple[NDArray, NDArray]]:
    """As `pooled`, but means over folds; each fold tests one person."""

    def score(judged: Judged) -> tuple[NDArray, NDArray]:
        true, pred, persons = judged
        names = (*FOLD_MEANS[scoring], "fold_accuracy_diagnostic")
        owner = np.asarray(persons)
        rows = []
        for person in np.unique(owner):
            own = owner == person
            fold = [person] * int(own.sum())
            found = metrics.fold_diagnostics(true[own], pred[own], fold, len(CLASSES))
            rows.append([found[name] for name in names])
        values = np.asarray(rows)
        times = metrics.draw_persons(len(values), DRAWS, seed=0)
        return values.mean(axis=0), times @ values / len(values)

    return score


def main(root: Path) -> None:
    """Score, write, draw."""
    rows = []
    for labels, folder in (("real", "seed*"), ("permuted", "null*")):
        for run, name in RUNS.items():
            done, open_ = [], []
            for path in sorted(root.glob(f"{folder}/{run}")):
                scores = rundir.find(path, "metrics.json")
                status = json.loads(scores.read_text())["status"] if scores else "started"
                (done if status == "complete" else open_).append(path)
            for path in open_:
                print(f"{path} is not finished and left out")
            ways = {"pooled": pooled}
            if run != "random":
                ways |= {scoring: fold_means(scoring) for scoring in FOLD_MEANS}
            for head in ("softmax", "svm"):
                judged = [read(rundir.find(path, "predictions.parquet"), head) for path in done]
                for scoring, score in ways.items():
                    key = {"labels": labels, "run": run, "what": name, "scoring": scoring}
                    rows += summarise([score(one) for one in judged], done, key | {"head": head})
    results = pd.DataFrame(rows).round(4)
    results.to_csv(HERE / "results.csv", index=False)
    compare(root)
    show(results)
    draw(results)


def summarise(
    found: list[tuple[NDArray, NDArray]], paths: list[Path], key: dict[str, str]
) -> list[dict[str, object]]:
    """A row per seed and one of their mean, whose interval draws the same persons in all seeds."""
    rows = [
        (path.parent.name, values, drawn)
        for path, (values, drawn) in zip(paths, found, strict=True)
    ]
    if len(found) > 1:
        mean = [np.mean(part, axis=0) for part in zip(*found, strict=True)]
        rows.append((f"mean of {len(found)}", *mean))
    return [
        key | {"seed": seed} | row(values, *np.quantile(drawn, [0.025, 0.975], axis=0))
        for seed, values, drawn in rows
    ]


def row(values: NDArray, low: NDArray, high: NDArray) -> dict[str, float]:
    """Name scores and their bounds."""
    return {
        f"{name}{ending}": float(part[place])
        for place, name in enumerate(metrics.SCORES)
        for ending, part in (("", values), ("_low", low), ("_high", high))
    }


def compare(root: Path) -> None:
    """Print each run minus the clean one of its seed, as `mer compare` has it; keep it as CSV."""
    rows = []
    for clean in sorted(root.glob("*/loso/predictions.parquet")):
        for run in ("loso-oracle", "random"):
            other = rundir.find(clean.parent.parent / run, "predictions.parquet")
            for head in ("softmax", "svm") if other else ():
                true, a, persons = read(clean, head)
                found = paired.compare(true, a, read(other, head)[1], persons, len(CLASSES))
                key = {"seed": clean.parent.parent.name, "run": run, "head": head}
                for score in metrics.SCORES:
                    low, high = found.interval[score]
                    sizes = {"difference": found.difference[score], "low": low, "high": high}
                    rows.append(key | {"score": score} | sizes | {"p": found.p[score]})
    table = pd.DataFrame(rows).round(4)
    table.to_csv(HERE / "differences.csv", index=False)
    if len(table):
        print(table[table["score"] == "uf1"].to_string(index=False))


def show(results: pd.DataFrame) -> None:
    """Print what the README shows: the mean of the seeds, or the one there is, in each way."""
    for head in ("softmax", "svm"):
        for labels in ("real", "permuted"):
            chosen = results[(results["head"] == head) & (results["labels"] == labels)]
            last = chosen.groupby(["what", "scoring"], sort=False).last().reset_index()
            print(f"\n{head}, {labels} labels")
            for line in last.to_dict("records"):
                cells = [
                    f"{line[name]:.3f} [{line[f'{name}_low']:.2f}, {line[f'{name}_high']:.2f}]"
                    for name in metrics.SCORES
                ]
                text = " | ".join([line["what"], line["scoring"], *cells, line["seed"]])
                print(f"| {text} |".replace(" 0.", " .").replace("[0.", "[."))


def draw(results: pd.DataFrame) -> None:
    """One line per way of scoring: UF1 of the softmax with its interval, real and permuted."""
    softmax = results[results["head"] == "softmax"]
    with matplotlib.rc_context({"font.size": 9, "svg.hashsalt": "mer", "svg.fonttype": "none"}):
        figure = Figure(figsize=(5.0, 3.4), layout="constrained")
        axes = figure.subplots()
        for labels, colour, shift in (("real", "#0072b2", -0.12), ("permuted", "#d55e00", 0.12)):
            for place, (_, run, scoring) in enumerate(PICTURE):
                of_labels = softmax[softmax["labels"] == labels]
                found = of_labels[(of_labels["run"] == run) & (of_labels["scoring"] == scoring)]
                if len(found):
                    last = found.iloc[-1]  # the mean where there are several seeds
                    line = [last["uf1_low"], last["uf1_high"]]
                    axes.plot(line, [place + shift] * 2, color=colour, linewidth=1.5)
                    axes.plot(last["uf1"], place + shift, "o", color=colour, markersize=5)
            axes.plot([], [], "o-", color=colour, label=f"{labels} labels")
        axes.axvline(0.333, color="#555555", linewidth=0.8, linestyle=":", label="guessing, pooled")
        axes.set_yticks(range(len(PICTURE)), [name for name, _, _ in PICTURE])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("called UF1, with 95 % interval")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        figure.legend(loc="outside upper right", ncols=3, frameon=False, columnspacing=1)
        figure.savefig(HERE / "inflation.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
