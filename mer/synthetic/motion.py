"""Facial action units as smooth displacement fields, wrinkles and an opening mouth.

Each action unit of the Facial Action Coding System (Ekman, Friesen and Hager, 2002) is a few local
pulls of the skin around the points where its muscle acts.
"""

from typing import NamedTuple

import cv2
import numpy as np

from mer.synthetic.painter import mirrored, smooth_curve
from mer.synthetic.persons import Points
from mer.synthetic.portrait import Layout


class Unit(NamedTuple):
    """An acted action unit and its strengths.

    `left` is the person's left half, which lies right in the picture. Strengths are relative to
    each other: the greatest displacement of a clip is its peak.
    """

    number: int
    left: float
    right: float

    @property
    def code(self) -> str:
        """The unit as coders write it: `12`, or `L12`, `R12` where only one half takes part."""
        return f"{'' if self.left and self.right else 'L' if self.left else 'R'}{self.number}"


class Pull(NamedTuple):
    """A bell-shaped displacement: `at` a point, by (dx, dy), with radii (rx, ry) in eye distances.

    `lips` limits it to the part above (-1) or below (+1) the line between the lips.
    """

    at: str
    dx: float
    dy: float
    rx: float
    ry: float
    lips: int = 0


#: Action unit -> pulls of the picture's right half; dx > 0 leads away from the middle of the face.
PULLS: dict[int, tuple[Pull, ...]] = {
    1: (Pull("brow_inner", 0.05, -1.0, 0.24, 0.26),),
    2: (Pull("brow_outer", 0.0, -1.0, 0.28, 0.26), Pull("brow_middle", 0.0, -0.35, 0.2, 0.22)),
    4: (Pull("brow_inner", -0.45, 0.8, 0.24, 0.22), Pull("brow_middle", -0.2, 0.45, 0.25, 0.2)),
    5: (Pull("lid_upper", 0.0, -0.55, 0.26, 0.11),),
    6: (Pull("cheek", 0.1, -0.65, 0.32, 0.28), Pull("eye_outer", -0.25, 0.05, 0.18, 0.16)),
    7: (Pull("lid_lower", 0.0, -0.5, 0.26, 0.12), Pull("lid_upper", 0.0, 0.25, 0.26, 0.1)),
    9: (
        Pull("nose_wing", 0.05, -0.8, 0.2, 0.24),
        Pull("nose_root", -0.1, 0.35, 0.18, 0.2),
        Pull("lip_upper", 0.0, -0.4, 0.26, 0.14, -1),
    ),
    10: (Pull("lip_upper", 0.0, -0.85, 0.26, 0.16, -1), Pull("fold", 0.1, -0.5, 0.22, 0.22)),
    12: (Pull("mouth_corner", 0.7, -0.75, 0.19, 0.2), Pull("fold", 0.3, -0.35, 0.2, 0.22)),
    14: (Pull("mouth_corner", 0.75, 0.05, 0.15, 0.15), Pull("fold", -0.2, 0.15, 0.18, 0.18)),
    15: (Pull("mouth_corner", 0.1, 0.95, 0.2, 0.22),),
    17: (Pull("chin", 0.0, -0.85, 0.3, 0.24, 1), Pull("lip_lower", 0.0, -0.45, 0.3, 0.14)),
    20: (Pull("mouth_corner", 0.95, 0.15, 0.22, 0.2),),
    23: (
        Pull("mouth_corner", -0.55, 0.0, 0.2, 0.16),
        Pull("lip_upper", -0.1, 0.3, 0.26, 0.1, -1),
        Pull("lip_lower", 0.0, -0.3, 0.28, 0.12, 1),
    ),
    24: (
        Pull("lip_upper", 0.0, 0.55, 0.28, 0.13, -1),
        Pull("lip_lower", 0.0, -0.65, 0.32, 0.15, 1),
    ),
    25: (Pull("lip_lower", 0.0, 0.65, 0.32, 0.24, 1), Pull("lip_upper", 0.0, -0.2, 0.26, 0.12, -1)),
    26: (Pull("chin", 0.0, 0.75, 0.5, 0.34, 1), Pull("lip_lower", 0.0, 0.6, 0.34, 0.3, 1)),
    27: (Pull("chin", 0.0, 0.9, 0.5, 0.36, 1), Pull("lip_lower", 0.0, 0.7, 0.36, 0.34, 1)),
    43: (Pull("lid_upper", 0.0, 0.8, 0.3, 0.12), Pull("lid_lower", 0.0, -0.15, 0.26, 0.1)),
}

#: Action unit -> skin folds of the picture's right half: steps (x, y) from a point, darkness.
FOLDS: dict[int, tuple[tuple[str, tuple[tuple[float, float], ...], float], ...]] = {
    1: (("brow_inner", ((-0.3, -0.2), (-0.1, -0.23), (0.15, -0.2)), 0.3),),
    2: (("brow_middle", ((-0.1, -0.16), (0.15, -0.2), (0.35, -0.13)), 0.3),),
    4: (("brow_inner", ((-0.17, -0.1), (-0.15, 0.04), (-0.17, 0.16)), 0.45),),
    6: (
        ("eye_outer", ((0.05, -0.06), (0.17, -0.12)), 0.3),
        ("eye_outer", ((0.05, 0.03), (0.18, 0.06)), 0.3),
        ("lid_lower", ((-0.2, 0.08), (0.0, 0.13), (0.24, 0.08)), 0.3),
    ),
    7: (("lid_lower", ((-0.2, 0.05), (0.0, 0.09), (0.2, 0.05)), 0.25),),
    9: (
        ("nose_root", ((-0.02, 0.0), (0.06, 0.12)), 0.4),
        ("nose_root", ((0.03, -0.03), (0.13, 0.1)), 0.35),
        ("nose_wing", ((0.02, -0.12), (0.1, 0.02), (0.13, 0.14)), 0.35),
    ),
    10: (("nose_wing", ((0.02, -0.06), (0.12, 0.1), (0.17, 0.28)), 0.35),),
    12: (("nose_wing", ((0.04, 0.0), (0.18, 0.14), (0.3, 0.38)), 0.4),),
    14: (("mouth_corner", ((0.05, -0.06), (0.08, 0.0), (0.05, 0.07)), 0.45),),
    15: (("mouth_corner", ((0.03, 0.05), (0.08, 0.14), (0.09, 0.22)), 0.35),),
    17: (("chin", ((0.0, -0.12), (0.1, -0.1), (0.18, -0.04)), 0.35),),
    20: (("mouth_corner", ((0.1, -0.12), (0.13, 0.0), (0.12, 0.12)), 0.25),),
}

_FOLD_AT = 0.1  # peak motion in eye distances at which folds have their full darkness


def field(
    units: list[Unit], places: Points, x: np.ndarray, y: np.ndarray, mouth: float
) -> np.ndarray:
    """Return the displacement of acted units; a single unit of strength 1 reaches about 1.

    Args:
        units: Action units and their strengths.
        places: The person's points (`persons.points`).
        x: Columns of the grid in eye distances, (W,).
        y: Rows of the grid, (H,).
        mouth: y of the line between the lips.

    Returns:
        (H, W, 2) float32, right and down.
    """
    total = np.zeros((len(y), len(x), 2), np.float32)
    below = 1 / (1 + np.exp(-np.clip((y - mouth) / 0.012, -30, 30)))
    for unit in units:
        for pull in PULLS[unit.number]:
            px, py = places[pull.at]
            down = np.exp(-0.5 * ((y - py) / pull.ry) ** 2)
            down = down * (below if pull.lips > 0 else 1 - below if pull.lips < 0 else 1)
            for side, strength in _sides(unit, px):
                bell = np.outer(down, np.exp(-0.5 * ((x - side * px) / pull.rx) ** 2)) * strength
                total[..., 0] += side * pull.dx * bell
                total[..., 1] += pull.dy * bell
    return total


def _sides(unit: Unit, px: float) -> tuple[tuple[int, float], ...]:
    """Halves of the face in which a point lies, with the strength there; the middle counts once."""
    if px == 0:
        return ((1, 0.5 * (unit.left + unit.right)),)
    return ((1, unit.left), (-1, unit.right))


def wrinkles(units: list[Unit], places: Points, place: Layout, peak: float) -> np.ndarray:
    """Return the darkening by skin folds at the apex, (h, w) float32 in 0..1.

    `peak` is the clip's greatest motion in eye distances; the folds grow with it.
    """
    dark = np.zeros(place.size[::-1], np.float32)
    for unit in units:
        for at, steps, depth in FOLDS.get(unit.number, ()):
            px, py = places[at]
            curve = smooth_curve([(px + dx, py + dy) for dx, dy in steps])
            for side, strength in ((1, unit.left), (-1, unit.right)):
                layer = np.zeros(dark.shape, np.uint8)
                line = (curve if side > 0 else mirrored(curve)) * place.scale + place.origin
                fixed = np.round(line * 16).astype(np.int32)[None]
                cv2.polylines(
                    layer, fixed, False, 255, max(1, round(0.02 * place.scale)), cv2.LINE_AA, 4
                )
                dark += layer.astype(np.float32) * (strength * depth / 255)
    dark *= min(peak / _FOLD_AT, 1.3)
    return np.minimum(cv2.GaussianBlur(dark, (0, 0), 0.024 * place.scale), 0.5)


def mouth_gap(
    units: list[Unit], places: Points, mouth: float, amount: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the edges of the opened lips, upper and lower, each (n, 2) in eye distances.

    `amount` is what a pull of 1 means in eye distances. None where no unit parts the lips.
    """
    if not any(unit.number in (25, 26, 27) for unit in units):
        return None
    corner = places["mouth_corner"][0]
    x = np.linspace(-0.9 * corner, 0.9 * corner, 25)
    taper = 1 - (x / x[-1]) ** 2
    edges = []
    for offset in (-0.05, 0.05):
        moved = field(units, places, x, np.array([mouth + offset]), mouth)[0] * amount
        line = mouth + 0.012 * taper
        edges.append(np.stack([x + moved[:, 0], line + moved[:, 1] * (0.25 + 0.75 * taper)], 1))
    upper, lower = edges
    lower[:, 1] = np.maximum(lower[:, 1], upper[:, 1])
    return upper, lower
