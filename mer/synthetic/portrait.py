"""Paint the neutral portrait of a made-up person: lit skin, features, hair, clothes, wall.

The head is kept apart from what is behind it, so that it can move before a resting backdrop.
"""

from typing import NamedTuple

import cv2
import numpy as np

from mer.synthetic.features import ear_outline, paint_features, paint_glasses
from mer.synthetic.painter import Canvas, Curve, mirrored, smooth_curve
from mer.synthetic.persons import Looks

_OVERSAMPLING = 2


class Layout(NamedTuple):
    """The part of a picture that is painted and moved: the head with some room around it.

    Attributes:
        corner: Column and row of its upper left pixel in the picture.
        size: Width and height in pixels.
        origin: Pixel (x, y) of the point between the eyes, counted from the corner.
        scale: Pixels per eye distance.
    """

    corner: tuple[int, int]
    size: tuple[int, int]
    origin: tuple[float, float]
    scale: float


def layout(size: tuple[int, int], scale: float) -> Layout:
    """Place the head in the middle of a picture of `size` (width, height) pixels."""
    eyes = 0.5 * size[0], 0.5 * size[1] - 0.12 * scale
    left, top = round(eyes[0] - 1.6 * scale), round(eyes[1] - 1.85 * scale)
    box = round(3.2 * scale), round(3.85 * scale)
    return Layout((left, top), box, (eyes[0] - left, eyes[1] - top), scale)


class Portrait(NamedTuple):
    """A neutral face, ready to be moved.

    Attributes:
        head: Head and hair, (h, w, 3) uint8 BGR, as large as the layout says.
        cover: Mask of the head, (h, w) uint8, 255 inside.
        backdrop: Wall, neck and clothes, (H, W, 3) uint8 BGR, the whole picture.
        layout: Place of the head.
    """

    head: np.ndarray
    cover: np.ndarray
    backdrop: np.ndarray
    layout: Layout


def paint(face: Looks, size: tuple[int, int], scale: float, rng: np.random.Generator) -> Portrait:
    """Paint a portrait.

    Args:
        face: The looks.
        size: Width and height of the picture in pixels.
        scale: Pixels per eye distance.
        rng: Source of skin texture, freckles and hair strands.
    """
    place = layout(size, scale)
    eyes = place.corner[0] + place.origin[0], place.corner[1] + place.origin[1]
    backdrop = Canvas(_wall(face, size, rng), scale, eyes)
    _paint_clothes(backdrop, face)

    over = _OVERSAMPLING
    fine = (over * place.size[0], over * place.size[1])
    x, y = place.origin
    fine_origin = (over * (x + 0.5) - 0.5, over * (y + 0.5) - 0.5)
    head = Canvas(cv2.resize(_skin(face, place, rng), fine), scale * over, fine_origin)
    paint_features(head, face, rng)
    _paint_hair(head, face, rng)
    if face.glasses:
        paint_glasses(head, face)
    cover = Canvas(np.zeros((fine[1], fine[0], 1), np.float32), scale * over, fine_origin)
    for outline in (
        _outline(face),
        _hair_outline(face),
        ear_outline(face),
        mirrored(ear_outline(face)),
    ):
        cover.fill(outline, (255,), blur=0.012)

    blur = face.blur * size[1] / 480

    def photograph(picture: np.ndarray) -> np.ndarray:
        soft = cv2.GaussianBlur(picture, (0, 0), blur * over)
        small = cv2.resize(soft, place.size, interpolation=cv2.INTER_AREA)
        return np.clip(np.round(small), 0, 255).astype(np.uint8)

    wall = np.clip(np.round(cv2.GaussianBlur(backdrop.picture, (0, 0), blur)), 0, 255).astype(
        np.uint8
    )
    return Portrait(photograph(head.picture), photograph(cover.picture), wall, place)


def _wall(face: Looks, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    slope = np.linspace(-0.5, 0.5, size[0], dtype=np.float32)[None, :] * np.float32(
        rng.uniform(-0.3, 0.3)
    )
    fall = np.linspace(0.06, -0.12, size[1], dtype=np.float32)[:, None]
    return (1 + slope + fall)[..., None] * np.asarray(face.backdrop, np.float32)


def _paint_clothes(canvas: Canvas, face: Looks) -> None:
    shade = np.array(face.skin) * 0.62
    if face.long_hair:
        side = [(1.15, -0.6), (1.28, 0.4), (1.25, 1.6), (1.0, 2.3)]
        knots = [*side, *((-x, y) for x, y in reversed(side))]
        canvas.fill(smooth_curve(knots, closed=True), tuple(np.array(face.hair) * 0.8), blur=0.03)
    neck = face.width * 0.62
    canvas.fill(
        np.array([(-neck, 0.9), (neck, 0.9), (neck * 1.1, 3.2), (-neck * 1.1, 3.2)]),
        tuple(shade),
        0.02,
    )
    shoulders = [(-3.6, 3.4), (-2.6, 2.45), (-1.0, 2.12), (-0.55, 2.02), (0, 2.3), (0.55, 2.02)]
    shoulders += [(1.0, 2.12), (2.6, 2.45), (3.6, 3.4), (3.6, 5.0), (-3.6, 5.0)]
    canvas.fill(smooth_curve(shoulders, closed=True), face.shirt, blur=0.02)


def _outline(face: Looks) -> Curve:
    """Contour of the head without hair."""
    w, jaw = face.width, face.width * face.jaw
    half = [
        (0.0, face.crown + 0.08),
        (0.62 * w, face.crown + 0.24),
        (0.97 * w, -0.62),
        (w, 0.15),
        (0.95 * w, 0.62),
        (jaw, face.mouth + 0.05),
        (0.55 * jaw, face.chin - 0.17),
        (0.22, face.chin - 0.015),
    ]
    left = [(-x, y) for x, y in reversed(half[1:])]
    return smooth_curve([*half, (0.0, face.chin), *left], closed=True)


def _relief(face: Looks, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the face towards the viewer, in eye distances; (H, W) float32."""
    side = np.abs(x)

    def bump(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return np.exp(-(((side - cx) / rx) ** 2) - ((y - cy) / ry) ** 2)

    middle = 0.5 * (face.crown + face.chin)
    skull = (
        1
        - (x / (face.width * 1.12)) ** 2
        - ((y - middle) / (0.5 * (face.chin - face.crown) * 1.12)) ** 2
    )
    ridge = np.clip((y + 0.15) / (face.nose + 0.1), 0, 1) * (y < face.nose + 0.02)
    z = 0.95 * np.sqrt(np.maximum(skull, 0.02))
    z += cv2.GaussianBlur(
        (0.26 * np.exp(-((x / 0.15) ** 2)) * ridge).astype(np.float32), (0, 0), 2.5
    )
    z += 0.10 * bump(0, face.nose, 0.15, 0.13) + 0.07 * bump(
        face.nose_width - 0.07, face.nose + 0.05, 0.09, 0.08
    )
    z += 0.05 * bump(0.45, -face.brow_height + 0.08, 0.35, 0.12) - 0.08 * bump(
        0.42, 0.0, 0.26, 0.17
    )
    z += 0.04 * bump(0.5, 0.0, 0.2, 0.1) + 0.08 * bump(0.66, 0.5, 0.28, 0.28)
    z += 0.05 * bump(0, face.mouth, 0.34, 0.14) - 0.035 * bump(0, face.mouth + 0.26, 0.25, 0.07)
    z += 0.06 * bump(0, face.chin - 0.2, 0.24, 0.14) - 0.02 * bump(0, face.mouth - 0.2, 0.05, 0.1)
    return z.astype(np.float32)


def _skin(face: Looks, place: Layout, rng: np.random.Generator) -> np.ndarray:
    """Skin all over the layout, lit from one side, with pores and blotches; (h, w, 3) float32."""
    (width, height), scale = place.size, place.scale
    x = ((np.arange(width) - place.origin[0]) / scale)[None, :].astype(np.float32)
    y = ((np.arange(height) - place.origin[1]) / scale)[:, None].astype(np.float32)
    slope_y, slope_x = np.gradient(_relief(face, x, y), 1 / scale)
    normal = np.stack([-slope_x, -slope_y, np.ones_like(slope_x)]) / np.sqrt(
        1 + slope_x**2 + slope_y**2
    )
    light = np.array(face.light) / np.linalg.norm(face.light)
    facing = np.clip(np.tensordot(light, normal, 1), 0, 1)
    shade = 0.42 + 0.66 * facing + 0.10 * facing**24

    texture = np.zeros((height, width), np.float32)
    for grain, amount in ((0.009, 0.03), (0.03, 0.02), (0.12, 0.02)):  # pores, mottling, blotches
        layer = cv2.GaussianBlur(
            rng.normal(size=(height, width)).astype(np.float32), (0, 0), grain * scale
        )
        texture += amount * layer / layer.std()
    colour = np.array(face.skin, np.float32) * (shade * (1 + texture))[..., None].astype(np.float32)

    side = np.abs(x)
    flush = np.exp(-(((side - 0.62) / 0.3) ** 2) - ((y - 0.52) / 0.25) ** 2)
    flush += 0.7 * np.exp(-((x / 0.17) ** 2) - ((y - face.nose) / 0.14) ** 2)
    colour *= 1 - flush[..., None] * np.array([0.12, 0.10, 0.0], np.float32)
    if face.stubble:
        beard = np.clip((y - face.mouth + 0.32) / 0.2, 0, 1) * np.clip(
            (side + 1.1 * y - 1.15) / 0.3, 0, 1
        )
        beard *= 1 - 0.5 * np.exp(-((x / 0.45) ** 2) - ((y - face.mouth) / 0.13) ** 2)
        grain = 1 + 0.6 * texture / texture.std()
        colour *= 1 - (0.3 * face.stubble * beard * grain)[..., None]
    return colour.astype(np.float32)


def _hair_outline(face: Looks) -> Curve:
    w, crown, line = face.width, face.crown, face.hairline
    outer = [(w + 0.02, -0.05), (w + 0.1, -0.55), (0.8 * w, crown + 0.12), (0.0, crown - 0.1)]
    inner = [
        (0.92 * w, -0.15),
        (0.86 * w, -0.5),
        (0.6 * w, line + 0.06),
        (0.0, line - face.forehead),
    ]
    knots = [*outer, *((-x, y) for x, y in reversed(outer[:-1]))]
    knots += [*((-x, y) for x, y in inner), *((x, y) for x, y in reversed(inner[:-1]))]
    return smooth_curve(knots, closed=True)


def _paint_hair(canvas: Canvas, face: Looks, rng: np.random.Generator) -> None:
    outline = _hair_outline(face)
    canvas.fill(outline, face.hair, blur=0.03)
    strands, drawn = np.zeros_like(canvas.picture), np.zeros(canvas.picture.shape[:2], np.uint8)
    for _ in range(130):
        x = float(rng.uniform(-1, 1))
        lean = x + float(rng.normal(0, 0.06))
        knots = [
            (0.35 * x, face.crown - 0.05),
            (0.85 * lean, face.crown + 0.25),
            (1.1 * face.width * lean, -0.2),
        ]
        line = np.round(canvas.pixels(smooth_curve(knots))).astype(np.int32)[None]
        tint = np.clip(np.array(face.hair) * float(rng.uniform(0.5, 1.9)) + 4, 0, 255)
        cv2.polylines(strands, line, False, tint.tolist(), round(0.012 * canvas.scale) + 1)
        cv2.polylines(drawn, line, False, 255, round(0.012 * canvas.scale) + 1)
    canvas.fill(outline, strands, 0.03, 0.4, within=(drawn > 0).astype(np.float32))
