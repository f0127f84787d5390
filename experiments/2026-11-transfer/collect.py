"""Score the runs of a part of this study, write its two tables, and print the README's.

    python collect.py synthetic runs/study/transfer        results.csv, differences.csv
    python collect.py real runs/study/transfer-real        real-results.csv, real-differences.csv
    python collect.py megc2019 runs/study/transfer-megc2019        megc2019-results.csv and so on

Runs that are not finished are left out. Seeds count apart, and together as one run with as many
predictions per sample, so intervals and tests draw persons, each with all seeds.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from mer import metrics
from mer.compare import paired

HERE = Path(__file__).parent
CLASSES = ("negative", "positive", "surprise")
HEADS = ("svm", "softmax")
#: Columns of predictions that no fold was fitted for, or no network.
OTHERS = ("zero_shot", "baseline")

#: Part -> folder -> what is trained on which macro samples, and what joins it.
WAYS = {
    "synthetic": {
        "none": "nothing",
        "whole+random": "whole; its MobileNetV2 blocks, transformer blocks random",
        "mobilenetv2+random": "MobileNetV2 blocks alone; transformer blocks random",
        "mobilenetv2+gate": "MobileNetV2 blocks alone; transformer blocks by gate",
        "mobilenetv2+residual": "MobileNetV2 blocks alone; transformer blocks by residual",
        "whole+all": "whole; all of it",
        "untrained+gate": "nothing; transformer blocks by gate",
    },
    "real": {
        "none": "nothing",
        **{
            f"{source}+{join}": f"{name}: {what}"
            for source, name in {
                "ck": "CK+ motion",
                "motion": "synthetic motion",
                "both": "synthetic motion, then CK+",
            }.items()
            for join, what in {
                "random": "MobileNetV2 blocks alone; transformer blocks random",
                "gate": "MobileNetV2 blocks alone; transformer blocks by gate",
                "all": "whole; all of it",
            }.items()
        },
    },
    "megc2019": {
        "none": "nothing",
        "faces+gate": "macro faces: MobileNetV2 blocks alone; transformer blocks by gate",
        "motion+all": "synthetic motion (weights of the package): all of it",
    },
}

#: Part -> pairs of ways: the first minus the second.
PAIRS = {
    "synthetic": (
        *((way, "none") for way in WAYS["synthetic"] if way != "none"),
        ("mobilenetv2+random", "whole+random"),
        ("mobilenetv2+gate", "mobilenetv2+random"),
        ("mobilenetv2+residual", "mobilenetv2+random"),
        ("mobilenetv2+gate", "mobilenetv2+residual"),
        ("mobilenetv2+gate", "whole+all"),
        ("mobilenetv2+gate", "untrained+gate"),
    ),
    "real": (
        *((way, "none") for way in WAYS["real"] if way != "none"),
        ("ck+gate", "ck+random"),
        ("motion+gate", "motion+random"),
        *((f"{source}+gate", f"{source}+all") for source in ("ck", "motion", "both")),
        *((f"motion+{join}", f"ck+{join}") for join in ("gate", "all")),
        *((f"both+{join}", f"motion+{join}") for join in ("gate", "all")),
    ),
    "megc2019": (("faces+gate", "none"), ("motion+all", "none"), ("motion+all", "faces+gate")),
}


def read(root: Path, way: str) -> dict[str, pd.DataFrame]:
    """Read the predictions of a way: seed -> table in the order of the sample ids."""
    tables = {}
    for path in sorted(root.glob(f"seed*/{way}/predictions.parquet")):
        table = pd.read_parquet(path)
        if (beside := path.with_name("baseline.parquet")).exists():
            columns = ["sample_id", "baseline"]
            table = table.merge(pd.read_parquet(beside)[columns], on="sample_id")
        tables[path.parent.parent.name] = table.sort_values("sample_id")
    return tables


def numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """Class numbers of a column. Shape: (N,)."""
    return table[column].map({name: i for i, name in enumerate(CLASSES)}).to_numpy()


def scores(table: pd.DataFrame, head: str) -> dict[str, float]:
    """Pooled scores and their 95 % intervals over persons."""
    judged = (numbers(table, "label"), numbers(table, head), table["person"].tolist())
    row = {}
    bounds = metrics.bootstrap_intervals(*judged, len(CLASSES))
    for name, value in metrics.scores(*judged[:2], len(CLASSES)).items():
        low, high = bounds[name]
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return row


def difference(one: pd.DataFrame, other: pd.DataFrame, head: str) -> dict[str, float]:
    """UF1 of one way minus that of another, with interval and p of a paired test over persons."""
    predicted = (numbers(one, head), numbers(other, head))
    persons = one["person"].tolist()
    found = paired.compare(numbers(one, "label"), *predicted[::-1], persons, len(CLASSES))
    low, high = found.interval["uf1"]
    return {"uf1": found.difference["uf1"], "low": low, "high": high, "p": found.p["uf1"]}


def main(part: str, root: Path) -> None:
    """Score, compare, write, print."""
    prefix = "" if part == "synthetic" else f"{part}-"
    tables = {way: seeds for way in WAYS[part] if (seeds := read(root, way))}
    together = {way: pd.concat(seeds.values()) for way, seeds in tables.items()}
    results, differences = [], []
    for head in (*HEADS, *OTHERS):
        for way, seeds in tables.items():
            for seed, table in {**seeds, f"{len(seeds)} seeds": together[way]}.items():
                if head in table and table[head].notna().all():
                    results.append({"way": way, "head": head, "seed": seed} | scores(table, head))
    for head in HEADS:
        for one, other in PAIRS[part]:
            seeds = sorted(tables.get(one, {}).keys() & tables.get(other, {}).keys())
            for chosen in dict.fromkeys([*((seed,) for seed in seeds), tuple(seeds)]):
                if not chosen:
                    continue
                both = [pd.concat(tables[way][seed] for seed in chosen) for way in (one, other)]
                key = {"way": one, "minus": other, "head": head, "seeds": "+".join(chosen)}
                differences.append(key | difference(*both, head))
    frame = pd.DataFrame(results).round(4)
    frame.to_csv(HERE / f"{prefix}results.csv", index=False)
    pd.DataFrame(differences).round(4).to_csv(HERE / f"{prefix}differences.csv", index=False)
    print(pd.DataFrame(differences).round(3).to_string(index=False))
    of_all = frame[frame["seed"].str.endswith("seeds") & frame["head"].isin(HEADS)]
    for way, rows in of_all.groupby("way", sort=False):
        cells = [f"{r.uf1:.3f} [{r.uf1_low:.2f}, {r.uf1_high:.2f}]" for r in rows.itertuples()]
        print(
            f"| {' | '.join([WAYS[part][way], *cells])} |".replace(" 0.", " .").replace("[0.", "[.")
        )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
