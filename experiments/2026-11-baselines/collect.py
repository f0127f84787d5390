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
#: Folders of runs with options, each beside runs without (`none-SEED`).
OPTIONS = ("options", "losses", "losses-demo", "units-demo")
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
    """Rows of each option, by seed and all seeds as one run: scores, and UF1 minus none's."""
    rows = []
    for folder in OPTIONS:
        runs = {run.name.rpartition("-")[::2]: run for run in sorted((root / folder).glob("*-*"))}
        tables = {
            key: table for key, run in runs.items() if (table := predictions(run)) is not None
        }
        for option in dict.fromkeys(option for option, _ in tables):
            seeds = [seed for name, seed in tables if name == option and ("none", seed) in tables]
            for chosen in dict.fromkeys([*((seed,) for seed in seeds), tuple(seeds)]):
                if not chosen:
                    continue
                both = [
                    pd.concat([tables[name, seed] for seed in chosen]) for name in ("none", option)
                ]
                key = {"runs": folder, "option": option, "seed": "+".join(chosen)}
                rows += [key | {"head": head} | _against(*both, head) for head in HEADS]
    return pd.DataFrame(rows).round(4)


def _against(plain: pd.DataFrame, changed: pd.DataFrame, head: str) -> dict[str, float]:
    true, persons = codes(changed, "label"), list(changed["person"])
    found, before = codes(changed, head), codes(plain, head)
    scores = metrics.scores(true, found, len(CLASSES))
    row = {key: float(scores[key]) for key in metrics.SCORES}
    if (found == before).all():
        return row
    pair = paired.compare(true, before, found, persons, len(CLASSES))
    low, high = pair.interval["uf1"]
    return row | {
        "difference": pair.difference["uf1"],
        "low": low,
        "high": high,
        "p": pair.p["uf1"],
    }


def main(root: Path) -> None:
    """Score, write, print."""
    for name, table in (("results", baselines(root)), ("options", options(root))):
        table.to_csv(HERE / f"{name}.csv", index=False)
        print(table.to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
