"""Writes the scores of the study's runs, and how far their apexes lie from the true ones.

usage: python experiments/2026-11-spotting/collect.py RUNS
"""

import json
import sys
from pathlib import Path

import pandas as pd

from mer.compare.candidates import read
from mer.compare.pairs import against_first
from mer.datasets.readers.smic import list_name, subject_name
from mer.synthetic.plan import MICRO, plan

HERE = Path(__file__).parent
APEXES = ("annotated", "missing", "spotted", "midpoint")
SCORES = ("uf1", "uar", "accuracy")


def true_apexes() -> dict[str, int]:
    """Sample id -> frame in which the motion is truly greatest."""
    true = {}
    for clip in plan("megc2019", 0):
        if clip.dataset == "smic":
            name = f"smic/{subject_name(clip.subject)}/{list_name(clip.clip)}"
            true[name] = clip.apex
        elif clip.dataset in MICRO:
            true[clip.key] = clip.apex
    return true


def errors(folder: Path) -> pd.DataFrame:
    """Mean distance in frames from the true apex and the share within one frame, per dataset."""
    manifests = {
        apex: pd.read_parquet(folder / apex / "manifest.parquet").set_index("sample_id")
        for apex in APEXES[1:]
    }
    middle, kept = manifests["midpoint"]["apex"], manifests["midpoint"]["annotated_apex"]
    apexes = {"annotated": kept.fillna(middle)} | {k: m["apex"] for k, m in manifests.items()}
    true = pd.Series(true_apexes()).reindex(middle.index)
    rows = []
    for name, chosen in apexes.items():
        away = (chosen.astype(float) - true).abs()
        parts = [("pooled", away), *away.groupby(away.index.str.split("/").str[0])]
        for part, some in parts:
            within = float((some <= 1).mean())
            rows.append((name, part, len(some), int(some.isna().sum()), some.mean(), within))
    return pd.DataFrame(
        rows, columns=["apex", "part", "clips", "unknown", "mean_frames", "within_one"]
    )


def main(folder: Path) -> None:
    """Write results.csv, differences.csv and apexes.csv beside this file."""
    rows, differences = [], []
    for pipeline in ("pixels", "motion"):
        runs = [path for apex in APEXES if (path := folder / pipeline / apex).is_dir()]
        for path in runs:
            heads = json.loads((path / "metrics.json").read_text())["heads"]
            for head, parts in heads.items():
                for part, values in parts.items():
                    row = {"pipeline": pipeline, "apex": path.name, "head": head, "part": part}
                    rows.append(row | {name: values[name] for name in ("samples", *SCORES)})
        for head in ("svm", "softmax"):
            pairs = against_first(read(runs), head, "pooled")
            if pairs is not None:
                differences.append(pairs.frame.assign(pipeline=pipeline, head=head))
    pd.DataFrame(rows).round(4).to_csv(HERE / "results.csv", index=False)
    pd.concat(differences).round(4).to_csv(HERE / "differences.csv", index=False)
    errors(folder / "motion").round(4).to_csv(HERE / "apexes.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
