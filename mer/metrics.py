"""UF1, UAR and accuracy from pooled predictions, with subject-bootstrap intervals.

Every score is computed from one confusion matrix over all folds. Averages of per-fold scores are a
different number (one published log gives .42 to .74 depending on the averaging) and are not
offered.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer.errors import MerError

SCORES = ("uf1", "uar", "accuracy")


def confusion(y_true: ArrayLike, y_pred: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """Count samples per (true, predicted) pair.

    Args:
        y_true: Class numbers 0 to `n_classes` - 1. Shape: (N,).
        y_pred: Class numbers 0 to `n_classes` - 1. Shape: (N,).
        n_classes: K.

    Returns:
        Counts, rows true, columns predicted. Shape: (K, K), int64.

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
    counts = np.bincount(true * n_classes + pred, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes)


def scores_from_confusion(matrix: NDArray) -> dict[str, NDArray[np.float64]]:
    """Compute UF1, UAR and accuracy of one or many confusion matrices.

    UF1 is the mean over classes of 2 TP / (2 TP + FP + FN), UAR the mean recall (See et al., MEGC
    2019). A class without a true sample has no recall; it is left out of both means.

    Args:
        matrix: Counts, rows true, columns predicted. Shape: (..., K, K).

    Returns:
        `uf1`, `uar`, `accuracy`, each of shape (...), NaN where the matrix is empty.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    true, predicted = matrix.sum(-1), matrix.sum(-2)
    present = true > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(present, 2 * hits / (true + predicted), 0.0)
        recall = np.where(present, hits / true, 0.0)
        n_present = present.sum(-1)
        return {
            "uf1": f1.sum(-1) / n_present,
            "uar": recall.sum(-1) / n_present,
            "accuracy": hits.sum(-1) / matrix.sum((-2, -1)),
        }


def scores(y_true: ArrayLike, y_pred: ArrayLike, n_classes: int) -> dict[str, float]:
    """Compute UF1, UAR and accuracy of one set of predictions.

    Args:
        y_true: Class numbers. Shape: (N,).
        y_pred: Class numbers. Shape: (N,).
        n_classes: K; it is never guessed from the data.

    Returns:
        `uf1`, `uar` and `accuracy` in [0, 1].
    """
    matrix = confusion(y_true, y_pred, n_classes)
    return {name: float(value) for name, value in scores_from_confusion(matrix).items()}


def bootstrap_intervals(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    persons: Sequence[str],
    n_classes: int,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of the pooled scores when persons, not samples, are drawn again.

    Samples of one person are not independent, so the person is the unit (cluster bootstrap, Field
    and Welsh 2007). A draw in which a class has no sample left scores over the classes it has.

    Args:
        y_true: Class numbers. Shape: (N,).
        y_pred: Class numbers. Shape: (N,).
        persons: Who is seen in each sample. Length N.
        n_classes: K.
        draws: Number of bootstrap draws.
        level: Coverage in (0, 1).
        seed: Seed of the draws.

    Returns:
        (low, high) per score name.
    """
    true, pred = np.asarray(y_true, dtype=np.int64), np.asarray(y_pred, dtype=np.int64)
    if true.size == 0:
        raise MerError("There is no prediction to draw from.")
    names, owner = np.unique(np.asarray(persons, dtype=str), return_inverse=True)
    per_person = np.stack(
        [confusion(true[owner == i], pred[owner == i], n_classes) for i in range(len(names))]
    )
    rng = np.random.default_rng(seed)
    times_drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    drawn = scores_from_confusion(np.tensordot(times_drawn, per_person, axes=1))
    tails = [(1 - level) / 2, (1 + level) / 2]
    return {
        name: tuple(float(bound) for bound in np.nanquantile(drawn[name], tails)) for name in SCORES
    }
