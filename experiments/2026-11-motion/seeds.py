"""Zero-shot scores of weights made with other seeds: one row per file, and each kind's mean.

    python seeds.py FOLDER [KEY=VALUE ...]      FOLDER/seed0/motion-xxs.ckpt and so on

Writes seeds.csv.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from few_persons import HERE, scores

from mer.config.composition import compose, typed
from mer.data import sources
from mer.training import zero_shot


def main(folder: Path, words: list[str]) -> None:
    """Score every file; seeds of one kind count together as one run too."""
    settings = typed(compose(["experiment=ready_weights", "data=htnet_flow", "run.dir=-", *words]))
    dataset = sources.dataset(settings, sources.load(settings, "micro"))
    labels, persons = dataset.labels, dataset.table["person"].astype(str).tolist()
    rows = []
    for kind in ("motion-mlps", "motion-xxs"):
        said = {
            path.parent.name: zero_shot.scores(settings, path, dataset).argmax(axis=1)
            for path in sorted(folder.glob(f"seed*/{kind}.ckpt"))
        }
        for seed, predicted in said.items():
            rows.append({"weights": kind, "seed": seed} | scores(labels, predicted, persons))
        if said:
            several = (np.tile(labels, len(said)), np.concatenate([*said.values()]))
            together = scores(*several, persons * len(said))
            rows.append({"weights": kind, "seed": f"{len(said)} seeds"} | together)
    table = pd.DataFrame(rows).round(4)
    table.to_csv(HERE / "seeds.csv", index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
