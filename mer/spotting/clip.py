"""Spots the apex of a clip that holds one expression, such as the clips of CASME II or SMIC."""

from collections.abc import Iterable

import numpy as np

from mer.prepare import faces
from mer.spotting.bumps import smoothed
from mer.spotting.regions import EXPRESSIVE, SIZE, FaceMotion
from mer.spotting.spotted_expression import Interval
from mer.spotting.stream import Frame

#: Least motion of a region that is told from noise, px of a crop of 224 px.
LEAST = 0.02


def spot_clip(
    frames: Iterable[Frame], finder: faces.FaceFinder, margin: float = 0.15
) -> Interval | None:
    """Find the apex of a clip: the frame that is farthest from its first and last frame.

    Regions are measured against the first frame that shows a face; what moves evenly from the first
    to the last frame, as a drifting head does, is taken out, and a region counts in multiples of
    its noise, the difference between a frame and its neighbours.

    Returns:
        Numbers of the first frame, the apex and the last frame, and the motion at the apex in px of
        a crop of 224 px; None where no frame shows a face or the clip has less than three.
    """
    motion, numbers, shifts = FaceMotion(), [], []
    matrix = landmarks = None
    for frame in frames:
        if landmarks is None or matrix is None:
            landmarks = finder.find(frame.picture)
            if landmarks is None:
                continue
            matrix = faces.similarity(landmarks, SIZE, margin)
        measured, matrix = motion.measure(frame.picture, matrix, landmarks, renew=False)
        numbers.append(frame.number)
        shifts.append(measured.shifts[: len(EXPRESSIVE)])
    if len(numbers) < 3:
        return None
    place, strength = farthest(np.array(shifts))
    return Interval(numbers[0], numbers[place], numbers[-1], strength)


def farthest(shifts: np.ndarray) -> tuple[int, float]:
    """Position of the apex in the motion of a clip, and the motion there.

    Args:
        shifts: Shifts of the regions since the first frame, (T, R, 2).
    """
    rough = shifts[1:-1] - (shifts[:-2] + shifts[2:]) / 2
    noise = np.maximum(np.median(np.hypot(rough[..., 0], rough[..., 1]), axis=0), LEAST)
    even = smoothed(shifts)
    share = np.linspace(0, 1, len(shifts))[:, None, None]
    away = even - (even[0] + share * (even[-1] - even[0]))
    scaled = away / noise[:, None]
    squares = (scaled**2).sum(axis=2)
    # The direction of the strongest moment says what the expression is; the apex is where most of
    # the motion in that direction is.
    strongest = scaled[int(np.sort(squares, axis=1)[:, -3:].sum(axis=1).argmax())]
    along = np.einsum("tra,ra->t", scaled, strongest)
    apex = int(along.argmax())
    lengths = np.sort(np.hypot(*away[apex].T))
    return apex, float(lengths[-3:].mean())
