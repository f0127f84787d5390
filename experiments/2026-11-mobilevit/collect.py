"""Score the seeds of this study, each and together, write results.csv, test against the baseline.

python collect.py runs/mobilevit-motion
"""

import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "2026-11-transfer"))

from collect import difference, scores  # noqa: E402  of the study of transfer

HEADS = ("svm", "svm_sum", "softmax")


def read(folder: Path) -> pd.DataFrame:
    """Read the predictions of a run, those of its baseline among them, by sample id."""
    table = pd.read_parquet(folder / "predictions.parquet").sort_values("sample_id")
    baseline = pd.read_parquet(folder / "baseline.parquet").set_index("sample_id")["baseline"]
    return table.assign(baseline=table["sample_id"].map(baseline))


def main(root: Path) -> None:
    """Score, write, print."""
    seeds = {path.parent.name: read(path.parent) for path in sorted(root.glob("*/metrics.json"))}
    together = pd.concat(seeds.values())
    rows = [
        {"head": head, "seed": seed} | scores(table, head)
        for head in (*HEADS, "zero_shot", "baseline")
        for seed, table in {**seeds, f"{len(seeds)} seeds": together}.items()
    ]
    frame = pd.DataFrame(rows).round(4)
    frame.to_csv(HERE / "results.csv", index=False)
    print(frame.to_string(index=False))
    for head in HEADS:
        one, other = (together.assign(shown=together[name]) for name in (head, "baseline"))
        print(head, "minus baseline", difference(one, other, "shown"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
