"""Score the runs of this study beside the papers' figures; write results.csv and options.csv.

    python collect.py runs/study/baselines

Runs that are not finished are left out.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from mer import metrics
from mer.compare import paired
from mer.runs import rundir

HERE = Path(__file__).parent
CLASSES = ("negative", "positive", "surprise")
HEADS = ("softmax", "svm")

#: Baseline -> UF1 and UAR that its paper gives; a re-run by others without and with the best epoch.
PAPERS = {
    "bi_woof": ("Bi-WOOF", 0.6296, 0.6227, None, None),
    "perceptron": ("perceptron", None, None, None, None),
    "ststnet": ("STSTNet", 0.7353, 0.7605, 0.7127, 0.7740),
    "off_apexnet": ("OFF-ApexNet", 0.7196, 0.7096, 0.7032, 0.8390),
    "region_transformer": ("four regions, after HTNet", 0.8603, 0.8475, None, None),
    "rcn_a": ("RCN-A", 0.7432, 0.7190, None, None),
    "dual_inception": ("Dual-Inception", 0.7322, 0.7278, None, None),
}
FOLDS = {"loso": "68 persons", "ten": "10", "oracle": "68 persons, oracle epoch"}


def predictions(run: Path) -> pd.DataFrame | None:
    """Pooled predictions of a finished run; None for another."""
    scores = rundir.find(run, "metrics.json")
    if scores is None or json.loads(scores.read_text())["status"] != "complete":
        return None
    return pd.read_parquet(rundir.find(run, "predictions.parquet")).sort_values("sample_id")


def codes(table: pd.DataFrame, column: str) -> np.ndarray:
    """Class numbers of a column."""
    return table[column].map({name: code for code, name in enumerate(CLASSES)}).to_numpy()


def baselines(root: Path) -> pd.DataFrame:
    """A row per finished run and head: pooled scores, and the mean over persons."""
    rows = []
    for name, (title, uf1, uar, clean, best) in PAPERS.items():
        for folder, folds in FOLDS.items():
            table = predictions(root / name / folder)
            for head in HEADS if table is not None else ():
                true, found, persons = codes(table, "label"), codes(table, head), table["person"]
                scores = metrics.scores(true, found, len(CLASSES))
                low, high = metrics.bootstrap_intervals(true, found, list(persons), len(CLASSES))[
                    "uf1"
                ]
                mean = metrics.fold_diagnostics(true, found, list(persons), len(CLASSES))
                rows.append(
                    {"baseline": title, "folds": folds, "head": head}
                    | {key: float(scores[key]) for key in metrics.SCORES}
                    | {"uf1_low": low, "uf1_high": high}
                    | {"person_mean_f1": mean["fold_f1_diagnostic"]}
                    | {"person_mean_f1_absent_1": mean["fold_f1_absent_1_diagnostic"]}
                    | {"paper_uf1": uf1, "paper_uar": uar}
                    | {"rerun_last_epoch_uf1": clean, "rerun_best_epoch_uf1": best}
                )
    return pd.DataFrame(rows).round(4)


def options(root: Path) -> pd.DataFrame:
    """A row per option, seed and head: its scores, and its UF1 minus that without options."""
    rows = []
    for run in sorted((root / "options").glob("*-*")):
        option, _, seed = run.name.rpartition("-")
        table, plain = predictions(run), predictions(run.parent / f"none-{seed}")
        if table is None or plain is None:
            continue
        for head in HEADS:
            true, found, persons = codes(table, "label"), codes(table, head), list(table["person"])
            scores = metrics.scores(true, found, len(CLASSES))
            row = {"option": option, "seed": int(seed), "head": head}
            row |= {key: float(scores[key]) for key in metrics.SCORES}
            if option != "none":
                pair = paired.compare(true, codes(plain, head), found, persons, len(CLASSES))
                row |= {"difference": pair.difference["uf1"], "p": pair.p["uf1"]}
            rows.append(row)
    return pd.DataFrame(rows).round(4)


def main(root: Path) -> None:
    """Score, write, print."""
    for name, table in (("results", baselines(root)), ("options", options(root))):
        table.to_csv(HERE / f"{name}.csv", index=False)
        print(table.to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
