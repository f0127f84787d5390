"""Says where in the motion of one face an expression begins, peaks and ends.

Each moment is compared with the mean of one some time before and one as long after it (the feature
difference of Moilanen et al., ICPR 2014, on motion instead of texture): slow drift of the head
cancels, and a bump of at most twice that time stays. Three times are used; the
shortest is half the length of a micro-expression. Motion counts in multiples of what the region
does at rest, so that the threshold adapts to the noise of the clip.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mer.spotting.frames import Frame
from mer.spotting.regions import EXPRESSIVE, Motion

#: Longest micro-expression and longest macro-expression in seconds.
MICRO, MACRO = 0.5, 4.0

#: Seconds to the moments before and after that are compared, with the motion that a region is
#: expected to show at rest before anything is known, px of a crop of 224 px.
SCALES = ((0.2, 0.1), (0.6, 0.2), (1.3, 0.35))

#: Seconds after its apex until an expression is certain.
LATENCY = 2.6 * SCALES[-1][0]

#: Seconds for which motion is kept; pictures older than `DENSE` are thinned to `THIN` seconds.
KEPT, DENSE, THIN = 4.5, 0.9, 0.08

_NAMES = tuple(EXPRESSIVE)
_COUNT = len(EXPRESSIVE)
_BROWS = np.array([name.startswith("brow") for name in _NAMES])

#: What the eyes move at rest, px of a crop of 224 px.
EYES_REST = 0.15


@dataclass(frozen=True)
class Settings:
    """When a motion is an expression.

    Attributes:
        threshold: Least motion in multiples of the resting face's.
        floor: Least motion in px of a crop of 224 px.
        blink: Motion of the eyes in px of that crop that is a blink.
        drag: Share of the eyes' motion that shows in other regions, where `EYES_REST` is exceeded.
        drag_brows: The same for the brows, which are nearest.
        growth: How much larger a motion must be over a longer time to be the longer one.
        memory: Seconds from which the resting face is known.
    """

    threshold: float = 4.0
    floor: float = 0.15
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


class _Bump(NamedTuple):
    """A moment compared with the moments round it at one scale.

    Attributes:
        time: Its time.
        moved: Motion of the expressive regions that is no blink, (13, 2) px.
        level: The same in multiples of the resting face's.
        eyes: Motion of the eyes in px.
    """

    time: float
    moved: np.ndarray
    level: float
    eyes: float


class _Found(NamedTuple):
    """A candidate, the scale at which it was found, and its bump."""

    expression: Expression
    scale: int
    bump: _Bump


class Watcher:
    """Watches the motion of one face.

    Attributes:
        level: Motion of the last judged frame in multiples of the resting face's.
    """

    def __init__(self, face: int, settings: Settings) -> None:
        """Begin with a face of unknown noise."""
        self.face, self.settings = face, settings
        self.level = 0.0
        self._closed: list[tuple[float, float]] = []  # time and motion of the eyes of each blink
        self._times: deque[float] = deque()
        self._shifts: deque[np.ndarray] = deque()  # (15, 2) each
        self._heads: deque[float] = deque()
        self._frames: deque[Frame] = deque()  # thinned
        self._bumps: list[deque[_Bump]] = [deque(maxlen=400) for _ in SCALES]
        self._judged = [-np.inf for _ in SCALES]
        self._noise = [np.full(_COUNT, rest) for _, rest in SCALES]
        self._rest: list[deque[np.ndarray]] = [deque(maxlen=301) for _ in SCALES]
        self._rested = [-np.inf for _ in SCALES]
        self._found: list[_Found] = []
        self._given: list[_Found] = []  # the last ones that were returned

    @property
    def blinks(self) -> list[float]:
        """Times of blinks."""
        return [time for time, _ in self._closed]

    def add(self, frame: Frame, motion: Motion) -> list[Expression]:
        """Take the next frame; return the expressions that are certain now."""
        self._times.append(frame.time)
        self._shifts.append(motion.shifts)
        self._heads.append(motion.head)
        self._frames.append(frame)
        while frame.time - self._times[0] > KEPT:
            self._times.popleft()
            self._shifts.popleft()
            self._heads.popleft()
        self._thin(frame.time)
        if len(self._times) < 3:
            return []
        times, places = np.array(self._times), smoothed(np.array(self._shifts))
        for scale, (reach, _) in enumerate(SCALES):
            self._compare(scale, times, places, frame.time - reach)
            self._peaks(scale, times, places, frame.time - 1.5 * reach)
        return self._certain(frame.time)

    def close(self) -> list[Expression]:
        """End the video; return what was not certain yet."""
        if len(self._times) >= 3:
            times, places = np.array(self._times), smoothed(np.array(self._shifts))
            for scale in range(len(SCALES)):
                self._compare(scale, times, places, np.inf)
                self._peaks(scale, times, places, np.inf)
        return self._certain(np.inf)

    def _thin(self, now: float) -> None:
        """Let go of old pictures, and of every other one of those that are not quite new."""
        while now - self._frames[0].time > KEPT:
            self._frames.popleft()
        dense = next(place for place, one in enumerate(self._frames) if now - one.time <= DENSE)
        if dense >= 2 and self._frames[dense - 1].time - self._frames[dense - 2].time < THIN - 1e-3:
            del self._frames[dense - 1]

    def _compare(self, scale: int, times: np.ndarray, places: np.ndarray, until: float) -> None:
        """Compare the moments up to `until` that were not compared yet with those round them."""
        reach, _ = SCALES[scale]
        bumps = self._bumps[scale]
        since = bumps[-1].time if bumps else times[0] + reach - 1e-6
        for place in np.flatnonzero((times > since) & (times <= until + 1e-6)):
            now = float(times[place])
            before = _mean_near(times, places, now - reach)
            after = _mean_near(times, places, now + reach)
            away = places[place] - (before + after) / 2
            moved, eyes = self._without_blink(away)
            level = level_of(moved / self._noise[scale][:, None])
            bumps.append(_Bump(now, moved, level, eyes))
            self._learn(scale, away, now)
            if scale == 0:
                self.level = level

    def _without_blink(self, away: np.ndarray) -> tuple[np.ndarray, float]:
        """Take out what the lids drag along."""
        moved, eyes = away[:_COUNT], float(np.hypot(*away[_COUNT:].T).mean())
        share = np.where(_BROWS, self.settings.drag_brows, self.settings.drag)
        length = np.hypot(*moved.T)
        dragged = share * max(eyes - EYES_REST, 0.0)
        kept = np.maximum(length - dragged, 0) / np.maximum(length, 1e-9)
        return moved * kept[:, None], eyes

    def _learn(self, scale: int, away: np.ndarray, now: float) -> None:
        """Take a moment into the knowledge of the resting face, some ten times a second."""
        rest, step = self._rest[scale], self.settings.memory / 300
        if now - self._rested[scale] < step:
            return
        self._rested[scale] = now
        rest.append(np.hypot(*away[:_COUNT].T))
        if len(rest) >= 15 and len(rest) % 5 == 0:
            self._noise[scale] = np.maximum(np.median(rest, axis=0), 0.02)

    def _peaks(self, scale: int, times: np.ndarray, places: np.ndarray, until: float) -> None:
        """Judge the moments up to `until`: greatest within half the scale, above the threshold."""
        reach, _ = SCALES[scale]
        bumps = [one for one in self._bumps[scale] if one.time >= self._judged[scale] - reach]
        levels, moments = np.array([b.level for b in bumps]), np.array([b.time for b in bumps])
        for bump in bumps:
            if not self._judged[scale] < bump.time <= until:
                continue
            near = np.abs(moments - bump.time) <= reach / 2 + 1e-6
            self._judged[scale] = bump.time
            if scale == 0 and bump.eyes > self.settings.blink:
                wide = [b.eyes for b in bumps if abs(b.time - bump.time) <= 1.4 * reach]
                if bump.eyes >= max(wide):
                    self._closed.append((bump.time, bump.eyes))
            if bump.level < self.settings.threshold or bump.level < levels[near].max():
                continue
            expression = self._expression(scale, bump, times, places)
            if expression is not None:
                self._found.append(_Found(expression, scale, bump))

    def _expression(
        self, scale: int, bump: _Bump, times: np.ndarray, places: np.ndarray
    ) -> Expression | None:
        """Measure a bump: borders where its course, carried on in a straight line, is at rest."""
        lengths = np.hypot(*bump.moved.T)
        strength = float(np.sort(lengths)[-3:].mean())
        if strength < self.settings.floor:
            return None
        reach, _ = SCALES[scale]
        along = self._along(scale, bump, times, places)
        peak = int(np.argmin(np.abs(times - bump.time)))
        start = _crossing(times[peak::-1], along[peak::-1], bump.time - reach)
        end = _crossing(times[peak:], along[peak:], bump.time + reach)
        onset, apex, offset = (self._frame(moment) for moment in (start, bump.time, end))
        if not onset.time <= apex.time <= offset.time or onset.time == offset.time:
            return None
        seconds = end - start
        heads = [self._heads[int(np.argmin(np.abs(times - f.time)))] for f in (onset, apex)]
        return Expression(
            face=self.face,
            onset=onset,
            apex=apex,
            offset=offset,
            strength=strength,
            level=bump.level,
            kind="micro" if seconds <= MICRO + 0.02 else "macro" if seconds <= MACRO else "long",
            regions=tuple(_NAMES[place] for place in np.argsort(-lengths)[:3]),
            head_motion=abs(heads[1] - heads[0]),
        )

    def _along(self, scale: int, bump: _Bump, times: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Place of each moment along the direction of the bump: 0 at its ends, 1 at the apex."""
        reach, _ = SCALES[scale]
        before = _mean_near(times, places, bump.time - reach)[:_COUNT]
        after = _mean_near(times, places, bump.time + reach)[:_COUNT]
        share = ((times - bump.time) / (2 * reach) + 0.5)[:, None, None]
        away = places[:, :_COUNT] - (before + share * (after - before))
        weights = bump.moved / self._noise[scale][:, None] ** 2
        along = np.einsum("tra,ra->t", away, weights)
        peak = along[int(np.argmin(np.abs(times - bump.time)))]
        return np.asarray(along / max(float(peak), 1e-9), np.float64)

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


def smoothed(places: np.ndarray) -> np.ndarray:
    """Weigh each moment with its neighbours, 1 : 2 : 1; the ends stay. Any shape (T, ...)."""
    result = places.copy()
    result[1:-1] = (places[:-2] + 2 * places[1:-1] + places[2:]) / 4
    return result


def _mean_near(times: np.ndarray, places: np.ndarray, time: float) -> np.ndarray:
    """Mean place of the moment nearest to a time and of its neighbours."""
    place = int(np.argmin(np.abs(times - time)))
    return np.asarray(places[max(place - 1, 0) : place + 2].mean(axis=0))


def _crossing(times: np.ndarray, along: np.ndarray, limit: float) -> float:
    """When a course that falls from 1 would reach 0, by the line through 0.75 and 0.25.

    Args:
        times: Times away from the apex; they may run backwards.
        along: Places at these times.
        limit: Answer for a course that does not fall.
    """
    moments = []
    for share in (0.75, 0.25):
        below = np.flatnonzero(along < share)
        if not below.size:
            return limit
        place = max(int(below[0]), 1)
        high, low = along[place - 1], along[place]
        part = min(max((high - share) / max(high - low, 1e-9), 0.0), 1.0)
        moments.append(float(times[place - 1] + part * (times[place] - times[place - 1])))
    return moments[1] + (moments[1] - moments[0])


def level_of(place: np.ndarray) -> float:
    """Root mean square of the three largest motions."""
    squares = np.sort((place**2).sum(axis=1))[-3:]
    return float(np.sqrt(squares.mean()))
