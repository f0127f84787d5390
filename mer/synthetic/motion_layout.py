"""How faces lie in the pictures of synthetic motion: from the canonical face to pixels."""

from dataclasses import dataclass

import numpy as np

from mer.synthetic.motion_draws import Array, Faces


@dataclass(frozen=True)
class Layout:
    """How faces lie in pictures, and what the pictures hold.

    Attributes:
        width: Width of a picture in outer-eye distances.
        height: Its height; differs from the width where faces were squeezed into a square.
        middle: y of the picture's centre, from the outer eye corners downwards.
        scale: Standard deviation of the faces' relative size, across and along.
        shift: Standard deviation of their place, in eye distances.
        angle: Standard deviation of their turn, in radians.
        peak: Least and greatest displacement of a full unit, in eye distances.
        head: Strength of the head's motion that is left.
        masked: Whether the motion outside of the face was set to zero.
        stretched: Whether each channel was stretched from its minimum to its maximum and stored
            in 8 bits; lengths in pixels are lost then.
        pixels: Side of the pictures; None for any.
    """

    width: float
    height: float
    middle: float
    scale: tuple[float, float]
    shift: tuple[float, float]
    angle: float
    peak: tuple[float, float] = (0.0032, 0.0128)
    head: float = 1.0
    masked: bool = False
    stretched: bool = False
    pixels: int | None = None


#: The flow pictures of MEGC2019 as published, 28 x 28. Measured on the landmarks of the 442 face
#: crops that were published with them: 20.5 px per eye distance across, 16.3 along, outer eye
#: corners at row 8.1, with standard deviations of 8 %, 0.5 and 1.5 px and 0.03.
MEGC2019 = Layout(
    width=28 / 20.5,
    height=28 / 16.3,
    middle=(13.5 - 8.1) / 16.3,
    scale=(0.08, 0.08),
    shift=(0.025, 0.09),
    angle=0.035,
    stretched=True,
    pixels=28,
)

#: Half the width and height of a face, and y of its middle, in eye distances.
_FACE, _FACE_MIDDLE = (0.78, 0.88), 0.33


def placed(points: Array, faces: Faces) -> tuple[Array, Array]:
    """Move points of the canonical face to where they are on N faces.

    Args:
        points: Eye distances. Shape: (K, 2) or (N, K, 2).
        faces: Shapes of the faces.

    Returns:
        x and y in eye distances. Shape: (N, K) each.
    """
    x, y = (points[..., axis] * faces.scale[:, axis, None] for axis in (0, 1))
    cosine, sine = np.cos(faces.angle)[:, None], np.sin(faces.angle)[:, None]
    return (
        cosine * x - sine * y + faces.shift[:, 0, None],
        sine * x + cosine * y + faces.shift[:, 1, None],
    )


def grid(layout: Layout, size: int) -> tuple[Array, Array]:
    """Return x of the columns and y of the rows of a picture, in eye distances. (S,) each."""
    share = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    along = share * np.float32(layout.height) + np.float32(layout.middle)
    return share * np.float32(layout.width), along


def bells(
    centres: tuple[Array, Array], spreads: tuple[Array, Array], layout: Layout, size: int
) -> tuple[Array, Array]:
    """Compute bell curves along rows and columns, whose products are blobs.

    Args:
        centres: x and y in eye distances. Shape: (N, K) each.
        spreads: Standard deviations across and along. Shape: (N, K) each.
        layout: How faces lie in the picture.
        size: Side S of the picture in pixels.

    Returns:
        Values at the columns and at the rows. Shape: (N, K, S) each.
    """
    x, y = grid(layout, size)
    return _bell(x, centres[0], spreads[0]), _bell(y, centres[1], spreads[1])


def _bell(steps: Array, centre: Array, spread: Array) -> Array:
    narrow = np.float32(0.5**0.5) / spread
    bell = steps * narrow[..., None]
    bell -= (centre * narrow)[..., None]
    np.square(bell, out=bell)
    np.negative(bell, out=bell)
    return np.exp(bell, out=bell)


def outside(faces: Faces, layout: Layout, size: int) -> Array:
    """Mark what is not face: 0 inside of an ellipse, 1 outside, softly. Shape: (N, S, S)."""
    x, y = grid(layout, size)
    radii = np.array(_FACE, np.float32) * faces.scale
    across = np.square((x - faces.shift[:, :1]) / radii[:, :1])
    middle = _FACE_MIDDLE * faces.scale[:, 1:] + faces.shift[:, 1:]
    along = np.square((y - middle) / radii[:, 1:])
    distance = (along[:, :, None] + across[:, None, :]).clip(0, 4)
    marked: Array = 1 / (1 + np.exp(-8 * (distance - 1)))
    return marked
