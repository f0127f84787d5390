"""Synthetic motion: fields of u, v and strain of expressions, without any face.

A field holds the action units of an expression, stronger on one half or on both, a blink, a shift
of the gaze, the head's motion, and noise; faces differ in shape. The samples are endless and drawn
by blocks: sample i of a seed is a function of the two alone, on one machine to the last bit.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mer.randomness import generator
from mer.synthetic.motion_disturbance import disturb
from mer.synthetic.motion_draws import (
    BLOB_HALVES,
    BLOB_UNITS,
    BLOBS,
    Array,
    Combinations,
    Faces,
    draw_acted,
    draw_faces,
)
from mer.synthetic.motion_layout import Layout, bells, placed

#: Samples that are drawn together.
BLOCK = 64


class Fields(NamedTuple):
    """Fields of N samples.

    Attributes:
        flow: u and v in pixels, and strain. Shape: (N, 3, S, S), float32.
        units: Intensities of the left and the right half, see `Acted`. Shape: (N, 2, U).
        classes: Class numbers or -1. Shape: (N,), int64.
    """

    flow: Array
    units: Array
    classes: NDArray[np.int64]


class MotionFields:
    """The samples of one seed.

    Args:
        seed: Seed of all that is drawn.
        size: Side S of the fields in pixels.
        layout: How faces lie in them.
        shown: What the classes show.
        free: Probability of units without an emotion, class -1.
    """

    def __init__(
        self, seed: int, size: int, layout: Layout, shown: Combinations, free: float = 0.3
    ) -> None:
        self.seed, self.size, self.layout = seed, size, layout
        self.shown, self.free = shown, free
        self._last: tuple[int, Fields] | None = None

    def take(self, start: int, count: int) -> Fields:
        """Return `count` samples from number `start` on."""
        first, last = start // BLOCK, (start + count - 1) // BLOCK
        blocks = [self._block(number) for number in range(first, last + 1)]
        places = slice(start - first * BLOCK, start - first * BLOCK + count)
        return Fields(*(np.concatenate(parts)[places] for parts in zip(*blocks, strict=True)))

    def _block(self, number: int) -> Fields:
        if self._last is None or self._last[0] != number:
            source = generator("synthetic motion", self.seed, number)
            self._last = number, self._draw(source)
        return self._last[1]

    def _draw(self, source: np.random.Generator) -> Fields:
        layout, size = self.layout, self.size
        acted = draw_acted(source, BLOCK, self.shown, self.free)
        faces = draw_faces(source, BLOCK, layout.scale, layout.shift, layout.angle)
        low, high = np.log(np.array(layout.peak, np.float32))
        peak = np.exp(low + (high - low) * source.random(BLOCK, np.float32))
        motion = disturb(skin_motion(acted.units, faces, layout, size), faces, layout, source)
        motion *= (peak * np.float32(size / layout.width))[:, None, None, None]
        flow = np.concatenate([motion, strain(motion)[:, None]], axis=1)
        return Fields(stretch(flow) if layout.stretched else flow, acted.units, acted.classes)


def skin_motion(units: Array, faces: Faces, layout: Layout, size: int) -> Array:
    """Compute the displacements by action units; a unit of intensity 1 reaches about 1.

    Args:
        units: Intensities, see `Acted`. Shape: (N, 2, U).
        faces: Shapes of the faces.
        layout: How faces lie in the picture.
        size: Side S of the fields in pixels.

    Returns:
        u and v in the picture. Shape: (N, 2, S, S), float32.
    """
    amounts = units[:, BLOB_HALVES, BLOB_UNITS] * faces.blob_gain
    centres = placed(BLOBS[:, :2] + faces.blob_shift, faces)
    across, along = (BLOBS[:, 2 + k] * faces.blob_scale * faces.scale[:, k, None] for k in (0, 1))
    columns, rows = bells(centres, (across, along), layout, size)
    angle = faces.angle[:, None] + faces.blob_angle
    cosine, sine = np.cos(angle), np.sin(angle)
    dx = amounts * (cosine * BLOBS[:, 4] - sine * BLOBS[:, 5])
    dy = amounts * (sine * BLOBS[:, 4] + cosine * BLOBS[:, 5])
    dy *= np.float32(layout.width / layout.height)  # a squeezed picture squeezes them too
    rows = np.swapaxes(rows, 1, 2)
    return np.stack([rows @ (columns * d[..., None]) for d in (dx, dy)], axis=1)


def strain(motion: Array) -> Array:
    """Compute the optical strain magnitude as `mer.prepare.flow` does.

    Args:
        motion: u and v in pixels. Shape: (N, 2, S, S).

    Returns:
        Shape: (N, S, S), float32.
    """
    du_dy, dv_dy = np.moveaxis(np.gradient(motion, axis=2), 1, 0)
    du_dx, dv_dx = np.moveaxis(np.gradient(motion, axis=3), 1, 0)
    magnitude: Array = np.sqrt(du_dx**2 + dv_dy**2 + (du_dy + dv_dx) ** 2 / 2)
    return magnitude


def stretch(flow: Array) -> Array:
    """Store flow as published pictures do, and read it as `mer.prepare.precomputed` does."""
    low, high = (end(flow, axis=(2, 3), keepdims=True) for end in (np.min, np.max))
    grey: Array = np.round(255 * (flow - low) / np.maximum(high - low, np.float32(1e-12)))
    grey[:, :2] -= np.median(grey[:, :2], axis=(2, 3), keepdims=True)
    grey /= np.array([128, 128, 255], np.float32)[:, None, None]
    return grey
