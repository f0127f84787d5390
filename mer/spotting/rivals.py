"""Candidates for expressions: those stay that no blink and no larger motion explains."""

from typing import NamedTuple

import numpy as np

from mer.spotting.bumps import SCALES, Bump
from mer.spotting.spotted_expression import Expression

#: Seconds after its apex until an expression is certain.
LATENCY = 2.6 * SCALES[-1][0]

#: Time and motion of the eyes of each blink.
Blinks = list[tuple[float, float]]


class Candidate(NamedTuple):
    """A candidate, the scale at which it was found, and its bump."""

    expression: Expression
    scale: int
    bump: Bump


class Candidates:
    """The candidates of one face that are not certain yet."""

    def __init__(self, growth: float) -> None:
        self.growth = growth
        self._found: list[Candidate] = []
        self._given: list[Candidate] = []  # the last ones that were returned

    def add(self, candidate: Candidate) -> None:
        """Take a candidate."""
        self._found.append(candidate)

    def certain(self, now: float, blinks: Blinks) -> list[Expression]:
        """Return the candidates that no later one can change any more."""
        if not self._found:
            return []
        until = now - LATENCY
        if min(one.bump.time for one in self._found) > until:
            return []
        certain = self._longest([one for one in self._found if self._is_real(one, blinks)])
        done = [one for one in certain if one.bump.time <= until]
        self._given = [*self._given, *done][-20:]
        self._found = [
            one
            for one in self._found
            if one.bump.time > until
            and not any(_overlap(one.expression, other.expression) for other in done)
        ]
        return [one.expression for one in sorted(done, key=lambda one: one.bump.time)]

    def _is_real(self, one: Candidate, blinks: Blinks) -> bool:
        """Whether a candidate is neither a brow beside a blink nor the echo of a larger motion.

        Beside a motion its neighbours are compared with it, and seem to move the other way.
        """
        reach, _ = SCALES[one.scale]
        brow = one.expression.regions[0].startswith("brow")
        beside = [eyes for time, eyes in blinks if abs(time - one.bump.time) <= 0.32]
        if brow and one.expression.strength < 0.5 * max(beside, default=0.0):
            return False
        for other in [*self._found, *self._given]:
            larger = other.expression.strength > one.expression.strength
            start, end = other.expression.onset.time, other.expression.offset.time
            near = start - 1.5 * reach <= one.bump.time <= end + 1.5 * reach
            if larger and near and _cosine(one.bump.moved, other.bump.moved) < -0.3:
                return False
        return True

    def _longest(self, candidates: list[Candidate]) -> list[Candidate]:
        """Of candidates that overlap keep the longer one if it is clearly larger."""
        kept = [one for one in self._given]
        for one in sorted(candidates, key=lambda one: (one.scale, -one.bump.level)):
            rivals = [other for other in kept if _overlap(one.expression, other.expression)]
            least = self.growth if any(r.scale < one.scale for r in rivals) else 1.0
            strongest = max((other.expression.strength for other in rivals), default=0.0)
            given = any(rival is other for rival in rivals for other in self._given)
            if not given and one.expression.strength > least * strongest:
                kept = [other for other in kept if not any(other is r for r in rivals)] + [one]
        return [one for one in kept if not any(one is other for other in self._given)]


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum() / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-9))


def _overlap(one: Expression, other: Expression) -> bool:
    return one.onset.time < other.offset.time and other.onset.time < one.offset.time
