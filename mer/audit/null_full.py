"""The complete training of a run on labels that mean nothing, in a folder that is thrown away."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from mer.audit.null_meter import Null, Samples, band

#: Epochs of each fold unless told otherwise.
EPOCHS = 3


def train_on_nothing(
    cfg: DictConfig, samples: Samples, repeats: int, epochs: int = EPOCHS
) -> list[Null]:
    """Train with permuted labels, all folds, and score every head.

    Args:
        cfg: Configuration of the run.
        samples: Its samples, for the band.
        repeats: Trainings, each with another permutation.
        epochs: Epochs of each fold.

    Returns:
        One null per head.

    Raises:
        MerError: If the data are missing.
    """
    from mer.training import runner

    changed: DictConfig = OmegaConf.merge(
        OmegaConf.create(OmegaConf.to_container(cfg, resolve=True)),
        {"reuse_networks": False, "logger": None, "protocol": {"folds": None}},
        {"model": {"epochs": epochs}, "trainer": {"devices": 1}, "trial": {"number": None}},
    )
    scores: dict[str, list[float]] = {}
    for seed in range(repeats):
        with tempfile.TemporaryDirectory() as folder, permuted_labels(seed):
            result = runner.run(changed, Path(folder, "run"))
        for head in ("svm", "softmax"):
            if head in result["heads"]:
                scores.setdefault(head, []).append(result["heads"][head]["pooled"]["uf1"])
    low, high = band(samples.table, samples.classes, repeats, by_person=False)
    return [
        Null(f"full-{head}", f"whole training, permuted labels: {head}", values, low, high)
        for head, values in scores.items()
    ]


@contextlib.contextmanager
def permuted_labels(seed: int) -> Iterator[None]:
    """Deal out the labels of the micro samples anew wherever this process loads them."""
    from mer.data import sources

    load = sources.load

    def permuted(cfg: DictConfig, role: str, *rest: Any) -> sources.Corpus:
        corpus = load(cfg, role, *rest)
        if role != "micro":
            return corpus
        labels = np.random.default_rng(seed).permutation(corpus.table["label"].to_numpy())
        return corpus._replace(table=corpus.table.assign(label=labels))

    sources.load = permuted
    try:
        yield
    finally:
        sources.load = load
