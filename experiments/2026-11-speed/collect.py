"""Collect the figures of several `mer bench --json` files in bench.csv."""

import json
import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent


def main(files: list[str]) -> None:
    """Write one row per figure, with the words that the benchmark was called with."""
    rows = []
    for file in map(Path, files):
        stored = json.loads(file.read_text())
        if not stored["complete"] or stored["quick"]:
            raise SystemExit(f"{file} is unfinished or of --quick; measure it again")
        words = " ".join(stored["words"])
        waiting = stored["machine"]["omp_wait_policy"] or "default"
        rows += [{"words": words, "waiting": waiting, **one} for one in stored["figures"]]
    table = pd.DataFrame(rows)
    for column in ("median", "low", "high"):
        table[column] = table[column].map(lambda value: float(f"{value:.4g}"), na_action="ignore")
    table.to_csv(HERE / "bench.csv", index=False)


if __name__ == "__main__":
    main(sys.argv[1:])
