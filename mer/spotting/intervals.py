"""Says where in the motion of one face an expression begins, peaks and ends.

A bump of motion (see `mer.spotting.bumps`) is a candidate; its borders are where its course along
the direction of the apex would be at rest. Candidates that a blink, a larger motion beside them or
a longer one explains are left out.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mer.spotting.bumps import (
    COUNT,
    SCALES,
    Bump,
    Scale,
    Series,
    crossing,
    mean_near,
    nearest,
    roughness,
)
from mer.spotting.frames import Frame
from mer.spotting.regions import EXPRESSIVE, WATCHED, Motion

#: Longest micro-expression and longest macro-expression in seconds.
MICRO, MACRO = 0.5, 4.0

#: Seconds between two moments, more or less.
STEP = 0.02

#: Seconds after its apex until an expression is certain.
LATENCY = 2.6 * SCALES[-1][0]

#: Seconds for which motion is kept; pictures older than `DENSE` are thinned to `THIN` seconds.
KEPT, DENSE, THIN = 4.5, 0.9, 0.08

_NAMES = tuple(EXPRESSIVE)
_BROWS = np.array([name.startswith("brow") for name in _NAMES])

#: What the eyes move at rest, px of a crop of 224 px.
EYES_REST = 0.15


@dataclass(frozen=True)
class Settings:
    """When a motion is an expression.

    Attributes:
        threshold: Least motion in multiples of the resting face's.
        floor: Least motion in px of a crop of 224 px.
        snr: Least motion in multiples of the noise from frame to frame in its own direction. Noise
            that regions share, such as that of JPEG, adds up where theirs alone cancels.
        blink: Motion of the eyes in px of that crop that is a blink.
        drag: Share of the eyes' motion that shows in other regions, where `EYES_REST` is exceeded.
        drag_brows: The same for the brows, which are nearest.
        growth: How much larger a motion must be over a longer time to be the longer one.
        memory: Seconds from which the resting face is known.
    """

    threshold: float = 4.5
    floor: float = 0.2
    snr: float = 8.5
    blink: float = 1.5
    drag: float = 0.2
    drag_brows: float = 1.3
    growth: float = 1.3
    memory: float = 30.0


class Interval(NamedTuple):
    """Numbers of onset, apex and offset, and the strength of a spotted expression."""

    onset: int
    apex: int
    offset: int
    strength: float


@dataclass(frozen=True)
class Expression:
    """A spotted expression.

    Attributes:
        face: Number of the face.
        onset: Frame in which it begins.
        apex: Frame of the greatest motion.
        offset: Frame in which it is over.
        strength: Motion at the apex, mean of the three regions that move most, px of a crop of
            224 px.
        level: The same in multiples of what the face shows at rest.
        kind: `micro` (half a second at most), `macro` (four seconds at most) or `long`.
        regions: The regions that move most, the first one most.
        head_motion: Head motion between onset and apex in px of a crop of 224 px; the crop
            follows it.
    """

    face: int
    onset: Frame
    apex: Frame
    offset: Frame
    strength: float
    level: float
    kind: str
    regions: tuple[str, ...]
    head_motion: float

    @property
    def interval(self) -> Interval:
        """The numbers alone."""
        return Interval(self.onset.number, self.apex.number, self.offset.number, self.strength)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.offset.time - self.onset.time


class _Found(NamedTuple):
    """A candidate, the scale at which it was found, and its bump."""

    expression: Expression
    scale: int
    bump: Bump


class Watcher:
    """Watches the motion of one face.

    Attributes:
        level: Motion of the last compared frame in multiples of the resting face's.
        compared: Time of that frame, -inf before there is one.
    """

    def __init__(self, face: int, settings: Settings) -> None:
        """Begin with a face of unknown noise."""
        self.face, self.settings = face, settings
        self.level, self.compared = 0.0, -np.inf
        self._closed: list[tuple[float, float]] = []  # time and motion of the eyes of each blink
        self._times, self._heads = Series(), Series()
        self._shifts, self._places = (
            Series(WATCHED, 2),
            Series(WATCHED, 2),
        )  # as they come; even
        self._frames: deque[Frame] = deque()  # thinned
        self._scales = [Scale(reach, rest) for reach, rest in SCALES]
        self._found: list[_Found] = []
        self._given: list[_Found] = []  # the last ones that were returned

    @property
    def blinks(self) -> list[float]:
        """Times of blinks."""
        return [time for time, _ in self._closed]

    def add(self, frame: Frame, motion: Motion) -> list[Expression]:
        """Take the next frame; return the expressions that are certain now."""
        self._times.append(frame.time)
        self._heads.append(motion.head)
        self._shifts.append(motion.shifts)
        self._places.append(motion.shifts)
        shifts = self._shifts.rows
        if len(shifts) >= 3:
            self._places.rows[-2] = (shifts[-3] + 2 * shifts[-2] + shifts[-1]) / 4
        self._frames.append(frame)
        self._thin(frame.time)
        past = int(np.searchsorted(self._times.rows, frame.time - KEPT))
        for series in (self._times, self._heads, self._shifts, self._places):
            series.drop(past)
        for number, scale in enumerate(self._scales):
            # The last place is not even yet.
            self._compare(scale, self._times.rows[-2:][0] - scale.reach - STEP)
            if scale.known:
                self._peaks(number, frame.time - 1.6 * scale.reach - 2 * STEP)
        return self._certain(frame.time)

    def close(self) -> list[Expression]:
        """End the video; return what was not certain yet."""
        for number, scale in enumerate(self._scales):
            self._compare(scale, np.inf)  # in a short video what is expected at rest stays
            self._peaks(number, np.inf)
        return self._certain(np.inf)

    def _thin(self, now: float) -> None:
        """Let go of old pictures, and of some of those that are not quite new."""
        while now - self._frames[0].time > KEPT:
            self._frames.popleft()
        dense = next(place for place, one in enumerate(self._frames) if now - one.time <= DENSE)
        if dense >= 2 and self._frames[dense - 1].time - self._frames[dense - 2].time < THIN - 1e-3:
            del self._frames[dense - 1]

    def _compare(self, scale: Scale, until: float) -> None:
        """Compare the moments up to `until` that were not compared yet with those round them."""
        times, places = self._times.rows, self._places.rows
        done = scale.times.rows
        since = done[-1] if len(done) else times[0] + scale.reach - 1e-6
        first, last = np.searchsorted(times, (since, until + 1e-6), side="right")
        for place in range(first, last):
            now = float(times[place])
            span = self._span(scale, now)
            if span < scale.reach / 2:
                return
            before = mean_near(times, places, now - span)
            after = mean_near(times, places, now + span)
            away = places[place] - (before + after) / 2
            moved, eyes = self._without_blink(away)
            scale.add(now, moved, eyes)
            scale.learn(now, np.hypot(*away[:COUNT].T), self.settings.memory / 300)
            if scale is self._scales[0]:
                self.level, self.compared = float(scale.levels.rows[-1]), now

    def _span(self, scale: Scale, time: float) -> float:
        """Seconds to the moments compared with; fewer at the end, so that drift cancels."""
        return float(min(scale.reach, self._times.rows[-1] - time))

    def _without_blink(self, away: np.ndarray) -> tuple[np.ndarray, float]:
        """Take out what the lids drag along."""
        moved, eyes = away[:COUNT], float(np.hypot(*away[COUNT:].T).mean())
        if eyes <= EYES_REST:
            return moved, eyes
        share = np.where(_BROWS, self.settings.drag_brows, self.settings.drag)
        length = np.hypot(*moved.T)
        kept = np.maximum(length - share * (eyes - EYES_REST), 0) / np.maximum(length, 1e-9)
        return moved * kept[:, None], eyes

    def _peaks(self, number: int, until: float) -> None:
        """Judge the moments up to `until`: greatest within half the scale, above the threshold."""
        scale = self._scales[number]
        times, levels, eyes = scale.times.rows, scale.levels.rows, scale.eyes.rows
        first, last = np.searchsorted(times, (scale.judged, until), side="right")
        for place in range(first, last):
            now = float(times[place])
            scale.judged = now
            start, end = np.searchsorted(times, (now - scale.reach / 2, now + scale.reach / 2))
            near = slice(int(start), int(end) + 1)
            if not number and eyes[place] > self.settings.blink and eyes[place] >= eyes[near].max():
                self._blink(now, float(eyes[place]))
            if levels[place] < self.settings.threshold or levels[place] < levels[near].max():
                continue
            bump = Bump(now, scale.moved.rows[place].copy(), float(levels[place]))
            expression = self._expression(number, bump)
            if expression is not None:
                self._found.append(_Found(expression, number, bump))

    def _blink(self, time: float, eyes: float) -> None:
        """Keep a blink; beside it the eyes seem to move the other way, which is none."""
        if self._closed and time - self._closed[-1][0] < 1.5 * SCALES[0][0]:
            if eyes > self._closed[-1][1]:
                self._closed[-1] = time, eyes
            return
        self._closed.append((time, eyes))

    def _expression(self, number: int, bump: Bump) -> Expression | None:
        """Measure a bump: borders where its course, carried on in a straight line, is at rest."""
        lengths = np.hypot(*bump.moved.T)
        strength = float(np.sort(lengths)[-3:].mean())
        scale, times = self._scales[number], self._times.rows
        if strength < self.settings.floor or self._snr(scale, bump) < self.settings.snr:
            return None
        reach, along = scale.reach, self._along(scale, bump)
        peak = nearest(times, bump.time)
        start = crossing(times[peak::-1], along[peak::-1], bump.time - reach)
        end = crossing(times[peak:], along[peak:], bump.time + reach)
        onset, apex, offset = (self._frame(moment) for moment in (start, bump.time, end))
        if not onset.time <= apex.time <= offset.time or onset.time == offset.time:
            return None
        seconds = end - start
        heads = [self._heads.rows[nearest(times, one.time)] for one in (onset, apex)]
        return Expression(
            face=self.face,
            onset=onset,
            apex=apex,
            offset=offset,
            strength=strength,
            level=bump.level,
            kind="micro" if seconds <= MICRO + 0.02 else "macro" if seconds <= MACRO else "long",
            regions=tuple(_NAMES[place] for place in np.argsort(-lengths)[:3]),
            head_motion=float(abs(heads[1] - heads[0])),
        )

    def _snr(self, scale: Scale, bump: Bump) -> float:
        """Motion of a bump in multiples of the noise from frame to frame in its direction."""
        weights = bump.moved / scale.noise[:, None] ** 2
        along = np.einsum("tra,ra->t", self._shifts.rows[:, :COUNT], weights)
        return float((bump.moved * weights).sum()) / max(roughness(along), 1e-9)

    def _along(self, scale: Scale, bump: Bump) -> np.ndarray:
        """Place of each moment along the direction of the bump: 0 at its ends, 1 at the apex."""
        times, places = self._times.rows, self._places.rows[:, :COUNT]
        span = self._span(scale, bump.time)
        before = mean_near(times, places, bump.time - span)
        after = mean_near(times, places, bump.time + span)
        share = ((times - bump.time) / (2 * span) + 0.5)[:, None, None]
        away = places - (before + share * (after - before))
        along = np.einsum("tra,ra->t", away, bump.moved / scale.noise[:, None] ** 2)
        peak = float(along[nearest(times, bump.time)])
        return np.asarray(along / max(peak, 1e-9), np.float64)

    def _frame(self, time: float) -> Frame:
        return min(self._frames, key=lambda one: abs(one.time - time))

    def _certain(self, now: float) -> list[Expression]:
        """Return the candidates that no later one can change any more."""
        if not self._found:
            return []
        until = now - LATENCY
        if min(one.bump.time for one in self._found) > until:
            return []
        certain = self._longest([one for one in self._found if self._is_real(one)])
        done = [one for one in certain if one.bump.time <= until]
        self._given = [*self._given, *done][-20:]
        self._found = [
            one
            for one in self._found
            if one.bump.time > until
            and not any(_overlap(one.expression, other.expression) for other in done)
        ]
        return [one.expression for one in sorted(done, key=lambda one: one.bump.time)]

    def _is_real(self, one: _Found) -> bool:
        """Whether a candidate is neither a brow beside a blink nor the echo of a larger motion.

        Beside a motion its neighbours are compared with it, and seem to move the other way.
        """
        reach, _ = SCALES[one.scale]
        brow = one.expression.regions[0].startswith("brow")
        blinks = [closed for time, closed in self._closed if abs(time - one.bump.time) <= 0.32]
        if brow and one.expression.strength < 0.5 * max(blinks, default=0.0):
            return False
        for other in [*self._found, *self._given]:
            larger = other.expression.strength > one.expression.strength
            start, end = other.expression.onset.time, other.expression.offset.time
            beside = start - 1.5 * reach <= one.bump.time <= end + 1.5 * reach
            if larger and beside and _cosine(one.bump.moved, other.bump.moved) < -0.3:
                return False
        return True

    def _longest(self, candidates: list[_Found]) -> list[_Found]:
        """Of candidates that overlap keep the longer one if it is clearly larger."""
        kept = [one for one in self._given]
        for one in sorted(candidates, key=lambda one: (one.scale, -one.bump.level)):
            rivals = [other for other in kept if _overlap(one.expression, other.expression)]
            least = self.settings.growth if any(r.scale < one.scale for r in rivals) else 1.0
            strongest = max((other.expression.strength for other in rivals), default=0.0)
            given = any(rival is other for rival in rivals for other in self._given)
            if not given and one.expression.strength > least * strongest:
                kept = [other for other in kept if not any(other is r for r in rivals)] + [one]
        return [one for one in kept if not any(one is other for other in self._given)]


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum() / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-9))


def _overlap(one: Expression, other: Expression) -> bool:
    return one.onset.time < other.offset.time and other.onset.time < one.offset.time
