"""Two sets of predictions of the same samples: is one better than the other?

Samples of one person are not independent, so the person is the unit of the permutation test and of
the interval. Those are the ones to trust; McNemar's test, which counts samples, is there because it
is asked for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer.errors import MerError
from mer.metrics import SCORES, confusion_by, draw_persons, scores_from_confusion

#: Differences of equal counts can differ by rounding, depending on the order of the sums.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Paired:
    """B against A.

    Args:
        difference: Score of B minus that of A, pooled; keys are `SCORES`.
        interval: Its 95 % interval when persons are drawn again, the same ones for both.
        p: p-value of the permutation over persons, two-sided, per score.
        p_mcnemar: p-value of McNemar's exact test on accuracy, over samples.
        arrangements: Number of arrangements of the persons that `p` rests on.
        exact: Whether these are all there are.
    """

    difference: dict[str, float]
    interval: dict[str, tuple[float, float]]
    p: dict[str, float]
    p_mcnemar: float
    arrangements: int
    exact: bool


def compare(
    y_true: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    persons: Sequence[str],
    n_classes: int,
    draws: int = 10_000,
    seed: int = 0,
) -> Paired:
    """Test whether B is better or worse than A.

    Args:
        y_true: Class numbers. Shape: (N,).
        a: Class numbers that A predicts. Shape: (N,).
        b: Class numbers that B predicts. Shape: (N,).
        persons: Person of each sample. Length N.
        n_classes: K.
        draws: Number of permutations and of bootstrap draws.
        seed: Seed of both.

    Raises:
        MerError: If there is no sample, the lengths differ or a class number is out of range.
    """
    of_a = confusion_by(y_true, a, persons, n_classes)
    of_b = confusion_by(y_true, b, persons, n_classes)
    drawn = draw_persons(len(of_a), draws, seed)  # before all else, since it refuses no sample
    spread = _differences(*(np.tensordot(drawn, counts, axes=1) for counts in (of_a, of_b)))
    p, arrangements, exact = _permute(of_a, of_b, draws, seed)
    return Paired(
        difference={
            name: float(value) for name, value in _differences(of_a.sum(0), of_b.sum(0)).items()
        },
        interval={
            name: (float(low), float(high))
            for name, values in spread.items()
            for low, high in [np.nanquantile(values, [0.025, 0.975])]
        },
        p=p,
        p_mcnemar=mcnemar(y_true, a, b),
        arrangements=arrangements,
        exact=exact,
    )


def _permute(
    of_a: NDArray[np.int64], of_b: NDArray[np.int64], draws: int, seed: int
) -> tuple[dict[str, float], int, bool]:
    """Find p per score, the number of arrangements, and whether these are all.

    If A and B were equally good, each person's predictions of A could as well be those of B. So
    these are swapped, for all samples of a person at once, and p is the share of arrangements whose
    pooled scores differ at least as much as the real ones. With at most `draws` arrangements of the
    persons in whom A and B differ, all are tried. Otherwise so many are drawn, and the real one is
    counted as another: (hits + 1) / (draws + 1).
    """
    change = of_b - of_a
    change = change[change.any(axis=(1, 2))]  # swapping the others changes nothing
    persons = len(change)
    exact = 2**persons <= draws
    if exact:
        swapped = np.arange(2**persons)[:, None] >> np.arange(persons) & 1
    else:
        swapped = np.random.default_rng(seed).integers(0, 2, size=(draws, persons))
    moved = np.tensordot(swapped, change, axes=1)
    found = _differences(of_a.sum(0) + moved, of_b.sum(0) - moved)
    real = _differences(of_a.sum(0), of_b.sum(0))
    added = 0 if exact else 1  # all arrangements hold the real one
    p = {
        name: float(
            ((np.abs(found[name]) >= abs(real[name]) - ROUNDING).sum() + added)
            / (len(swapped) + added)
        )
        for name in SCORES
    }
    return p, len(swapped), exact


def _differences(of_a: NDArray[Any], of_b: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Score of B minus score of A. Shape of both: (..., K, K)."""
    first, second = scores_from_confusion(of_a), scores_from_confusion(of_b)
    return {name: second[name] - first[name] for name in SCORES}


def mcnemar(y_true: ArrayLike, a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p of McNemar's exact test: is the accuracy of A that of B?

    Of the samples that just one of the two has right, each should have half. The test takes samples
    as independent, which those of one person are not: with many samples a person its p tends to be
    too small. Trust the permutation over persons.
    """
    true = np.asarray(y_true)
    right_a, right_b = np.asarray(a) == true, np.asarray(b) == true
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    either = only_a + only_b
    tail = sum(math.comb(either, n) for n in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**either)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p of several tests, so that all statements below a level hold together (Holm).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none gets smaller than one
    before it, and none exceeds 1.

    Raises:
        MerError: If a value is no probability.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise MerError(f"p lies between 0 and 1; found {list(p_values)}.")
    order = np.argsort(values, kind="stable")
    steps = np.minimum(1.0, values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(steps)
    return corrected.tolist()
