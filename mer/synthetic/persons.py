"""The made-up people: what a face looks like and how its owner expresses emotions.

Lengths are in eye distances (1 = distance between the eye centres, about 109 px on a face of 280 px
from hairline to chin). x grows to the right of the picture, y downwards; the origin lies between
the eyes.
"""

from typing import NamedTuple

import numpy as np

from mer.synthetic.seeds import generator

Colour = tuple[float, float, float]  # blue, green, red in 0..255

_SKINS: tuple[Colour, ...] = (
    (172, 192, 226),
    (150, 176, 214),
    (138, 166, 208),
    (118, 148, 194),
    (92, 122, 170),
    (66, 92, 138),
)
_HAIRS: tuple[Colour, ...] = (
    (28, 26, 28),
    (30, 34, 44),
    (34, 48, 72),
    (52, 82, 120),
    (98, 140, 176),
    (112, 114, 118),
)
_IRISES: tuple[Colour, ...] = ((30, 44, 66), (36, 60, 92), (120, 110, 80), (92, 112, 84))


class Looks(NamedTuple):
    """Shape and colours of a face, and the light and camera it is filmed with."""

    width: float  # half width at the cheekbones
    jaw: float  # half width at the mouth's height, as a share of `width`
    chin: float  # y of the chin's lowest point
    crown: float  # y of the top of the head (negative)
    hairline: float  # y of the hairline (negative)
    forehead: float  # how much higher the hairline is in the middle
    eye_width: float  # half width of an eye
    eye_height: float  # half height of the opened eye
    eye_slant: float  # how much higher the outer corner lies
    brow_height: float  # brow above the eye centre
    brow_arch: float
    brow_weight: float  # thickness
    nose_width: float
    nose: float  # y of the nose tip
    mouth: float  # y of the line between the lips
    mouth_width: float  # half width
    lip: float  # height of the lower lip
    skin: Colour
    hair: Colour
    iris: Colour
    shirt: Colour
    backdrop: Colour
    long_hair: bool
    glasses: bool
    stubble: float  # 0 none .. 1 dark
    freckles: int
    light: tuple[float, float, float]  # direction towards the lamp: right, down, to the viewer
    noise: float  # standard deviation of the camera noise in grey levels
    blur: float  # standard deviation of the lens blur in pixels of a 480 px high picture


class Style(NamedTuple):
    """How a person expresses emotions."""

    strength: float  # factor on every peak motion
    asymmetry: float  # relative extra of the left half over the right half, -1..1
    habit: float  # 0..1: position in the list of ways to show an emotion that this person prefers
    constancy: float  # probability of doing it in the preferred way
    restlessness: float  # factor on head drift


def _colour(values: np.ndarray) -> Colour:
    blue, green, red = (float(value) for value in values)
    return blue, green, red


def looks(dataset: str, subject: str, seed: int) -> Looks:
    """Draw the face of a subject."""
    rng = generator(seed, "looks", dataset, subject)

    def near(mean: float, spread: float) -> float:
        return float(mean + spread * np.clip(rng.normal(), -1.8, 1.8))

    def pick(options: tuple[Colour, ...]) -> Colour:
        jitter = rng.normal(0, 5) + rng.normal(0, 2, 3)
        chosen = options[int(rng.integers(len(options)))]
        return _colour(np.clip(np.array(chosen) + jitter, 5, 250))

    man = rng.random() < 0.5
    mouth = near(1.02, 0.035)
    return Looks(
        width=near(1.06, 0.045),
        jaw=near(0.84 if man else 0.78, 0.03),
        chin=mouth + near(0.66 if man else 0.61, 0.03),
        crown=near(-1.38, 0.05),
        hairline=near(-0.86, 0.07),
        forehead=float(rng.uniform(0.0, 0.16)),
        eye_width=near(0.265, 0.012),
        eye_height=near(0.10, 0.012),
        eye_slant=near(0.02, 0.015),
        brow_height=near(0.31, 0.03),
        brow_arch=near(0.05, 0.02),
        brow_weight=near(0.10 if man else 0.075, 0.012),
        nose_width=near(0.25, 0.025),
        nose=near(0.60, 0.03),
        mouth=mouth,
        mouth_width=near(0.42, 0.03),
        lip=near(0.115 if man else 0.135, 0.015),
        skin=pick(_SKINS),
        hair=pick(_HAIRS),
        iris=pick(_IRISES),
        shirt=_colour(rng.uniform(30, 200, 3)),
        backdrop=_colour(np.clip(rng.uniform(60, 200) + rng.normal(0, 8, 3), 20, 230)),
        long_hair=bool(not man and rng.random() < 0.8),
        glasses=bool(rng.random() < 0.2),
        stubble=float(rng.uniform(0.2, 0.8)) if man and rng.random() < 0.4 else 0.0,
        freckles=int(rng.integers(4, 40)),
        light=(float(rng.uniform(-0.7, 0.7)), float(rng.uniform(-0.7, -0.2)), 1.0),
        noise=float(rng.uniform(2.0, 3.5)),
        blur=float(rng.uniform(0.5, 0.9)),
    )


def style(dataset: str, subject: str, seed: int) -> Style:
    """Draw the way in which a subject expresses emotions."""
    rng = generator(seed, "style", dataset, subject)
    return Style(
        strength=float(np.exp(rng.normal(0, 0.2))),
        asymmetry=float(np.clip(rng.normal(0, 0.2), -0.5, 0.5)),
        habit=float(rng.random()),
        constancy=float(rng.uniform(0.4, 0.8)),
        restlessness=float(np.exp(rng.normal(0, 0.3))),
    )


#: Points of the picture's right half of the face; the left half mirrors those with x > 0.
Points = dict[str, tuple[float, float]]


def points(face: Looks) -> Points:
    """Return the places of a face at which muscles pull, in eye distances."""
    brow = -face.brow_height
    return {
        "brow_inner": (0.24, brow + 0.02),
        "brow_middle": (0.50, brow - face.brow_arch),
        "brow_outer": (0.80, brow + 0.01),
        "lid_upper": (0.50, -face.eye_height),
        "lid_lower": (0.50, face.eye_height),
        "eye_outer": (0.50 + face.eye_width, -face.eye_slant),
        "cheek": (0.60, 0.50),
        "nose_root": (0.10, 0.05),
        "nose_wing": (face.nose_width, face.nose + 0.04),
        "fold": (0.42, 0.5 * (face.nose + face.mouth) + 0.02),
        "lip_upper": (0.15, face.mouth - 0.06),
        "lip_lower": (0.0, face.mouth + 0.07),
        "mouth_corner": (face.mouth_width, face.mouth),
        "chin": (0.0, face.chin - 0.2),
    }
