"""Scores on permuted labels, compared with what a run without a leak gives.

The labels are permuted among the samples of each person in each dataset.

Expected score. Without a leak, the predictions of a fold depend on the labels of its tested persons
in no way, so every order of a tested person's labels is equally likely, given the predictions. The
expected score is therefore that of the same predictions against fresh permutations. It is not that
of guessing: a person with samples of one class keeps these labels, and a network may learn from
them.

Bound. Random orders give the distribution of the mean over the repetitions, as if folds erred
independently. They do not: two persons train for each other, so what their permuted labels have in
common counts in both folds. Where a prediction is a sum over training samples this doubles the
variance, since each pair of persons stands in two folds; SVMs, nearest neighbours and ridge
regression on 442 samples of 68 persons had 0.9 to 1.5 times the variance of independent folds.
Deviations from the expected score are therefore widened by the square root of 2. The quantile is
the one that some head or score of a run without a leak exceeds in one of 100 runs (Bonferroni).

Sources: Ojala and Garriga, Permutation tests for studying classifier performance, JMLR 11 (2010),
1833-1863; on the variance Noirhomme et al., Biased binomial assessment of cross-validated
estimation of classification accuracies, NeuroImage: Clinical 4 (2014), 687-694.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer import metrics

#: The scores that decide.
SCORES = ("uf1", "uar")

#: How often a run without a leak is called leaking.
FALSE_ALARMS = 0.01

#: By how much training samples that folds share may raise the variance of a score.
VARIANCE_FACTOR = 2.0

#: Random orders of the labels.
DRAWS = 10_000


@dataclass(frozen=True)
class PermutedScore:
    """One score of one head on permuted labels.

    Attributes:
        head: Name of the head.
        name: uf1 or uar.
        values: Pooled score of each repetition.
        mean: Mean of `values`.
        expected: Mean that the same predictions give without a leak.
        bound: What the mean does not exceed without a leak.
    """

    head: str
    name: str
    values: list[float]
    mean: float
    expected: float
    bound: float

    @property
    def leaks(self) -> bool:
        """Whether the mean is above the bound."""
        return self.mean > self.bound + 1e-9


def compare(
    frames: Sequence[pd.DataFrame], columns: Sequence[str], classes: Sequence[str]
) -> list[PermutedScore]:
    """Compare scores on permuted labels with those expected without a leak.

    Returns:
        UF1 and UAR of each column.
    """
    level = 1 - FALSE_ALARMS / (len(SCORES) * len(columns))
    values: dict[tuple[str, str], list[float]] = {}
    draws: dict[tuple[str, str], NDArray[np.float64]] = {}
    for seed, frame in enumerate(frames):
        orders = _orders(frame, classes, np.random.default_rng(seed))
        true = _numbers(frame["label"], classes)
        for column in columns:
            predicted = _numbers(frame[column], classes)
            scores = metrics.scores(true, predicted, len(classes))
            drawn = metrics.scores_from_confusion(_confusions(orders, predicted, len(classes)))
            for name in SCORES:
                key = (column, name)
                values.setdefault(key, []).append(scores[name])
                draws[key] = draws.get(key, np.zeros(DRAWS)) + drawn[name] / len(frames)
    compared = []
    for (column, name), means in draws.items():
        expected = float(means.mean())
        excess = float(np.quantile(means, level, method="higher")) - expected
        bound = expected + float(np.sqrt(VARIANCE_FACTOR)) * excess
        repeated = values[column, name]
        mean = float(np.mean(repeated))
        compared.append(PermutedScore(column, name, repeated, mean, expected, bound))
    return compared


def _orders(
    frame: pd.DataFrame, classes: Sequence[str], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Class numbers, permuted among each person's samples of a dataset. Shape: (DRAWS, N)."""
    orders = np.tile(_numbers(frame["label"], classes), (DRAWS, 1))
    for rows in frame.groupby(["dataset", "person"]).indices.values():
        orders[:, rows] = rng.permuted(orders[:, rows], axis=1)
    return orders


def _confusions(
    orders: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int
) -> NDArray[np.int64]:
    """Confusion matrix of the predictions with each order of the labels. Shape: (DRAWS, K, K)."""
    cells = n_classes * n_classes
    at = orders * n_classes + predicted + cells * np.arange(len(orders))[:, None]
    counts = np.bincount(at.ravel(), minlength=cells * len(orders))
    return counts.reshape(len(orders), n_classes, n_classes)


def _numbers(names: pd.Series, classes: Sequence[str]) -> NDArray[np.int64]:
    return np.array(names.map({name: i for i, name in enumerate(classes)}), np.int64)
