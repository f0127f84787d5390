"""What is drawn for fields of synthetic motion: who shows which units how strongly, on what face.

Every draw is one call for a whole block of samples, so the order of the calls is part of the
result.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mer.synthetic.unit_motion import COMBINATIONS, PLACES, UNITS, numbers

Array = NDArray[np.float32]

#: Probability that a unit takes part where units are drawn without an emotion.
ANY_UNIT = 0.15
#: Probability of a blink, and of one that is ending: the lids open.
BLINK, OPENING = 0.3, 0.35
#: Probability that one half of a unit is much weaker than the other.
ASYMMETRY = 0.2
#: Least intensity of a unit that is shown; the greatest is 1.
WEAKEST = 0.35


class Acted(NamedTuple):
    """What is shown in N samples.

    Attributes:
        units: Intensities, 0 to 1, of the person's left half, which lies right in the picture, and
            of the right half; units in the order of `PLACES`. Shape: (N, 2, U), float32.
        classes: Class numbers, -1 where units were drawn without an emotion. Shape: (N,), int64.
    """

    units: Array
    classes: NDArray[np.int64]


class Faces(NamedTuple):
    """Shapes of N faces and of their K blobs, relative to the canonical face.

    Attributes:
        scale: Factors across and along. Shape: (N, 2).
        shift: In eye distances. Shape: (N, 2).
        angle: Radians. Shape: (N,).
        blob_shift: In eye distances. Shape: (N, K, 2).
        blob_scale: Factors on the radii. Shape: (N, K).
        blob_angle: Radians by which displacements turn. Shape: (N, K).
        blob_gain: Factors on displacements; of blinks that end it is negative. Shape: (N, K).
    """

    scale: Array
    shift: Array
    angle: Array
    blob_shift: Array
    blob_scale: Array
    blob_angle: Array
    blob_gain: Array


class Combinations(NamedTuple):
    """Combinations of units that show the classes of a task.

    Attributes:
        units: Which units each combination has. Shape: (M, U), float32 0 or 1.
        classes: Class number of each. Shape: (M,).
        shares: How often each is shown; adds up to 1. Shape: (M,).
    """

    units: Array
    classes: NDArray[np.int64]
    shares: NDArray[np.float64]


#: One row for each blob in each half of the face.
_ROWS = [
    (place, half, sign, blob)
    for place, unit in enumerate(UNITS.values())
    for blob in unit.blobs
    for half, sign in ((0, 1), (1, -1))
]
#: Unit and half (0 left, 1 right) of each of the K blobs. Shape: (K,).
BLOB_UNITS = np.array([place for place, _, _, _ in _ROWS])
BLOB_HALVES = np.array([half for _, half, _, _ in _ROWS])
#: x, y, rx, ry, dx, dy in the picture; halves of a blob in the middle share it. Shape: (K, 6).
BLOBS = np.array(
    [
        (sign * x, y, rx, ry, sign * dx, dy) if x else (x, y, rx, ry, dx / 2, dy / 2)
        for _, _, sign, (x, y, rx, ry, dx, dy) in _ROWS
    ],
    np.float32,
)


def combinations(classes: Mapping[str, int], shares: Mapping[int, float]) -> Combinations:
    """List the combinations that show the classes of a task.

    Args:
        classes: Emotion -> class number; emotions of `COMBINATIONS`.
        shares: Class number -> how often the class is shown.
    """
    rows = [
        (classes[emotion], weight, [PLACES[number] for number in numbers(text)])
        for emotion, ways in COMBINATIONS.items()
        if emotion in classes
        for text, weight in ways.items()
    ]
    units = np.zeros((len(rows), len(UNITS)), np.float32)
    for row, (_, _, places) in enumerate(rows):
        units[row, places] = 1
    labels = np.array([label for label, _, _ in rows], np.int64)
    weights = np.array([weight for _, weight, _ in rows])
    for label, share in shares.items():
        own = labels == label
        weights[own] *= share / weights[own].sum()
    return Combinations(units, labels, weights / weights.sum())


def draw_acted(source: np.random.Generator, count: int, shown: Combinations, free: float) -> Acted:
    """Draw what is shown.

    Args:
        source: Random numbers.
        count: Number of samples N.
        shown: Combinations of the task.
        free: Probability of any units without an emotion.
    """
    steps = np.cumsum(shown.shares)[:-1]
    chosen = np.searchsorted(steps, source.random(count), side="right")
    without = source.random(count) < free
    shape = (count, len(UNITS))
    present = np.where(without[:, None], source.random(shape) < ANY_UNIT, shown.units[chosen] > 0)
    present[:, PLACES[45]] = source.random(count) < BLINK
    strength = present * (WEAKEST + (1 - WEAKEST) * source.random(shape))
    weak = source.random(shape) < ASYMMETRY
    weak_half = (source.random(shape) < 0.5).astype(int)
    halves = 1 - 0.35 * source.random((count, 2, len(UNITS)))
    low = 0.45 * source.random(shape)
    for half in (0, 1):
        halves[:, half] = np.where(weak & (weak_half == half), low, halves[:, half])
    units = (strength[:, None] * halves).astype(np.float32)
    return Acted(units, np.where(without, -1, shown.classes[chosen]))


def draw_faces(
    source: np.random.Generator,
    count: int,
    scale: tuple[float, float],
    shift: tuple[float, float],
    angle: float,
) -> Faces:
    """Draw faces.

    Args:
        source: Random numbers.
        count: Number of samples N.
        scale: Standard deviation of the relative size, across and along.
        shift: Standard deviation of the place, across and along, in eye distances.
        angle: Standard deviation of the turn in radians.
    """

    def normal(*shape: int) -> Array:
        return source.standard_normal((count, *shape), np.float32)

    def alike(both: float, each: float, *shape: int) -> Array:
        """Draw values of blobs: what both halves share, and what each has of its own."""
        pairs = len(BLOBS) // 2
        shared = np.repeat(np.float32(both) * normal(pairs, *shape), 2, axis=1)
        values: Array = shared + np.float32(each) * normal(2 * pairs, *shape)
        return values

    opening = source.random(count) < OPENING
    blink = np.where(opening[:, None] & (BLOB_UNITS == PLACES[45]), -1, 1)
    mirror = np.where(BLOB_HALVES == 0, 1, -1).astype(np.float32)
    return Faces(
        scale=1 + np.array(scale, np.float32) * normal(2).clip(-2.5, 2.5),
        shift=np.array(shift, np.float32) * normal(2).clip(-2.5, 2.5),
        angle=np.float32(angle) * normal(),
        blob_shift=alike(0.022, 0.012, 2) * np.stack([mirror, np.ones_like(mirror)], axis=-1),
        blob_scale=np.exp(alike(0.16, 0.08)),
        blob_angle=alike(0.22, 0.12) * mirror,
        blob_gain=(np.exp(alike(0.22, 0.11)) * blink).astype(np.float32),
    )


def canonical_faces(count: int) -> Faces:
    """Return N times the canonical face."""
    one, zero = (np.full((count, len(BLOBS)), value, np.float32) for value in (1, 0))
    return Faces(
        scale=one[:, :2],
        shift=zero[:, :2],
        angle=zero[:, 0],
        blob_shift=np.stack([zero, zero], axis=-1),
        blob_scale=one,
        blob_angle=zero,
        blob_gain=one,
    )
