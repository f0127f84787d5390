"""Film a clip: move the neutral portrait frame by frame and add what a camera adds.

The portrait of a person is painted once and only warped per frame, at sub-pixel precision.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from mer.synthetic.expressions import Drift, Performance, act, course
from mer.synthetic.motion import Unit, field, mouth_gap, wrinkles
from mer.synthetic.persons import Looks, looks, points
from mer.synthetic.plan import Clip
from mer.synthetic.portrait import Layout, Portrait, layout, paint
from mer.synthetic.seeds import generator


class Camera(NamedTuple):
    """Picture format of a corpus: width, height, pixels per eye distance, colour or gray."""

    size: tuple[int, int]
    scale: float
    colour: bool


#: Sizes as in the real corpora, but for MUG (896x896 there) and for SAMM's larger faces.
CAMERAS: dict[str, Camera] = {
    "casme2": Camera((640, 480), 105, True),
    "samm": Camera((960, 650), 118, False),
    "smic": Camera((640, 480), 105, True),
    "ckplus": Camera((640, 490), 109, False),
    "oulu_casia": Camera((320, 240), 54, True),
    "mug": Camera((448, 448), 96, True),
    # Long videos are ten times smaller than the real ones, so that a test can make them.
    "casme_sq": Camera((256, 256), 64, True),
    "samm_long": Camera((256, 256), 64, False),
}

_FIELD_STEP = 2  # pixels between the nodes of the displacement field


@lru_cache(maxsize=2)
def _portrait(dataset: str, subject: str, seed: int) -> tuple[Looks, Portrait]:
    camera = CAMERAS[dataset]
    face = looks(dataset, subject, seed)
    rng = generator(seed, "portrait", dataset, subject)
    return face, paint(face, camera.size, camera.scale, rng)


class Motion(NamedTuple):
    """Displacement fields of a clip in pixels, on a coarse grid over the portrait.

    Attributes:
        expression: At the apex, (h, w, 2) float32, right and down.
        blink: At the greatest lid closure, (h, w, 2) float32.
        depth: Nearness of the skin to the camera in eye distances, (h, w) float32; when the head
            turns, near skin moves farther.
        amount: Pixels that a pull of 1 moves at the apex.
    """

    expression: np.ndarray
    blink: np.ndarray
    depth: np.ndarray
    amount: float


def motion(clip: Clip, performance: Performance, seed: int) -> Motion:
    """Work out the displacement fields of a clip without filming it."""
    camera = CAMERAS[clip.dataset]
    face = looks(clip.dataset, clip.subject, seed)
    places = points(face)
    x, y = _grid(layout(camera.size, camera.scale))
    acted = field(performance.units, places, x, y, face.mouth)
    greatest = float(np.hypot(acted[..., 0], acted[..., 1]).max())
    amount = camera.scale * performance.peak / greatest if greatest else 0.0
    lids = field([Unit(43, 1.0, 1.0)], places, x, y, face.mouth) * performance.blink * camera.scale
    nearness = np.exp(-((y[:, None] - 0.4) ** 2) / 1.2 - x[None, :] ** 2 / 0.8)
    nose = 0.5 * np.exp(-(((y[:, None] - face.nose) / 0.25) ** 2) - (x[None, :] / 0.2) ** 2)
    return Motion(acted * amount, lids, (nearness + nose).astype(np.float32), amount)


def _grid(place: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the field's nodes in eye distances."""
    axes = [np.arange(0, side, _FIELD_STEP, dtype=np.float32) for side in place.size]
    x, y = ((axis - centre) / place.scale for axis, centre in zip(axes, place.origin, strict=True))
    return x, y


class Scene(NamedTuple):
    """A person before a camera.

    Attributes:
        camera: Picture format.
        face: Looks of the person.
        portrait: The neutral face; `head` and `backdrop` in the camera's channels.
        noise: Plate of camera noise.
    """

    camera: Camera
    face: Looks
    portrait: Portrait
    noise: np.ndarray

    def shoot(
        self,
        shift: np.ndarray,
        folds: list[tuple[np.ndarray, float]],
        gaps: list[tuple[np.ndarray, np.ndarray]],
        pose: np.ndarray,
        gain: float,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Take one picture, (H, W, 3) BGR or (H, W) gray uint8.

        Args:
            shift: Displacement of the skin in pixels on the coarse grid, (h, w, 2) float32.
            folds: Darkening by skin folds at an apex and its share now, one pair per expression.
            gaps: Edges of the opened lips, see `mouth_gap`.
            pose: Matrix (2, 3) of the head, see `similarity`.
            gain: Exposure.
            rng: Source of the grain.
        """
        head = self.portrait.head
        for fold, strength in folds:
            head = _wrinkled(head, fold, strength)
        layers = np.dstack([head, self.portrait.cover])
        picture = _compose(layers, self.portrait.backdrop, shift, pose, self.portrait.layout)
        for gap in gaps:
            _open_mouth(picture, gap, self.portrait.layout, pose, self.camera.colour)
        return _expose(picture, gain, self.noise, rng)


def scene(dataset: str, subject: str, seed: int, rng: np.random.Generator) -> Scene:
    """Set a person before the camera of a corpus; `rng` draws the noise."""
    camera = CAMERAS[dataset]
    face, portrait = _portrait(dataset, subject, seed)
    if not camera.colour:
        head, backdrop = (
            cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[..., None]
            for picture in (portrait.head, portrait.backdrop)
        )
        portrait = portrait._replace(head=head, backdrop=backdrop)
    return Scene(camera, face, portrait, _noise(camera, face.noise, rng))


def film(clip: Clip, seed: int) -> Iterator[np.ndarray]:
    """Yield the frames of a clip in order, (H, W, 3) BGR or (H, W) gray uint8."""
    performance = act(clip, seed)
    moves = motion(clip, performance, seed)
    rng = generator(seed, clip.key, "camera")
    stand = sitting(rng)
    wobble = rng.uniform(0.6, 1.6, 2)  # the head does not move evenly
    stage = scene(clip.dataset, clip.subject, seed, rng)
    place, scale = stage.portrait.layout, stage.camera.scale
    places = points(stage.face)
    folds = wrinkles(performance.units, places, place, performance.peak)
    level = course(clip, performance)
    exposure = float(rng.uniform(0.92, 1.06))
    for index, strength in enumerate(level):
        moment = index / max(len(level) - 1, 1)
        drift = Drift(*(d * moment ** wobble[i % 2] for i, d in enumerate(performance.drift)))
        pose = similarity(place, stand, drift)
        closing = float(np.exp(-(((moment - performance.blink_at) / 0.12) ** 2)))
        turn = np.array([drift.yaw, drift.pitch], np.float32) * scale
        shift = moves.expression * np.float32(strength) + moves.blink * closing
        shift += moves.depth[..., None] * turn
        gap = mouth_gap(
            performance.units, places, stage.face.mouth, strength * moves.amount / scale
        )
        gain = exposure * (1 + 0.003 * float(rng.normal()))
        gaps = [] if gap is None else [gap]
        yield stage.shoot(shift, [(folds, float(strength))], gaps, pose, gain, rng)


def sitting(rng: np.random.Generator) -> Drift:
    """How the person sits in this recording: shift, turn in the picture plane and distance."""
    dx, dy, scale = (float(value) for value in rng.uniform((-0.1, -0.1, -0.03), (0.1, 0.1, 0.03)))
    return Drift(dx, dy, angle=float(rng.normal(0, 1.5)), scale=scale, yaw=0.0, pitch=0.0)


def similarity(place: Layout, stand: Drift, drift: Drift) -> np.ndarray:
    """Matrix (2, 3) from pixels of the portrait to pixels of the layout's part of the picture."""
    angle = stand.angle + drift.angle
    matrix = cv2.getRotationMatrix2D(place.origin, angle, (1 + stand.scale) * (1 + drift.scale))
    matrix[:, 2] += place.scale * np.array([stand.dx + drift.dx, stand.dy + drift.dy])
    return matrix


def _wrinkled(head: np.ndarray, folds: np.ndarray, strength: float) -> np.ndarray:
    if strength * folds.max() < 0.003:
        return head
    x, y, w, h = cv2.boundingRect((folds > 0.003).astype(np.uint8))
    worn = head.copy()
    window = slice(y, y + h), slice(x, x + w)
    worn[window] = np.round(head[window] * (1 - strength * folds[window][..., None])).astype(
        np.uint8
    )
    return worn


def _compose(
    head: np.ndarray, backdrop: np.ndarray, shift: np.ndarray, pose: np.ndarray, place: Layout
) -> np.ndarray:
    """Warp a head, whose last channel is its cover, and set it before the backdrop; uint8.

    The displacement is that of the picture's pixels: each shows what the neutral portrait has at
    its place minus the displacement.
    """
    width, height = place.size
    back = cv2.invertAffineTransform(pose)
    nearest = {"borderMode": cv2.BORDER_REPLICATE}
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(shift, back / _FIELD_STEP, place.size, flags=flags, **nearest)
    columns = np.arange(width, dtype=np.float32)[None, :]
    rows = np.arange(height, dtype=np.float32)[:, None]
    source = [
        np.float32(a) * columns + np.float32(b) * rows + np.float32(c) - moved[..., axis]
        for axis, (a, b, c) in enumerate(back)
    ]
    warped = cv2.remap(head, source[0], source[1], cv2.INTER_LINEAR, **nearest)
    share = warped[..., -1].astype(np.float32) / 255
    picture = backdrop.copy()
    window = picture[_window(place)]
    front, behind = np.ascontiguousarray(warped[..., :-1]), np.ascontiguousarray(window)
    window[...] = cv2.blendLinear(front, behind, share, 1 - share).reshape(window.shape)
    return picture


def _window(place: Layout) -> tuple[slice, slice]:
    (left, top), (width, height) = place.corner, place.size
    return slice(top, top + height), slice(left, left + width)


def _open_mouth(
    picture: np.ndarray,
    gap: tuple[np.ndarray, np.ndarray],
    place: Layout,
    pose: np.ndarray,
    colour: bool,
) -> None:
    """Paint the inside of the mouth, with the upper teeth where it is wide open."""
    upper, lower = (
        (edge * place.scale + place.origin) @ pose[:, :2].T + pose[:, 2] for edge in gap
    )
    widest = float((lower[:, 1] - upper[:, 1]).max())
    if widest < 0.3:
        return
    picture = picture[_window(place)]
    layer = picture.copy()
    shapes = [(np.vstack([upper, lower[::-1]]), (30, 26, 52) if colour else (34,))]
    if widest > 0.09 * place.scale:
        teeth = upper[5:-5], (upper + 0.4 * (lower - upper))[5:-5][::-1]
        shapes.append((np.vstack(teeth), (206, 216, 222) if colour else (214,)))
    for outline, tone in shapes:
        cv2.fillPoly(layer, np.round(outline * 16).astype(np.int32)[None], tone, cv2.LINE_AA, 4)
    box = np.vstack([upper, lower])
    (x0, y0), (x1, y1) = np.maximum(box.min(0).astype(int) - 4, 0), box.max(0).astype(int) + 5
    window = slice(y0, y1), slice(x0, x1)
    soft = cv2.GaussianBlur(layer[window], (0, 0), 0.008 * place.scale)
    share = min(1.0, widest / 2.5)
    blended = cv2.addWeighted(soft, share, picture[window].reshape(soft.shape), 1 - share, 0)
    picture[window] = blended.reshape(picture[window].shape)


def _noise(camera: Camera, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """A plate of camera noise (int16) larger than a frame; each frame takes a window of it."""
    width, height = camera.size
    shape = (height + 64, width + 64, 3 if camera.colour else 1)
    return np.round(deviation * rng.standard_normal(shape, dtype=np.float32)).astype(np.int16)


def _expose(
    picture: np.ndarray, gain: float, noise: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    height, width = picture.shape[:2]
    top, left = (int(value) for value in rng.integers(0, 64, 2))
    grain = np.ascontiguousarray(noise[top : top + height, left : left + width])
    lit = cv2.addWeighted(picture, gain, picture, 0, 0)
    exposed = cv2.add(lit, grain[..., 0] if grain.shape[2] == 1 else grain, dtype=cv2.CV_8U)
    return exposed
