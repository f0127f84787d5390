"""What a person shows in a clip: action units, strength, course over time, head drift.

Everything is drawn from the names of subject and clip, so that workbook, truth file and pictures
agree.
"""

from typing import NamedTuple

import numpy as np

from mer.synthetic.motion import Unit
from mer.synthetic.persons import Style, style
from mer.synthetic.plan import MICRO, Clip
from mer.synthetic.seeds import generator

#: Emotion -> ways to show it (EMFACS prototypes and the combinations common in the micro corpora).
#: `L` takes part of the units in one half of the face only; the half is drawn.
WAYS: dict[str, tuple[str, ...]] = {
    "happiness": ("6+12", "12", "6+12+25", "7+12"),
    "surprise": ("1+2", "1+2+5", "1+2+25", "1+2+5+26", "2+5"),
    "disgust": ("4+9", "4+7+9", "10", "4+7+10", "9+10+17", "4+10"),
    "anger": ("4+7", "4", "4+7+23", "4+5+7", "4+24"),
    "sadness": ("1+4+15", "1+4", "15+17", "1+15"),
    "fear": ("1+2+4+20", "1+4+20", "1+2+4+5", "4+20"),
    "contempt": ("L14", "L12+L14", "14"),
    "repression": ("14+17", "15+17", "12+24", "17+24", "14+24"),
    "others": ("4", "4+7", "14", "17", "7+L10", "L2", "4+14", "24"),
    "neutral": ("",),
}

#: What coarse or differently spelt labels stand for, with weights.
_ACTED_AS: dict[str, dict[str, float]] = {
    "negative": {"disgust": 0.4, "anger": 0.2, "sadness": 0.15, "fear": 0.1, "repression": 0.15},
    "positive": {"happiness": 1.0},
    "other": {"others": 1.0},
    "happy": {"happiness": 1.0},
    "": {"others": 1.0},
}

#: Share of clips that are hard: shown weakly (below the peaks below), or mixed with a unit that
#: belongs to another class.
HARD_SHARE = 0.14
_STRAYS = ("2", "4", "7", "12", "14", "17", "L10")
_MIXERS = ("12", "1+2", "4", "L14", "17", "4+7")

#: Peak motion in eye distances: 0.5-2 px of micro and 6-14 px of macro motion on a face of 280 px.
MICRO_PEAK = (0.5 / 109, 2.0 / 109)
MACRO_PEAK = (6 / 109, 14 / 109)


class Drift(NamedTuple):
    """Head movement from the first to the last frame; eye distances, degrees, relative size."""

    dx: float
    dy: float
    angle: float
    scale: float
    yaw: float  # sideways shift of a point that lies one eye distance before the others
    pitch: float


class Performance(NamedTuple):
    """What is acted in a clip.

    Attributes:
        emotion: Emotion that was acted, finer than the label where that is coarse.
        hard: Empty, `weak` or `mixed`.
        units: Action units with their strengths.
        peak: Greatest displacement at the apex, eye distances.
        rise: Exponent of the course from onset to apex (1 even, above 1 late).
        rest: Share of the motion that is left at the offset.
        blink: Greatest lid closure, eye distances; 0 for none.
        blink_at: Moment of the blink, 0 first frame to 1 last.
        drift: Head movement.
    """

    emotion: str
    hard: str
    units: list[Unit]
    peak: float
    rise: float
    rest: float
    blink: float
    blink_at: float
    drift: Drift

    @property
    def codes(self) -> str:
        """Action units as coders write them, e.g. `4+L14`."""
        return "+".join(unit.code for unit in self.units)


def act(clip: Clip, seed: int, micro: bool | None = None) -> Performance:
    """Return what is acted in a clip; a pure function of the names and the seed.

    `micro` tells micro from macro in a corpus that has both.
    """
    rng = generator(seed, clip.key, "act")
    person = style(clip.dataset, clip.subject, seed)
    micro = clip.dataset in MICRO if micro is None else micro
    emotion = clip.emotion.lower()
    if emotion in _ACTED_AS:
        options = _ACTED_AS[emotion]
        emotion = str(rng.choice(list(options), p=list(options.values())))
    codes = _way(emotion, person, rng)

    hard = ""
    if emotion != "neutral" and rng.random() < HARD_SHARE:
        hard = str(rng.choice(["weak", "mixed"]))
    low, high = MICRO_PEAK if micro else MACRO_PEAK
    peak = (low + (0.2 if micro else 0.5) * (high - low)) * person.strength
    peak = float(np.clip(peak * np.exp(rng.normal(0, 0.25)), low, high))
    if hard == "mixed":
        codes = "+".join(filter(None, [codes, str(rng.choice(_MIXERS))]))
    elif hard == "weak":
        peak = 0.4 * low
    elif emotion != "neutral" and rng.random() < 0.5:  # a stray unit beside the emotion
        codes += f"+{rng.choice(_STRAYS)}?"

    drift = person.restlessness * rng.normal(0, 1, 6) * (0.009, 0.009, 0.24, 0.002, 0.008, 0.0065)
    drift *= 1 if micro else 3
    return Performance(
        emotion=emotion,
        hard=hard,
        units=_units(codes, person, rng),
        peak=peak if emotion != "neutral" else 0.0,
        rise=float(rng.uniform(0.8, 1.5)),
        rest=float(rng.uniform(0, 0.25 if micro else 0.08)),
        blink=float(rng.uniform(0.02, 0.06)) if rng.random() < 0.2 else 0.0,
        blink_at=float(rng.uniform(0.1, 0.9)),
        drift=Drift(*(float(value) for value in drift)),
    )


def _way(emotion: str, person: Style, rng: np.random.Generator) -> str:
    ways = WAYS[emotion]
    if rng.random() < person.constancy:
        return ways[int(person.habit * len(ways))]
    return str(rng.choice(ways))


def _units(codes: str, person: Style, rng: np.random.Generator) -> list[Unit]:
    """Turn `4+L14+7?` into strengths; `L` draws a half, `?` marks a stray, weaker unit."""
    units: dict[int, Unit] = {}
    half = int(rng.integers(2))
    for code in filter(None, codes.split("+")):
        number = int(code.strip("L?"))
        strength = float(rng.uniform(0.75, 1.0)) * (0.75 if code.endswith("?") else 1.0)
        tilt = float(np.clip(person.asymmetry + rng.normal(0, 0.08), -0.6, 0.6))
        left, right = strength * min(1, 1 + tilt), strength * min(1, 1 - tilt)
        if code.startswith("L"):
            left, right = (left, 0.0) if half else (0.0, right)
        units.setdefault(number, Unit(number, left, right))
    return sorted(units.values())


def course(clip: Clip, performance: Performance) -> np.ndarray:
    """Return the strength of the expression in each frame, 0 neutral to 1 apex; (frames,) float."""
    numbers = np.array(clip.frames, dtype=float)
    before = (
        np.clip((numbers - clip.onset) / max(clip.apex - clip.onset, 1), 0, 1) ** performance.rise
    )
    after = np.clip((clip.offset - numbers) / max(clip.offset - clip.apex, 1), 0, 1)
    up = before * before * (3 - 2 * before)
    down = after * after * (3 - 2 * after)
    if clip.apex == clip.offset:  # the recording stops at the peak
        return up
    return np.where(numbers <= clip.apex, up, performance.rest + (1 - performance.rest) * down)
