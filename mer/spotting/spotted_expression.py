"""What a spotted expression is, and when a motion is one."""

from dataclasses import dataclass
from typing import NamedTuple

from mer.spotting.stream import Frame

#: Seconds from onset to offset of the longest micro-expression, and of the longest expression at
#: all (Yan et al., J. Nonverbal Behav. 37, 2013; Ekman, Ann. N.Y. Acad. Sci. 1000, 2003).
MICRO, MACRO = 0.5, 4.0


@dataclass(frozen=True)
class Settings:
    """When a motion is an expression.

    Attributes:
        threshold: Least motion in multiples of the resting face's.
        floor: Least motion in px of a crop of 224 px.
        snr: Least motion in multiples of the noise from frame to frame in its own direction. Noise
            that regions share, such as that of JPEG, adds up where theirs alone cancels.
        blink: Motion of the eyes in px of that crop that is a blink.
        drag: Share of the eyes' motion that shows in other regions, where `EYES_REST` is exceeded.
        drag_brows: The same for the brows, which are nearest.
        growth: How much larger a motion must be over a longer time to be the longer one.
        memory: Seconds from which the resting face is known.
    """

    threshold: float = 4.5
    floor: float = 0.2
    snr: float = 8.5
    blink: float = 1.5
    drag: float = 0.2
    drag_brows: float = 1.3
    growth: float = 1.3
    memory: float = 30.0


class Interval(NamedTuple):
    """Numbers of onset, apex and offset, and the strength of a spotted expression."""

    onset: int
    apex: int
    offset: int
    strength: float


@dataclass(frozen=True)
class Expression:
    """A spotted expression.

    Attributes:
        face: Number of the face.
        onset: Frame in which it begins.
        apex: Frame of the greatest motion.
        offset: Frame in which it is over.
        strength: Motion at the apex, mean of the three regions that move most, px of a crop of
            224 px.
        level: The same in multiples of what the face shows at rest.
        kind: `micro` (half a second at most), `macro` (four seconds at most) or `long`.
        regions: The regions that move most, the first one most.
        head_motion: Head motion between onset and apex in px of a crop of 224 px; the crop
            follows it.
    """

    face: int
    onset: Frame
    apex: Frame
    offset: Frame
    strength: float
    level: float
    kind: str
    regions: tuple[str, ...]
    head_motion: float

    @property
    def interval(self) -> Interval:
        """The numbers alone."""
        return Interval(self.onset.number, self.apex.number, self.offset.number, self.strength)


def kind_of(seconds: float) -> str:
    """`micro`, `macro` or `long`, by the length of an expression."""
    return "micro" if seconds <= MICRO + 0.02 else "macro" if seconds <= MACRO else "long"
