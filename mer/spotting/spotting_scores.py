"""Scores of spotting, as the Micro-Expression Grand Challenges of 2020 to 2025 define them.

A spotted interval is right if it overlaps an annotated one of the same video with an intersection
over union of at least 0.5; all videos are pooled before precision, recall and F1 are computed (Li
et al., MEGC2022, ACM MM 2022; Davison et al., MEGC2023, ACM MM 2023). The spot-then-recognise score
is the product of the F1 of spotting and the F1 of recognition on what was spotted (Liong, See and
Chan, Signal Processing: Image Communication 110, 2023; MEGC2024 and 2025).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

#: Least intersection over union of a spotted interval that counts as right.
LEAST_OVERLAP = 0.5

#: First and last frame of an interval, both inside.
Borders = tuple[int, int]


class Counts(NamedTuple):
    """Right, wrong and missed intervals of some videos."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        """Share of the spotted intervals that are right; 0 where nothing was spotted."""
        return self.right / max(self.right + self.wrong, 1)

    @property
    def recall(self) -> float:
        """Share of the annotated intervals that were spotted; 0 where nothing is annotated."""
        return self.right / max(self.right + self.missed, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN)."""
        return 2 * self.right / max(2 * self.right + self.wrong + self.missed, 1)

    def as_dict(self) -> dict[str, float]:
        """Counts and scores by name."""
        names = ("precision", "recall", "f1")
        return {**self._asdict(), **{name: getattr(self, name) for name in names}}


def intersection_over_union(one: Borders, other: Borders) -> float:
    """Frames in both intervals over frames in either, borders included.

    >>> intersection_over_union((1, 10), (6, 15))
    0.3333333333333333
    """
    both = min(one[1], other[1]) - max(one[0], other[0]) + 1
    either = max(one[1], other[1]) - min(one[0], other[0]) + 1
    return max(both, 0) / either


def pair(spotted: Sequence[Borders], annotated: Sequence[Borders]) -> list[tuple[int, int]]:
    """Pair intervals of one video that overlap enough, each at most once, the best pairs first.

    Returns:
        Positions (spotted, annotated), in the order of the annotated ones.
    """
    shares = sorted(
        (
            (-intersection_over_union(one, other), mine, theirs)
            for mine, one in enumerate(spotted)
            for theirs, other in enumerate(annotated)
        )
    )
    pairs: list[tuple[int, int]] = []
    for share, mine, theirs in shares:
        free = all(mine != taken and theirs != other for taken, other in pairs)
        if -share >= LEAST_OVERLAP and free:
            pairs.append((mine, theirs))
    return sorted(pairs, key=lambda one: one[1])


def count(spotted: Sequence[Borders], annotated: Sequence[Borders]) -> Counts:
    """Count right, wrong and missed intervals of one video."""
    right = len(pair(spotted, annotated))
    return Counts(right, len(spotted) - right, len(annotated) - right)


def recognition_f1(true: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> float:
    """F1 of the recognition of spotted expressions as in STRS, every class with equal weight.

    The harmonic mean of the unweighted means of precision and recall over the classes, as the
    script that the challenge publishes computes it; a class without a sample counts as 0.
    """
    per_class = [count_class(true, predicted, name) for name in classes]
    precision = float(np.mean([one.precision for one in per_class]))
    recall = float(np.mean([one.recall for one in per_class]))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def count_class(true: Sequence[str], predicted: Sequence[str], name: str) -> Counts:
    """Count right, wrong and missed predictions of one class."""
    pairs = list(zip(true, predicted, strict=True))
    return Counts(
        sum(label == name == guess for label, guess in pairs),
        sum(label != name == guess for label, guess in pairs),
        sum(label == name != guess for label, guess in pairs),
    )


def strs(spotting: Counts, recognition: float) -> float:
    """Spot-then-recognise score: F1 of spotting times F1 of recognition on the right intervals."""
    return spotting.f1 * recognition


class ApexError(NamedTuple):
    """Distance of spotted apexes from the annotated ones.

    Attributes:
        frames: Mean absolute error in frames.
        relative: The same, each error divided by the length of its clip (onset to offset).
        within: Share of clips with an error of at most one frame.
        clips: Number of clips.
    """

    frames: float
    relative: float
    within: float
    clips: int

    def __str__(self) -> str:
        """Say it in words."""
        return (
            f"{self.clips} lie {self.frames:.2f} frames from the annotated one on average, "
            f"{self.within:.0%} one frame at most"
        )


def apex_error(
    spotted: Sequence[int], annotated: Sequence[int], clips: Sequence[Borders]
) -> ApexError:
    """Compare apexes of clips that hold one expression each.

    Mean absolute error and its share of the clip's length, as in work on apex spotting (Yan et al.,
    ECCV workshops 2014; Liong et al., ACPR 2015). Apexes, first and last frames are frame numbers.
    """
    errors = np.abs(np.subtract(spotted, annotated))
    lengths = np.array([max(last - first, 1) for first, last in clips])
    return ApexError(
        float(errors.mean()),
        float((errors / lengths).mean()),
        float((errors <= 1).mean()),
        len(clips),
    )


def pooled(counts: Iterable[Counts]) -> Counts:
    """Add up the counts of all videos."""
    return Counts(*map(sum, zip(Counts(0, 0, 0), *counts, strict=True)))
