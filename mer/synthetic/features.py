"""Paint the features of a face: ears, eyes, brows, nose, mouth, freckles and glasses.

All of them are drawn over the lit skin; lengths are in eye distances (see `mer.synthetic.persons`).
"""

import numpy as np

from mer.synthetic.painter import Canvas, Curve, disc, mirrored, shifted, smooth_curve
from mer.synthetic.persons import Looks


def paint_features(canvas: Canvas, face: Looks, rng: np.random.Generator) -> None:
    """Paint all features but hair and glasses, which lie over them."""
    _paint_freckles(canvas, face, rng)
    _paint_ears(canvas, face)
    for side in (1, -1):
        _paint_eye(canvas, face, side)
        _paint_brow(canvas, face, side, rng)
    _paint_nose(canvas, face)
    _paint_mouth(canvas, face)


def ear_outline(face: Looks) -> Curve:
    """Contour of the ear in the picture's right half."""
    w = face.width
    return smooth_curve(
        [(w - 0.06, -0.1), (w + 0.09, -0.12), (w + 0.13, 0.1), (w + 0.07, 0.42), (w - 0.06, 0.46)],
        closed=True,
    )


def _paint_freckles(canvas: Canvas, face: Looks, rng: np.random.Generator) -> None:
    for _ in range(face.freckles):
        spot = (
            float(rng.uniform(-0.85, 0.85) * face.width),
            float(rng.uniform(-0.7, face.chin - 0.15)),
        )
        radius = float(rng.uniform(0.007, 0.017))
        canvas.darken(disc(spot, radius), float(rng.uniform(0.15, 0.45)), blur=0.006)


def _paint_ears(canvas: Canvas, face: Looks) -> None:
    for turn in (lambda c: c, mirrored):
        canvas.fill(turn(ear_outline(face)), tuple(np.array(face.skin) * 0.74), blur=0.02)
        inner = disc((face.width + 0.05, 0.12), 0.03, 0.16)
        canvas.darken(turn(inner), 0.3, blur=0.02)


def _paint_eye(canvas: Canvas, face: Looks, side: int) -> None:
    w, h, slant = face.eye_width, face.eye_height, face.eye_slant

    def place(knots: list[tuple[float, float]]) -> Curve:
        return smooth_curve(knots) * (w, h) * (side, 1) + (side * 0.5, 0)

    def tilt(curve: Curve) -> Curve:
        return curve - np.stack([0 * curve[:, 0], slant * (np.abs(curve[:, 0]) - 0.5) / w], 1)

    upper = tilt(place([(-1, 0.25), (-0.62, -0.55), (0, -1.0), (0.62, -0.7), (1, 0.05)]))
    lower = tilt(place([(1, 0.05), (0.5, 0.72), (0, 0.9), (-0.5, 0.7), (-1, 0.25)]))
    almond = np.vstack([upper, lower])
    canvas.darken(disc((side * 0.47, -0.02), w * 1.25, h * 2.1), 0.2, blur=0.07)  # socket
    canvas.fill(almond, (206, 212, 216), blur=0.006)
    opening = np.zeros(canvas.picture.shape[:2], np.float32)
    window, cover = canvas.mask(almond, 0.006)
    opening[window] = cover
    pupil = (side * 0.5, -0.012)
    radius = 0.112
    canvas.fill(disc(pupil, radius), tuple(np.array(face.iris) * 0.55), 0.01, within=opening)
    canvas.fill(disc(pupil, radius * 0.84), face.iris, 0.012, within=opening)
    canvas.fill(disc(pupil, radius * 0.42), (14, 12, 12), 0.008, within=opening)
    lid_shadow = shifted(upper, 0.035)
    canvas.fill(lid_shadow, (50, 50, 60), 0.02, 0.45, width=0.06, within=opening)
    glint = (pupil[0] + 0.04 * np.sign(face.light[0]), pupil[1] - 0.04)
    canvas.fill(disc(glint, 0.018), (250, 250, 250), 0.005, within=opening)
    dark = tuple(np.array(face.skin) * 0.22)
    canvas.fill(upper, dark, 0.007, 0.9, width=0.026)
    canvas.fill(lower, tuple(np.array(face.skin) * 0.45), 0.008, 0.6, width=0.014)
    corner = disc((side * (0.5 - w * 0.94), h * 0.22), 0.022, 0.016)
    canvas.fill(corner, (110, 120, 190), 0.006, 0.8)
    canvas.darken(shifted(upper, -0.055), 0.3, blur=0.014, width=0.016)  # crease
    canvas.darken(shifted(lower, 0.075), 0.14, blur=0.025, width=0.02)  # bag


def _paint_brow(canvas: Canvas, face: Looks, side: int, rng: np.random.Generator) -> None:
    y, arch, t = -face.brow_height, face.brow_arch, face.brow_weight
    spine = smooth_curve(
        [(0.2, y + 0.03), (0.42, y - 0.6 * arch), (0.62, y - arch), (0.86, y + 0.02)], steps=16
    )
    thick = t * np.clip(
        np.interp(spine[:, 0], [0.2, 0.35, 0.62, 0.86], [0.75, 1.0, 0.8, 0.25]), 0, 1
    )
    colour = tuple(np.array(face.hair) * 0.75)
    shape = np.vstack(
        [
            spine - np.stack([0 * thick, thick / 2], 1),
            (spine + np.stack([0 * thick, thick / 2], 1))[::-1],
        ]
    )
    canvas.fill(shape * (side, 1), colour, 0.02, 0.65)
    for _ in range(70):
        at = int(rng.integers(len(spine)))
        root = shifted(spine[at], float(rng.uniform(-0.5, 0.5)) * thick[at])
        tip = root + rng.uniform((0.03, -0.05), (0.07, 0.01))
        canvas.fill(
            np.array([root, tip]) * (side, 1),
            colour,
            0.003,
            float(rng.uniform(0.3, 0.8)),
            width=0.008,
        )


def _paint_nose(canvas: Canvas, face: Looks) -> None:
    w, tip = face.nose_width, face.nose
    for turn in (lambda c: c, mirrored):
        wing = smooth_curve(
            [(w - 0.04, tip - 0.1), (w + 0.01, tip), (w - 0.01, tip + 0.09), (w - 0.09, tip + 0.1)]
        )
        canvas.darken(turn(wing), 0.3, blur=0.016, width=0.022)
        canvas.darken(turn(disc((0.5 * w - 0.005, tip + 0.095), 0.052, 0.024)), 0.62, blur=0.012)
        fold = smooth_curve(
            [
                (w + 0.03, tip + 0.03),
                (0.38, tip + 0.2),
                (face.mouth_width + 0.06, face.mouth - 0.02),
            ]
        )
        canvas.darken(turn(fold), 0.13, blur=0.03, width=0.03)
    canvas.darken(
        smooth_curve([(-0.1, tip + 0.12), (0, tip + 0.145), (0.1, tip + 0.12)]),
        0.28,
        0.016,
        width=0.02,
    )
    canvas.darken(smooth_curve([(0, tip + 0.18), (0, face.mouth - 0.13)]), 0.1, 0.025, width=0.04)


def _paint_mouth(canvas: Canvas, face: Looks) -> None:
    w, y, lip = face.mouth_width, face.mouth, face.lip
    up = 0.62 * lip
    line = smooth_curve(
        [(-w, y), (-0.5 * w, y + 0.006), (0, y + 0.014), (0.5 * w, y + 0.006), (w, y)]
    )
    top = [(w, y), (0.55 * w, y - 0.7 * up), (0.2 * w, y - 1.15 * up), (0, y - 0.95 * up)]
    top += [(-x, v) for x, v in reversed(top[:-1])]
    bottom = smooth_curve(
        [
            (-w, y),
            (-0.6 * w, y + 0.72 * lip),
            (0, y + lip + 0.014),
            (0.6 * w, y + 0.72 * lip),
            (w, y),
        ]
    )
    red = np.array(face.skin) * (0.62, 0.58, 0.86)
    canvas.darken(shifted(bottom, 0.05), 0.18, blur=0.04, width=0.05)  # shadow under the lip
    canvas.fill(np.vstack([line, smooth_curve(top)]), tuple(red * 0.86), blur=0.012, opacity=0.85)
    canvas.fill(np.vstack([bottom, line[::-1]]), tuple(red * 1.04), blur=0.012, opacity=0.85)
    canvas.fill(
        disc((0, y + 0.55 * lip), 0.4 * w, 0.2 * lip), (225, 225, 245), blur=0.025, opacity=0.18
    )
    canvas.fill(line, tuple(red * 0.28), 0.007, 0.9, width=0.016)
    for side in (1, -1):
        canvas.darken(disc((side * (w + 0.01), y), 0.022), 0.4, blur=0.016)


def paint_glasses(canvas: Canvas, face: Looks) -> None:
    """Paint the frame of glasses."""
    frame = (45, 40, 40)
    for side in (1, -1):
        lens = disc((side * 0.5, 0.05), 0.37, 0.27, points=48)
        canvas.fill(np.vstack([lens, lens[:1]]), frame, 0.006, 0.9, width=0.03)
        canvas.fill(
            np.array([(side * 0.86, -0.02), (side * face.width, -0.08)]),
            frame,
            0.006,
            0.9,
            width=0.03,
        )
    canvas.fill(
        smooth_curve([(-0.13, 0.0), (0, -0.04), (0.13, 0.0)]), frame, 0.006, 0.9, width=0.03
    )
