"""Coverage: of the samples of which a head is surest, how many are right."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Shares of the samples, all of them first.
SHARES = (1.0, 0.8, 0.6, 0.4, 0.2)


class Covered(NamedTuple):
    """Samples of which a head is at least so sure.

    Attributes:
        share: Their share of all samples.
        confidence: Least confidence among them.
        right: Share of them whose class is the true one.
    """

    share: float
    confidence: float
    right: float


def covered(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[Covered, ...]:
    """Say of the surest samples how many are right, for each of `SHARES`.

    Args:
        confidence: How sure each sample's class is. Shape: (N,).
        right: Whether it is the true one. Shape: (N,).
        weights: Weight of each sample. Shape: (N,).
    """
    order = np.argsort(-confidence, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    points = []
    for share in SHARES:
        least = confidence[order][np.searchsorted(reached, share - 1e-9)]
        inside = confidence >= least  # equally sure ones belong together
        part = weights[inside].sum()
        values = part / weights.sum(), least, (weights * right)[inside].sum() / part
        points.append(Covered(*(round(float(value), 4) for value in values)))
    return tuple(dict.fromkeys(points))


def in_words(points: Sequence[Covered]) -> str:
    """Say it in a sentence.

    >>> in_words([Covered(1.0, 0.34, 0.697), Covered(0.4, 0.79, 0.87)])
    '70 % of all were right, 87 % of the surest 40 %'
    """
    first, *others = [
        f"{100 * one.right:.0f} % of {_part(one)}{' were right' if one is points[0] else ''}"
        for one in points
    ]
    return ", ".join([first, *others])


def standing(points: Sequence[Covered], confidence: float) -> str:
    """Say how many were right of the surest samples to which a confidence belongs.

    >>> standing([Covered(1.0, 0.34, 0.697), Covered(0.4, 0.79, 0.87)], 0.8)
    'As sure as the surest 40 % of the samples it was calibrated on; 87 % of these were right'
    >>> standing([Covered(1.0, 0.34, 0.697)], 0.3)
    'Less sure than all samples it was calibrated on'
    """
    reached = [one for one in points if confidence >= one.confidence]
    if not reached:
        return "Less sure than all samples it was calibrated on"
    part, right = _part(reached[-1]), f"{100 * reached[-1].right:.0f} %"
    return f"As sure as {part} of the samples it was calibrated on; {right} of these were right"


def _part(one: Covered) -> str:
    return "all" if one.share == 1 else f"the surest {100 * one.share:.0f} %"
