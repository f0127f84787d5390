"""What a report computes beyond the scores: per person, calibration, neighbours."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

#: Neighbours of a sample that are looked at.
NEIGHBOURS = 10


def per_person(predictions: pd.DataFrame, heads: Sequence[str]) -> pd.DataFrame:
    """Accuracy of each tested person; a person has too few samples and classes for more.

    Args:
        predictions: `dataset`, `person` and, of each head, `<head>_correct`.
        heads: The first one sorts.

    Returns:
        `dataset`, `person`, `samples` and each head's accuracy under the head's name; by dataset,
        the best first, of equals the one with more samples.
    """
    columns = {head: (f"{head}_correct", "mean") for head in heads}
    groups = predictions.groupby(["dataset", "person"], as_index=False)
    table = groups.agg(samples=("person", "size"), **columns)
    order = ["dataset", heads[0], "samples", "person"]
    return table.sort_values(order, ascending=[True, False, False, True], ignore_index=True)


def reliability(
    confidence: ArrayLike, correct: ArrayLike, bins: int = 10
) -> tuple[pd.DataFrame, float]:
    """Confidence against accuracy, and the expected calibration error (ECE).

    ECE is the mean over samples of |accuracy - mean confidence| of the sample's bin (Guo et al.,
    ICML 2017), with bins of equal width. A value on an edge belongs to the bin below.

    Args:
        confidence: Largest probability of each sample, in [0, 1]. Shape: (N,).
        correct: Whether its class is the true one. Shape: (N,).
        bins: Number of bins.

    Returns:
        A row per bin that has samples: `low`, `high`, `samples`, `confidence`, `accuracy`; and ECE.
    """
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, float)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    rows = [
        {
            "low": edges[i],
            "high": edges[i + 1],
            "samples": int((place == i).sum()),
            "confidence": confidence[place == i].mean(),
            "accuracy": correct[place == i].mean(),
        }
        for i in np.unique(place)
    ]
    table = pd.DataFrame(rows)
    gaps = (table["accuracy"] - table["confidence"]).abs()
    return table, float((gaps * table["samples"]).sum() / len(confidence))


class Share(NamedTuple):
    """How many of the nearest neighbours share something with a sample, as means over samples.

    `chance` is what neighbours drawn at random would give, `most` what is possible at all: nobody
    has more neighbours of the own kind than there are samples of that kind.
    """

    found: float
    chance: float
    most: float

    @property
    def pull(self) -> float:
        """0 at chance, 1 where as many neighbours as possible are of the own kind."""
        room = self.most - self.chance
        return (self.found - self.chance) / room if room > 0 else 0.0


def neighbours(
    embeddings: NDArray[np.floating], queries: NDArray[np.int64], others: NDArray[np.bool_], k: int
) -> NDArray[np.int64]:
    """The k nearest of some samples, by cosine to the mean of all, the nearest first.

    Args:
        embeddings: Of one network. Shape: (N, E).
        queries: Positions of the samples that are asked about. Shape: (Q,).
        others: Whom each of them may have as a neighbour. Shape: (Q, N).
        k: How many; fewer where a sample has fewer others.

    Returns:
        Positions. Shape: (Q, k).
    """
    centred = embeddings - embeddings.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    likeness = np.where(others, unit[queries] @ unit.T, -np.inf)
    order = np.argsort(-likeness, axis=1, kind="stable")
    return order[:, : min(k, int(others.sum(axis=1).min()))]


def share(
    kinds: Sequence[str],
    queries: NDArray[np.int64],
    others: NDArray[np.bool_],
    near: NDArray[np.int64],
) -> Share:
    """Measure how many neighbours are of a sample's own kind; see `Share`.

    Args:
        kinds: Class, dataset or person of every sample. Length N.
        queries: Positions of the samples. Shape: (Q,).
        others: Whom each of them may have as a neighbour. Shape: (Q, N).
        near: Whom it has. Shape: (Q, k).
    """
    values = np.asarray(kinds, dtype=object)
    own = values[queries][:, None]
    same = ((values[None] == own) & others).sum(axis=1)
    return Share(
        found=float((values[near] == own).mean()),
        chance=float((same / others.sum(axis=1)).mean()),
        most=float((np.minimum(same, near.shape[1]) / near.shape[1]).mean()),
    )


def mean_share(shares: Sequence[Share], weights: Sequence[int]) -> Share:
    """Average over folds, each counting with its number of samples."""
    return Share(*(float(value) for value in np.average(shares, axis=0, weights=weights)))


def reasons(dropped: pd.DataFrame) -> list[dict[str, Any]]:
    """Count what was dropped or mended by reason; what belongs to one sample alone is left out.

    Args:
        dropped: Columns item, action, reason.

    Returns:
        `action`, `reason`, `count`, dropped ones first, then the frequent ones.
    """
    general = dropped["reason"].map(_general)
    counts = pd.DataFrame({"action": dropped["action"], "reason": general}).value_counts()
    rows = [
        {"action": action, "reason": reason, "count": int(count)}
        for (action, reason), count in counts.items()
    ]
    return sorted(rows, key=lambda row: (row["action"] != "dropped", -row["count"], row["reason"]))


def _general(reason: str) -> str:
    """A reason without its numbers and without what it cites, unless that is plain words."""
    reason = re.sub(r"`[^`]*[^`A-Za-z_ -][^`]*`", "…", reason)
    return re.sub(r"(?<!\w)\d+(\.\d+)?(?!\w)", "…", reason)
