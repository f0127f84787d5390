"""Pairs of face pictures with a known motion between them.

A portrait of `mer.synthetic` passes the real face stage; the crop is moved by splines of order 5
(`cv2.remap` itself would be off by several hundredths of a pixel) and both pictures get noise of
their own.
"""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage

from mer.prepare import faces
from mer.synthetic.camera import CAMERAS
from mer.synthetic.motion import Unit, field
from mer.synthetic.persons import looks, points
from mer.synthetic.portrait import paint
from mer.synthetic.seeds import generator

SIZE = 224
PERSONS = (("casme2", "sub02"), ("casme2", "sub09"), ("samm", "014"), ("smic", "s11"))
#: Greatest motion of a pair in px of the crop; 0 shows what a method makes of noise.
MOTIONS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
NOISES = (0, 2, 5)
#: Action units of the local motions: brows raised, brows lowered, lip corners pulled.
ACTS = ((1, 2), (4,), (12,), (1, 2, 12))
DIRECTIONS = (20.0, 110.0, 200.0, 290.0)  # degrees, of the shifts: one per person


class Face(NamedTuple):
    """A crop without noise: grey levels, inside of the face, local motion of greatest length 1."""

    grey: np.ndarray
    inside: np.ndarray
    local: np.ndarray
    shift: np.ndarray


class Pair(NamedTuple):
    """Onset and apex (uint8) and the true motion (H, W, 2) inside the face."""

    person: str
    kind: str
    motion: float
    noise: int
    onset: np.ndarray
    apex: np.ndarray
    truth: np.ndarray
    inside: np.ndarray


def portraits(count: int = len(PERSONS)) -> list[Face]:
    """Paint, find and cut out the faces."""
    made = []
    with faces.FaceFinder() as finder:
        for i, (dataset, subject) in enumerate(PERSONS[:count]):
            camera, face = CAMERAS[dataset], looks(dataset, subject, 0)
            rng = generator(0, "portrait", dataset, subject)
            portrait = paint(face, camera.size, camera.scale, rng)
            (left, top), (width, height) = portrait.layout.corner, portrait.layout.size
            picture = portrait.backdrop.astype(np.float32)
            window = picture[top : top + height, left : left + width]
            cover = portrait.cover[..., None].astype(np.float32) / 255
            window += cover * (portrait.head - window)
            rgb = np.ascontiguousarray(np.clip(picture, 0, 255).round().astype(np.uint8)[..., ::-1])
            landmarks = finder.find(rgb)
            matrix = faces.similarity(landmarks, SIZE, 0.15)
            cut = faces.crop(rgb, matrix, SIZE)
            inside = faces.oval(faces.move(landmarks, matrix), SIZE)
            # Pixels of the crop in eye distances from the middle between the eyes.
            back = cv2.invertAffineTransform(matrix)
            eyes = np.array(portrait.layout.corner) + portrait.layout.origin
            axis = np.arange(SIZE)
            x = (back[0, 0] * axis + back[0, 1] * SIZE / 2 + back[0, 2] - eyes[0]) / camera.scale
            y = (back[1, 1] * axis + back[1, 0] * SIZE / 2 + back[1, 2] - eyes[1]) / camera.scale
            units = [Unit(number, 1.0, 1.0) for number in ACTS[i]]
            local = field(units, points(face), x, y, face.mouth)
            local /= np.hypot(*np.moveaxis(local, -1, 0))[inside].max()
            angle = np.deg2rad(DIRECTIONS[i])
            shift = np.tile(np.float32([np.cos(angle), np.sin(angle)]), (SIZE, SIZE, 1))
            grey = cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY).astype(np.float64)
            made.append(Face(grey, inside, local, shift))
    return made


def pairs(
    made: list[Face],
    motions: tuple[float, ...] = MOTIONS,
    noises: tuple[int, ...] = NOISES,
    kinds: tuple[str, ...] = ("shift", "local"),
    exact: bool = False,
) -> Iterator[Pair]:
    """Move every face by every motion and add every noise; `exact` leaves out the 8 bits."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    for i, face in enumerate(made):
        spline = ndimage.spline_filter(face.grey, order=5)
        for kind in kinds:
            for motion in motions:
                if motion == 0 and kind != kinds[0]:
                    continue
                truth = motion * (face.shift if kind == "shift" else face.local)
                # Flow says: the onset shows at x what the apex shows at x + u.
                at = [y + truth[..., 1], x + truth[..., 0]]
                moved = ndimage.map_coordinates(
                    spline, at, order=5, prefilter=False, mode="nearest"
                )
                for noise in noises:
                    rng = np.random.default_rng([i, noise, round(100 * motion)])
                    onset, apex = (_expose(picture, noise, rng) for picture in (moved, face.grey))
                    if exact:
                        onset, apex = moved.astype(np.float32), face.grey.astype(np.float32)
                    person = "/".join(PERSONS[i])
                    name = "still" if motion == 0 else kind
                    yield Pair(person, name, motion, noise, onset, apex, truth, face.inside)


def _expose(grey: np.ndarray, noise: int, rng: np.random.Generator) -> np.ndarray:
    seen = grey + rng.normal(0, 1, grey.shape) * noise
    return np.clip(seen, 0, 255).round().astype(np.uint8)
