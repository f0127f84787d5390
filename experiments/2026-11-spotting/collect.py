"""Writes the scores of the study's runs, and how far their apexes lie from the true ones.

usage: python experiments/2026-11-spotting/collect.py RUNS
"""

import sys
from pathlib import Path

import pandas as pd

import mer
from mer.compare.candidates import read
from mer.compare.pairs import against_first
from mer.synthetic.plan import MICRO, plan

HERE = Path(__file__).parent
APEXES = ("annotated", "missing", "spotted", "midpoint")


def true_apexes() -> dict[str, int]:
    """Sample id without the dataset's own spelling of the clip -> frame of the greatest motion."""
    return {clip.key: clip.apex for clip in plan("megc2019", 0) if clip.dataset in MICRO}


def error(table: pd.DataFrame, true: dict[str, int]) -> dict[str, float]:
    """Mean distance in frames from the true apex, and the share of clips within one frame."""
    keys = table["subject"] + "/" + table["clip"]
    away = (table["apex"].astype(float) - keys.map(true)).abs().dropna()
    return {"frames": float(away.mean()), "within_one": float((away <= 1).mean()), "n": len(away)}


def main(folder: Path) -> None:
    """Write results.csv, differences.csv and apexes.csv beside this file."""
    rows, differences = [], []
    for pipeline in ("pixels", "motion"):
        runs = [folder / pipeline / apex for apex in APEXES]
        for apex, path in zip(APEXES, runs, strict=True):
            run = mer.load_run(path)
            for head, parts in run.scores["heads"].items():
                for part, values in parts.items():
                    score = {k: values[k] for k in ("samples", "uf1", "uar", "accuracy")}
                    low, high = values["intervals"]["uf1"]
                    bounds = {"uf1_low": low, "uf1_high": high}
                    rows.append(
                        {"pipeline": pipeline, "apex": apex, "head": head, "part": part}
                        | score
                        | bounds
                    )
        pairs = against_first(read(runs, None), "svm", "pooled")
        differences.append(pairs.frame.assign(pipeline=pipeline))
    pd.DataFrame(rows).round(4).to_csv(HERE / "results.csv", index=False)
    pd.concat(differences).round(4).to_csv(HERE / "differences.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
