"""Facial action units as displacements of the skin, and which of them show which emotion.

Units, their muscles and what they do are those of the Facial Action Coding System (Ekman, Friesen
and Hager, 2002). Each is a few bell-shaped displacements in the coordinates of the canonical face
of `mer.prepare.faces`: outer-eye distances from the middle between the outer eye corners, x to the
right, y downwards. There the inner ends of the brows lie at (.15, -.18), their outer ends at
(.62, -.15), the upper lids at (.37, -.06), the lower ones at (.35, .04), the wings of the nose at
(.21, .44), the corners of the mouth at (.27, .74), the lips between .65 and .84 and the chin at
1.21: own measure, mean of 123 neutral faces, whose standard deviation is .02 to .05.
"""

from typing import NamedTuple


class Blob(NamedTuple):
    """A bell-shaped displacement in the picture's right half; the left half mirrors it.

    Attributes:
        x: Centre, away from the middle of the face. At 0 both halves share it.
        y: Centre, downwards.
        rx: Standard deviation across.
        ry: Standard deviation along.
        dx: Displacement away from the middle of the face; a strong one of a unit is about 1.
        dy: Displacement downwards.
    """

    x: float
    y: float
    rx: float
    ry: float
    dx: float
    dy: float


class UnitMotion(NamedTuple):
    """An action unit: its name, its muscle, and what it does to the skin."""

    name: str
    muscle: str
    blobs: tuple[Blob, ...]


#: Action unit -> its motion.
UNITS: dict[int, UnitMotion] = {
    1: UnitMotion(
        "inner brow raiser",
        "frontalis, pars medialis",
        (Blob(0.20, -0.28, 0.13, 0.14, 0.1, -1.0),),
    ),
    2: UnitMotion(
        "outer brow raiser",
        "frontalis, pars lateralis",
        (Blob(0.45, -0.29, 0.15, 0.15, 0.1, -1.0),),
    ),
    4: UnitMotion(
        "brow lowerer",
        "corrugator supercilii, depressor supercilii",
        (
            Blob(0.19, -0.25, 0.13, 0.13, -0.6, 0.9),
            Blob(0.39, -0.30, 0.14, 0.12, -0.3, 0.5),
            Blob(0.08, -0.19, 0.08, 0.12, -0.5, 0.3),
        ),
    ),
    5: UnitMotion(
        "upper lid raiser",
        "levator palpebrae superioris",
        (Blob(0.38, -0.11, 0.12, 0.07, 0.0, -0.9),),
    ),
    6: UnitMotion(
        "cheek raiser",
        "orbicularis oculi, pars orbitalis",
        (
            Blob(0.42, 0.19, 0.17, 0.16, -0.2, -0.8),
            Blob(0.38, 0.04, 0.13, 0.07, 0.0, -0.5),
            Blob(0.57, -0.04, 0.08, 0.12, -0.5, 0.0),
        ),
    ),
    7: UnitMotion(
        "lid tightener",
        "orbicularis oculi, pars palpebralis",
        (Blob(0.38, 0.03, 0.13, 0.07, 0.0, -0.8), Blob(0.38, -0.11, 0.12, 0.07, 0.0, 0.5)),
    ),
    9: UnitMotion(
        "nose wrinkler",
        "levator labii superioris alaeque nasi",
        (
            Blob(0.14, 0.20, 0.11, 0.17, 0.0, -1.0),
            Blob(0.18, -0.23, 0.12, 0.12, -0.3, 0.7),
            Blob(0.15, 0.55, 0.12, 0.10, 0.0, -0.5),
        ),
    ),
    10: UnitMotion(
        "upper lip raiser",
        "levator labii superioris",
        (Blob(0.18, 0.55, 0.15, 0.12, 0.1, -1.0), Blob(0.24, 0.38, 0.11, 0.15, 0.1, -0.6)),
    ),
    12: UnitMotion(
        "lip corner puller",
        "zygomaticus major",
        (Blob(0.29, 0.67, 0.13, 0.16, 0.8, -0.8), Blob(0.39, 0.41, 0.16, 0.20, 0.5, -0.6)),
    ),
    14: UnitMotion(
        "dimpler",
        "buccinator",
        (Blob(0.30, 0.70, 0.12, 0.12, 0.9, -0.1), Blob(0.46, 0.69, 0.10, 0.12, -0.5, 0.0)),
    ),
    15: UnitMotion(
        "lip corner depressor",
        "depressor anguli oris",
        (Blob(0.29, 0.76, 0.12, 0.15, 0.1, 1.0), Blob(0.24, 0.94, 0.13, 0.12, 0.0, 0.5)),
    ),
    17: UnitMotion(
        "chin raiser",
        "mentalis",
        (Blob(0.0, 1.00, 0.21, 0.15, 0.0, -1.0), Blob(0.0, 0.81, 0.17, 0.10, 0.0, -0.7)),
    ),
    20: UnitMotion(
        "lip stretcher",
        "risorius, platysma",
        (Blob(0.31, 0.74, 0.16, 0.15, 1.0, 0.2),),
    ),
    24: UnitMotion(
        "lip pressor",
        "orbicularis oris",
        (
            Blob(0.0, 0.63, 0.20, 0.08, 0.0, 0.6),
            Blob(0.0, 0.79, 0.20, 0.08, 0.0, -0.7),
            Blob(0.26, 0.71, 0.10, 0.11, -0.5, 0.0),
        ),
    ),
    25: UnitMotion(
        "lips part",
        "depressor labii inferioris, relaxed mentalis",
        (Blob(0.0, 0.83, 0.20, 0.13, 0.0, 1.0), Blob(0.0, 0.61, 0.16, 0.08, 0.0, -0.4)),
    ),
    26: UnitMotion(
        "jaw drop",
        "relaxed masseter, temporalis, internal pterygoid",
        (Blob(0.0, 1.05, 0.31, 0.21, 0.0, 1.0), Blob(0.0, 0.84, 0.20, 0.13, 0.0, 0.9)),
    ),
    45: UnitMotion(
        "blink",
        "relaxed levator palpebrae, orbicularis oculi, pars palpebralis",
        (Blob(0.38, -0.09, 0.14, 0.10, 0.0, 1.2),),
    ),
}

#: Place of each unit in arrays of intensities.
PLACES: dict[int, int] = {number: place for place, number in enumerate(UNITS)}

#: Emotion -> combinations of units that show it, and how often: prototypes of EMFACS (Friesen and
#: Ekman, 1983) and their parts, which is what micro-expressions mostly show. The sums say how often
#: each emotion is among those that share a class.
COMBINATIONS: dict[str, dict[str, float]] = {
    "happiness": {
        "12": 0.42,
        "6+12": 0.30,
        "12+25": 0.08,
        "6+7+12": 0.06,
        "6": 0.05,
        "6+12+25": 0.04,
        "10+12": 0.03,
    },
    "surprise": {
        "1+2": 0.44,
        "1+2+5": 0.14,
        "1+2+25": 0.12,
        "1+2+26": 0.08,
        "2": 0.07,
        "1": 0.05,
        "25": 0.04,
        "5": 0.03,
        "26": 0.03,
    },
    "anger": {"4": 0.24, "4+7": 0.08, "7": 0.05, "4+24": 0.03, "24": 0.03},
    "disgust": {
        "4+7": 0.06,
        "4+9": 0.06,
        "10": 0.06,
        "9": 0.04,
        "9+10": 0.03,
        "4+10": 0.03,
        "4+6+7+9": 0.03,
    },
    "sadness": {"15": 0.06, "1+4+15": 0.03},
    "fear": {"20": 0.05, "4+5+20": 0.03},
    "contempt": {"14": 0.08},
    "repression": {"15+17": 0.06, "17": 0.06, "24": 0.02, "12+14": 0.02, "12+15": 0.02},
}


def numbers(combination: str) -> list[int]:
    """Action units of a combination such as `6+12`."""
    return [int(number) for number in combination.split("+")]
