"""Says where in the motion of one face an expression begins, peaks and ends.

A bump of motion (see `mer.spotting.bumps`) is a candidate; its borders are where its course along
the direction of the apex would be at rest. `mer.spotting.rivals` chooses among them.
"""

from collections import deque

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
from mer.spotting.regions import EXPRESSIVE, WATCHED, Motion
from mer.spotting.rivals import Blinks, Candidate, Candidates
from mer.spotting.spotted_expression import Expression, Settings, kind_of
from mer.spotting.stream import Frame

#: Seconds between two moments, more or less.
STEP = 0.02

#: Seconds for which motion is kept; pictures older than `DENSE` are thinned to `THIN` seconds.
KEPT, DENSE, THIN = 4.5, 0.9, 0.08

_NAMES = tuple(EXPRESSIVE)
_BROWS = np.array([name.startswith("brow") for name in _NAMES])

#: What the eyes move at rest, px of a crop of 224 px.
EYES_REST = 0.15


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
        self._closed: Blinks = []
        self._times, self._heads = Series(), Series()
        self._shifts = Series(WATCHED, 2)
        self._places = Series(WATCHED, 2)  # the shifts, evened over three frames
        self._frames: deque[Frame] = deque()  # thinned
        self._scales = [Scale(reach, rest) for reach, rest in SCALES]
        self._candidates = Candidates(settings.growth)

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
        return self._candidates.certain(frame.time, self._closed)

    def close(self) -> list[Expression]:
        """End the video; return what was not certain yet."""
        for number, scale in enumerate(self._scales):
            self._compare(scale, np.inf)  # in a short video what is expected at rest stays
            self._peaks(number, np.inf)
        return self._candidates.certain(np.inf, self._closed)

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
                self._candidates.add(Candidate(expression, number, bump))

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
        heads = [self._heads.rows[nearest(times, one.time)] for one in (onset, apex)]
        return Expression(
            face=self.face,
            onset=onset,
            apex=apex,
            offset=offset,
            strength=strength,
            level=bump.level,
            kind=kind_of(end - start),
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
