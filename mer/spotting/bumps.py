"""Moments of a face compared with those round them: how far regions are, and what is noise.

Each moment is compared with the mean of one some time before and one as long after it (the feature
difference of Moilanen et al., ICPR 2014, on motion instead of texture): slow drift of the head
cancels, and a bump of at most twice that time stays. Motion counts in multiples of what the region
does at rest, so that thresholds adapt to the noise of the clip.
"""

from typing import NamedTuple

import numpy as np

from mer.spotting.regions import EXPRESSIVE

#: Seconds to the moments before and after that are compared, with the motion that a region is
#: expected to show at rest before anything is known, px of a crop of 224 px.
SCALES = ((0.2, 0.1), (0.6, 0.2), (1.3, 0.35))

#: Moments after which the resting face is known; before, nothing is judged.
KNOWN = 15

#: Least motion that a region is believed to show at rest, px of a crop of 224 px.
LEAST = 0.02

COUNT = len(EXPRESSIVE)


class Series:
    """Rows of numbers that grow at the end and are let go of at the beginning."""

    def __init__(self, *shape: int) -> None:
        """Begin without a row; `shape` is that of a row."""
        self._rows = np.empty((64, *shape))
        self._start = self._end = 0

    def append(self, row: np.ndarray | float) -> None:
        """Add a row."""
        if self._end == len(self._rows):
            kept = self._rows[self._start : self._end]
            size = max(64, 2 * len(kept))
            self._rows = np.concatenate([kept, np.empty((size, *kept.shape[1:]))])
            self._start, self._end = 0, len(kept)
        self._rows[self._end] = row
        self._end += 1

    def drop(self, count: int) -> None:
        """Let go of the first rows."""
        self._start += count

    @property
    def rows(self) -> np.ndarray:
        """All rows, (N, ...), a view."""
        return self._rows[self._start : self._end]


class Bump(NamedTuple):
    """A moment compared with the moments round it at one scale.

    Attributes:
        time: Its time.
        moved: Motion of the expressive regions that is no blink, (13, 2) px.
        level: The same in multiples of the resting face's.
    """

    time: float
    moved: np.ndarray
    level: float


class Scale:
    """Moments compared with those round them at one scale, and what regions do at rest there."""

    def __init__(self, reach: float, rest: float) -> None:
        """Begin with seconds to the moments before and after, and px of motion expected at rest."""
        self.reach = reach
        self.noise = np.full(COUNT, rest)
        self.times, self.levels, self.eyes = Series(), Series(), Series()
        self.moved = Series(COUNT, 2)
        self.rest = Series(COUNT)
        self.rested = self.judged = -np.inf

    @property
    def known(self) -> bool:
        """Whether the resting face is known."""
        return len(self.rest.rows) >= KNOWN

    def add(self, time: float, moved: np.ndarray, eyes: float) -> None:
        """Add a moment; those that are judged and far behind are let go of."""
        self.times.append(time)
        self.moved.append(moved)
        self.eyes.append(eyes)
        self.levels.append(level_of(moved / self.noise[:, None]))
        if len(self.times.rows) > 600:
            for series in (self.times, self.moved, self.eyes, self.levels):
                series.drop(300)

    def learn(self, time: float, lengths: np.ndarray, step: float) -> None:
        """Take the motion of a moment into the knowledge of the resting face, every `step` s."""
        if time - self.rested < step:
            return
        self.rested = time
        self.rest.append(lengths)
        count = len(self.rest.rows)
        if count > 300:
            self.rest.drop(1)
        if count == KNOWN or (count > KNOWN and count % 10 == 0):
            self.estimate()

    def estimate(self) -> None:
        """Estimate what regions do at rest; the first time, levels of before are mended."""
        first = len(self.rest.rows) <= KNOWN
        if len(self.rest.rows):
            self.noise = np.maximum(np.median(self.rest.rows, axis=0), LEAST)
        if first:
            levels = self.levels.rows
            for place, moved in enumerate(self.moved.rows):
                levels[place] = level_of(moved / self.noise[:, None])


def smoothed(places: np.ndarray) -> np.ndarray:
    """Weigh each moment with its neighbours, 1 : 2 : 1; the ends stay. Any shape (T, ...)."""
    result = places.copy()
    result[1:-1] = (places[:-2] + 2 * places[1:-1] + places[2:]) / 4
    return result


def roughness(course: np.ndarray) -> float:
    """Standard deviation of the noise of a course (T,): how far frames are from their neighbours.

    By the median, so that fast motion has no say; 0 for less than three frames.
    """
    if len(course) < 3:
        return 0.0
    rough = np.abs(course[1:-1] - (course[:-2] + course[2:]) / 2)
    return float(np.median(rough) / (0.6745 * np.sqrt(1.5)))


def nearest(times: np.ndarray, time: float) -> int:
    """Position of the moment nearest to a time; the times rise."""
    place = int(np.searchsorted(times, time))
    if place == 0 or (place < len(times) and times[place] - time < time - times[place - 1]):
        return min(place, len(times) - 1)
    return place - 1


def mean_near(times: np.ndarray, places: np.ndarray, time: float) -> np.ndarray:
    """Mean place of the moment nearest to a time and of its neighbours."""
    place = nearest(times, time)
    part = places[max(place - 1, 0) : place + 2]
    return np.asarray(part.sum(axis=0) / len(part))


def crossing(times: np.ndarray, along: np.ndarray, limit: float) -> float:
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
