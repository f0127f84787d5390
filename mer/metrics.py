"""Scores from pooled predictions, with subject-bootstrap intervals and what guessing gives.

Every score is computed from one confusion matrix over all folds. Averages of per-fold scores are a
different number (one published log gives .42 to .74 depending on the averaging) and are offered as
diagnostics alone, under names of their own.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer.errors import MerError

#: What tables show, the first one decides.
SCORES = ("uf1", "uar", "accuracy")

#: What a network costs, as a sweep may weigh it against a score.
COSTS = ("parameters", "latency_ms")

#: Fewer cores than this in use by other processes do not disturb the measurement of a cost.
QUIET = 0.15


def confusion(
    y_true: ArrayLike, y_pred: ArrayLike, n_classes: int, weights: ArrayLike | None = None
) -> NDArray[Any]:
    """Count samples per (true, predicted) pair.

    Args:
        y_true: Class numbers 0 to `n_classes` - 1. Shape: (N,).
        y_pred: Class numbers 0 to `n_classes` - 1. Shape: (N,).
        n_classes: K.
        weights: Weight of each prediction; None for 1. Shape: (N,).

    Returns:
        Counts, rows true, columns predicted. Shape: (K, K), int64, or float64 with weights.

    Raises:
        MerError: If the lengths differ or a class number is out of range.
    """
    true, pred = np.asarray(y_true, dtype=np.int64), np.asarray(y_pred, dtype=np.int64)
    if true.shape != pred.shape or true.ndim != 1:
        raise MerError(
            f"Scores need one prediction per label; found {pred.shape} and {true.shape}."
        )
    for name, values in (("label", true), ("prediction", pred)):
        if values.size and not (0 <= values.min() and values.max() < n_classes):
            raise MerError(
                f"A {name} lies outside the classes 0 to {n_classes - 1}: "
                f"found {values.min()} to {values.max()}."
            )
    pairs = true * n_classes + pred
    given = None if weights is None else np.asarray(weights, dtype=np.float64)
    counts: NDArray[Any] = np.bincount(pairs, given, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes)


def confusion_by(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    groups: Sequence[str],
    n_classes: int,
    weights: ArrayLike | None = None,
) -> NDArray[Any]:
    """Count samples per (true, predicted) pair, apart for each group: whose each sample is.

    Returns:
        Counts, groups in the order of their sorted names; see `confusion`. Shape: (G, K, K).
    """
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    names, owner = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if owner.shape != true.shape:
        raise MerError(f"Each of {true.size} samples needs its group; found {owner.size} groups.")
    matrices = []
    for rows in (owner == number for number in range(len(names))):
        part = None if weights is None else np.asarray(weights)[rows]
        matrices.append(confusion(true[rows], pred[rows], n_classes, part))
    return np.stack(matrices) if matrices else np.zeros((0, n_classes, n_classes), dtype=np.int64)


def once_each(sample_ids: Sequence[str]) -> NDArray[np.float64]:
    """Weights by which every sample counts once, however many folds predict it.

    Examples:
        >>> once_each(["a", "b", "a", "a", "c"]).round(2).tolist()
        [0.33, 1.0, 0.33, 0.33, 1.0]
    """
    _, owner, times = np.unique(
        np.asarray(sample_ids, dtype=str), return_inverse=True, return_counts=True
    )
    weights: NDArray[np.float64] = 1 / times[owner]
    return weights


def scores_from_confusion(matrix: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Compute UF1, UAR and accuracy of one or many confusion matrices.

    UF1 is the mean over classes of 2 TP / (2 TP + FP + FN), UAR the mean recall (See et al., MEGC
    2019). A class without a true sample has no recall; it is left out of both means.

    Args:
        matrix: Counts, rows true, columns predicted. Shape: (..., K, K).

    Returns:
        `uf1`, `uar`, `accuracy`, each of shape (...), NaN where the matrix is empty.
    """
    hits, true, predicted = _margins(matrix)
    present = true > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(present, 2 * hits / (true + predicted), 0.0)
        recall = np.where(present, hits / true, 0.0)
        n_present = present.sum(-1)
        return {
            "uf1": f1.sum(-1) / n_present,
            "uar": recall.sum(-1) / n_present,
            "accuracy": hits.sum(-1) / true.sum(-1),
        }


def more_scores_from_confusion(matrix: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Compute weighted F1 and Cohen's kappa of one or many confusion matrices.

    Weighted F1 is the mean of the classes' F1 weighted by their true samples. Kappa is
    (accuracy - expected) / (1 - expected), where `expected` is the accuracy of independent labels
    and predictions with the same counts; it is undefined where both know one and the same class.

    Returns:
        `weighted_f1` and `kappa`, each of shape (...), NaN where undefined.
    """
    hits, true, predicted = _margins(matrix)
    total = true.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(true > 0, 2 * hits / (true + predicted), 0.0)
        accuracy = hits.sum(-1) / total
        expected = (true * predicted).sum(-1) / total**2
        return {
            "weighted_f1": (true * f1).sum(-1) / total,
            "kappa": np.where(expected < 1, (accuracy - expected) / (1 - expected), np.nan),
        }


def per_class_from_confusion(matrix: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Compute precision, recall and F1 of each class of one or many confusion matrices.

    A class without a true sample has none of the three: NaN. A class that was never predicted has
    recall and F1 0 and no precision: NaN.

    Returns:
        `precision`, `recall`, `f1`, each of shape (..., K).
    """
    hits, true, predicted = _margins(matrix)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {
            "precision": hits / predicted,
            "recall": hits / true,
            "f1": 2 * hits / (true + predicted),
        }
    return {name: np.where(true > 0, value, np.nan) for name, value in values.items()}


def _margins(matrix: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Hits, true and predicted samples of each class. Shape of each: (..., K)."""
    matrix = np.asarray(matrix, dtype=np.float64)
    return np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-1), matrix.sum(-2)


def scores(
    y_true: ArrayLike, y_pred: ArrayLike, n_classes: int, weights: ArrayLike | None = None
) -> dict[str, float]:
    """Compute UF1, UAR and accuracy of one set of predictions.

    Returns:
        `uf1`, `uar` and `accuracy` in [0, 1].

    Examples:
        >>> {name: round(value, 3) for name, value in scores([0, 0, 1, 1], [0, 1, 1, 1], 2).items()}
        {'uf1': 0.733, 'uar': 0.75, 'accuracy': 0.75}
    """
    matrix = confusion(y_true, y_pred, n_classes, weights)
    return {name: float(value) for name, value in scores_from_confusion(matrix).items()}


def more_scores(
    y_true: ArrayLike, y_pred: ArrayLike, n_classes: int, weights: ArrayLike | None = None
) -> dict[str, float | None]:
    """Compute `weighted_f1` and `kappa` of one set of predictions; None where undefined."""
    matrix = confusion(y_true, y_pred, n_classes, weights)
    return {
        name: _defined(float(value)) for name, value in more_scores_from_confusion(matrix).items()
    }


def per_class(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    classes: Sequence[str],
    weights: ArrayLike | None = None,
) -> dict[str, dict[str, float | None]]:
    """Class name -> `samples` (true ones), `precision`, `recall`, `f1`; None where undefined.

    See `per_class_from_confusion` for what is undefined.
    """
    matrix = confusion(y_true, y_pred, len(classes), weights)
    values = per_class_from_confusion(matrix)
    return {
        name: {"samples": round(float(matrix[place].sum()))}
        | {key: _defined(column[place]) for key, column in values.items()}
        for place, name in enumerate(classes)
    }


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)  # JSON knows no NaN


def bootstrap_intervals(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    persons: Sequence[str],
    n_classes: int,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of the pooled scores when persons, not samples, are drawn again.

    Samples of one person are not independent, so the person is the unit (cluster bootstrap, Field
    and Welsh 2007). A draw in which a class has no sample left scores over the classes it has.

    Args:
        y_true: Class numbers. Shape: (N,).
        y_pred: Class numbers. Shape: (N,).
        persons: Person of each sample. Length N.
        n_classes: K.
        draws: Number of bootstrap draws.
        level: Coverage in (0, 1).
        seed: Seed of the draws.
        weights: Weight of each prediction; None for 1. Shape: (N,).

    Returns:
        (low, high) per score name.
    """
    per_person = confusion_by(y_true, y_pred, persons, n_classes, weights)
    times_drawn = draw_persons(len(per_person), draws, seed)
    drawn = scores_from_confusion(np.tensordot(times_drawn, per_person, axes=1))
    tails = [(1 - level) / 2, (1 + level) / 2]
    return {
        name: (float(low), float(high))
        for name in SCORES
        for low, high in [np.nanquantile(drawn[name], tails)]
    }


def draw_persons(persons: int, draws: int, seed: int) -> NDArray[np.int64]:
    """Draw as many persons as there are, with replacement.

    Returns:
        How often each person was drawn. Shape: (draws, persons).

    Raises:
        MerError: If there is no person.
    """
    if persons == 0:
        raise MerError("There is no prediction to draw from.")
    rng = np.random.default_rng(seed)
    return rng.multinomial(persons, np.full(persons, 1 / persons), size=draws)


def chance(counts: Sequence[int], n_classes: int) -> dict[str, dict[str, float]]:
    """Expected scores of predictions that know nothing, exactly.

    With p predictions of a class of T among N samples, p T / N of them are right on average,
    whatever p is. So F1 is 2 p T / (N (T + p)) on average, to be summed over the binomial
    distribution of p; kappa is 0. Classes without a true sample are left out of the means.

    Args:
        counts: True samples of each class. Length K.
        n_classes: K.

    Returns:
        `uniform` (each class as often) and `prior` (each class as often as it is true), each with
        `uf1`, `uar`, `accuracy`, `weighted_f1` and `kappa`.

    Raises:
        MerError: If there are not K counts, one is negative, or all are 0.
    """
    true = np.asarray(counts, dtype=np.float64)
    if true.shape != (n_classes,) or true.min() < 0 or true.sum() == 0:
        raise MerError(f"Chance needs the samples of each of {n_classes} classes; found {counts}.")
    total, present = int(true.sum()), true > 0
    found = {}
    for name, odds in (("uniform", np.full(n_classes, 1 / n_classes)), ("prior", true / total)):
        f1 = np.array([_guessed_f1(t, p, total) for t, p in zip(true, odds, strict=True)])
        found[name] = {
            "uf1": float(f1[present].mean()),
            "uar": float(odds[present].mean()),
            "accuracy": float((odds * true).sum() / total),
            "weighted_f1": float((f1 * true).sum() / total),
            "kappa": 0.0,
        }
    return found


def _guessed_f1(true: float, odds: float, total: int) -> float:
    """Mean F1 of a class of so many true samples that each sample is given with these odds."""
    if true == 0 or odds in (0, 1):
        return 2 * true * odds / (true + total)
    times = np.arange(total + 1)
    factorial = np.array([math.lgamma(n + 1) for n in times])
    ways = factorial[-1] - factorial - factorial[::-1]
    likelihood = np.exp(ways + times * np.log(odds) + times[::-1] * np.log1p(-odds))
    return float((likelihood * 2 * times * true / (total * (true + times))).sum())


def fold_diagnostics(
    y_true: ArrayLike, y_pred: ArrayLike, folds: Sequence[str], n_classes: int
) -> dict[str, float]:
    """Averages of per-fold scores, to show how far they are from the pooled ones: no results.

    Few folds have all classes, so an average depends on what an absent class counts as.

    Returns:
        Means over folds: `fold_f1_diagnostic` (over classes true or predicted in the fold),
        `fold_f1_absent_0_diagnostic` and `fold_f1_absent_1_diagnostic` (over all K; the others
        count 0 or 1), `fold_uar_diagnostic` (over classes true in the fold),
        `fold_uar_absent_0_diagnostic` (over all K) and `fold_accuracy_diagnostic`.
    """
    matrices = confusion_by(y_true, y_pred, folds, n_classes)
    hits, true, predicted = _margins(matrices)
    seen = true + predicted > 0
    with np.errstate(invalid="ignore"):
        f1 = np.where(seen, 2 * hits / (true + predicted), np.nan)
        recall = np.where(true > 0, hits / true, np.nan)
    values = {
        "f1": np.nanmean(f1, axis=1),
        "f1_absent_0": np.nan_to_num(f1, nan=0.0).mean(axis=1),
        "f1_absent_1": np.nan_to_num(f1, nan=1.0).mean(axis=1),
        "uar": np.nanmean(recall, axis=1),
        "uar_absent_0": np.nan_to_num(recall, nan=0.0).mean(axis=1),
        "accuracy": hits.sum(-1) / true.sum(-1),
    }
    return {f"fold_{name}_diagnostic": float(value.mean()) for name, value in values.items()}
