"""SVMs for few training persons: pixels of the motion against embeddings of the package's weights.

    python few_persons.py [KEY=VALUE ...]      such as data.root=FOLDER

Persons are drawn from the 68 until each class is among their clips; all others are tested. Draws
count together as one run with as many predictions per sample, so intervals and tests draw persons.
Writes few_persons.csv and zero_shot.csv.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mer import SVMHead, metrics
from mer.compare import paired
from mer.config.composition import compose, typed
from mer.data import sources
from mer.data.dataset import UnifiedDataset
from mer.models.backbones import evaluation_mode
from mer.models.checkpoints import load_module
from mer.models.motion_module import MotionPretrainModule
from mer.models.ready_weights import READY, checkpoint
from mer.training import zero_shot

HERE = Path(__file__).parent
PERSONS = (6, 12, 20, 40)
DRAWS = 40
PIXELS = "pixels"


def embeddings(dataset: UnifiedDataset, name: str) -> np.ndarray:
    """Embeddings of all samples by weights of the package. Shape: (N, E)."""
    module = load_module(MotionPretrainModule, checkpoint(f"mer:{name}"))
    images = torch.from_numpy(dataset.images(np.arange(len(dataset)))).permute(0, 3, 1, 2)
    with evaluation_mode(module):
        return torch.cat([module.embed(part) for part in images.split(64)]).double().numpy()


def scores(label: np.ndarray, predicted: np.ndarray, persons: list[str]) -> dict[str, float]:
    """Pooled scores with their 95 % intervals over persons."""
    row = {}
    bounds = metrics.bootstrap_intervals(label, predicted, persons, 3)
    for name, value in metrics.scores(label, predicted, 3).items():
        low, high = bounds[name]
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return row


def draw(
    source: np.random.Generator, persons: np.ndarray, labels: np.ndarray, count: int
) -> np.ndarray:
    """Draw training persons; return which samples are theirs. Shape: (N,), bool."""
    while True:
        chosen = source.choice(np.unique(persons), count, replace=False)
        ours = np.isin(persons, chosen)
        if len(np.unique(labels[ours])) == 3:
            return ours


def main(words: list[str]) -> None:
    """Embed once, then fit and test SVMs."""
    common = ["experiment=ready_weights", "data=htnet_flow", "run.dir=unused", *words]
    settings = typed(compose(common))
    corpus = sources.load(settings, "micro")
    dataset = sources.dataset(settings, corpus)
    small = sources.dataset(typed(compose([*common, "input.size=28"])), corpus)
    labels, persons = dataset.labels, dataset.table["person"].to_numpy().astype(str)
    pixels = small.images(np.arange(len(small))).reshape(len(small), -1).astype(np.float64)
    features = {PIXELS: pixels} | {name: embeddings(dataset, name) for name in READY}

    rows = []
    for name in READY:
        said = zero_shot.scores(settings, checkpoint(f"mer:{name}"), dataset)
        rows.append({"weights": name} | scores(labels, said.argmax(1), persons.tolist()))
    pd.DataFrame(rows).round(4).to_csv(HERE / "zero_shot.csv", index=False)
    print(pd.DataFrame(rows).round(3).to_string(index=False))

    rows = []
    for count in PERSONS:
        source = np.random.default_rng(count)
        tested: list[np.ndarray] = []
        said = {name: [] for name in features}
        for _ in range(DRAWS):
            ours = draw(source, persons, labels, count)
            tested.append(np.flatnonzero(~ours))
            for name, values in features.items():
                head = SVMHead()
                head.fit(values[ours], labels[ours], 3)
                said[name].append(head.scores(values[~ours]).argmax(1))
        at = np.concatenate(tested)
        who = persons[at].tolist()
        for name in features:
            predicted = np.concatenate(said[name])
            row = {"training_persons": count, "draws": DRAWS, "features": name}
            row |= scores(labels[at], predicted, who)
            if name != PIXELS:
                found = paired.compare(labels[at], np.concatenate(said[PIXELS]), predicted, who, 3)
                low, high = found.interval["uf1"]
                row |= {"minus_pixels": found.difference["uf1"], "low": low, "high": high}
                row |= {"p": found.p["uf1"]}
            rows.append(row)
            print(row, flush=True)
    pd.DataFrame(rows).round(4).to_csv(HERE / "few_persons.csv", index=False)


if __name__ == "__main__":
    main(sys.argv[1:])
