"""Parity: a file has to say of real samples what its model says."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mer import metrics
from mer.deploy.fold_graphs import TOLERANCE
from mer.deploy.scores import Scores
from mer.errors import MerError

#: What a smaller file may change: share of the labels, and UF1, of any head.
MOST_LABELS, MOST_UF1 = 0.02, 0.01


class Change(NamedTuple):
    """What a file changes of the predictions of a head.

    Attributes:
        head: Name of the head.
        samples: Number of samples that were compared.
        labels: Number of them whose label changes.
        largest: Largest difference of a score.
        before: UF1 of the model on these samples.
        after: UF1 of the file.
    """

    head: str
    samples: int
    labels: int
    largest: float
    before: float
    after: float

    @property
    def too_much(self) -> bool:
        """Whether the file is another model."""
        lost = round(self.before - self.after, 9)
        return self.labels / self.samples > MOST_LABELS or lost > MOST_UF1

    def __str__(self) -> str:
        """Say it in words."""
        return (
            f"{self.head}: {self.labels} of {self.samples} labels change, UF1 {self.before:.3f} "
            f"becomes {self.after:.3f}, scores differ by up to {self.largest:.2g}"
        )


def changes(
    expected: Scores, found: Scores, labels: NDArray[np.int64], n_classes: int
) -> list[Change]:
    """Compare what a file says with what its model says, head by head."""
    return [
        Change(
            head,
            len(labels),
            int((expected.classes[head] != found.classes[head]).sum()),
            _largest(values, found.scores[head]),
            *(
                float(metrics.scores(labels, one.classes[head], n_classes)["uf1"])
                for one in (expected, found)
            ),
        )
        for head, values in expected.scores.items()
    ]


def _largest(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Largest difference; equal infinities count 0."""
    both = np.isfinite(one) | np.isfinite(other)
    return float(np.abs(one[both] - other[both]).max()) if both.any() else 0.0


def require_equal(expected: Scores, found: Scores, path: Path) -> None:
    """Refuse a file that is not its model."""
    pairs = [(values, found.scores[head]) for head, values in expected.scores.items()]
    if expected.units is not None and found.units is not None:
        pairs.append((expected.units, found.units))
    largest = max(_largest(*pair) for pair in pairs)
    classes = expected.classes.items()
    labels = sum(int((numbers != found.classes[head]).sum()) for head, numbers in classes)
    if largest > TOLERANCE or labels:
        raise MerError(
            f"{path.name.lstrip('.')} would not be the model: scores differ by up to {largest:.2g} "
            f"(allowed: {TOLERANCE:g}) and {labels} labels differ. Try the other --format."
        )


def require_close(found: list[Change], precision: str) -> None:
    """Refuse a smaller file that changes too much."""
    if any(change.too_much for change in found):
        raise MerError(
            f"{precision} changes too much (allowed: {100 * MOST_LABELS:.0f} % of the labels, "
            f"{MOST_UF1:.2f} UF1): {'; '.join(map(str, found))}. Take --precision float16 or "
            "float32, or write it all the same: --lossy."
        )
