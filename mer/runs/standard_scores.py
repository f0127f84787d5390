"""Scores of different heads on one scale, from a sample's own scores alone.

A mean of runs needs scores that mean the same in each. No statistics of samples are used for that:
those of training samples are not stored, and those of tested ones would pool over test persons.
What is known without any is the form of the scores:

- Probabilities (softmax, zero-shot) stay as they are.
- An SVM's `decision: margins` are sums of tanh of the pairwise margins. They stay as they are, too.
- An SVM's `decision: votes` are dominated by votes, which say nothing of how sure it is. But the
  score of a class carries the sum s of its margins in its fraction, s / (3 (|s| + 1)), from which s
  is had back. Of k classes the score is then (k - 1) tanh(s / (k - 1)), as that of `margins` where
  all margins of the class are equal.

Then the mean over the classes is taken out, which no decision depends on, and the rest is divided
by the spread over the classes that a sample has of which the head is entirely sure. So a sure
sample has mean 0 and standard deviation 1 in every member, and an unsure one less. Dividing by the
sample's own spread instead would let a member that hesitates count as much as one that is sure; it
is done only for heads of other classes, of whose scores nothing is known.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mer.config import stored
from mer.runs.head_columns import BASELINE, SOFTMAX, ZERO_SHOT
from mer.runs.rundir import fold_folder

Form = Literal["probabilities", "margins", "votes", "other"]

#: Farthest that the fraction of a vote count may lie from 0: margins that add up to 999.
_MOST_FRACTION = 0.333


def callbacks_of(
    run_dir: Path, config: Mapping[str, Any], folds: Iterable[str]
) -> dict[str, Mapping[str, Any]]:
    """Fold -> the node `callbacks` of its configuration, which a fold may have chosen itself."""
    own = {fold: fold_folder(run_dir, fold) / "config.yaml" for fold in folds}
    return {
        fold: (stored.read(path) if path.is_file() else config).get("callbacks") or {}
        for fold, path in own.items()
    }


def form_of(head: str, callbacks: Mapping[str, Any]) -> Form:
    """Find out which form the scores of a head have."""
    if head in (SOFTMAX, ZERO_SHOT):
        return "probabilities"
    if head == BASELINE:
        return "votes"
    node = node_of(head, callbacks)
    if node and _is_svm(node):
        return "margins" if node.get("decision") == "margins" else "votes"
    return "other"


def node_of(head: str, callbacks: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find the node of `callbacks` that makes a head.

    A node without `name` makes `svm` if it is an SVM; of other classes its key is taken.
    """
    for key, node in callbacks.items():
        if node and node.get("name", "svm" if _is_svm(node) else key) == head:
            return dict(node)
    return None


def _is_svm(node: Mapping[str, Any]) -> bool:
    return str(node.get("_target_")).endswith(".SVMHead")


def standardise(scores: NDArray[np.float64], form: Form) -> NDArray[np.float64]:
    """Put scores on the common scale; see the module.

    Args:
        scores: Scores of the K classes; minus infinity for a class without a training sample.
            Shape: (N, K).
        form: Form of the scores.

    Returns:
        Mean 0 over the classes, standard deviation 1 or less. Shape: (N, K).

    >>> standardise(np.array([[1.0, 0.0, 0.0]]), "probabilities").round(3).tolist()
    [[1.414, -0.707, -0.707]]
    """
    classes = scores.shape[1]
    if form == "votes":
        scores = sums_of_margins(scores)
    if form == "other":
        lowest = np.where(np.isfinite(scores), scores, np.inf).min(axis=1, keepdims=True)
        scores = np.where(np.isfinite(scores), scores, lowest)
        centred = scores - scores.mean(axis=1, keepdims=True)
        spread = centred.std(axis=1, keepdims=True)
        return np.asarray(centred / np.where(spread > 0, spread, 1))
    scores = np.where(np.isfinite(scores), scores, 1.0 - classes)
    centred = scores - scores.mean(axis=1, keepdims=True)
    # The spread of 1, 0, 0, ... or of k - 1, k - 3, ..., 1 - k.
    sure = (classes - 1) ** 0.5 / classes, ((classes**2 - 1) / 3) ** 0.5
    return np.asarray(centred / sure[form != "probabilities"])


def sums_of_margins(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of margins out of vote counts, squashed to at most the number of other classes."""
    present = np.isfinite(scores)
    scores = np.where(present, scores, 0.0)
    others = np.maximum(present.sum(axis=1, keepdims=True) - 1, 1)
    fraction = 3 * np.clip(scores - np.round(scores), -_MOST_FRACTION, _MOST_FRACTION)
    # Two classes have no votes: their scores are the margin with either sign.
    sums = np.where(others == 1, scores, fraction / (1 - np.abs(fraction)))
    return np.asarray(np.where(present, others * np.tanh(sums / others), -np.inf))
