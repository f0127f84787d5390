"""How much a face moves between onset and apex, and how much still faces seem to move.

Measured on ten free pictures and videos of real faces, 80, 150 and 300 px wide, each taken for a
clip without any motion: encoded again (JPEG of quality 80 and 50, MPEG-4), with noise of 3 grey
levels, brighter, shifted by half a pixel and by one, rotated by 1 degree, enlarged by 1 %, and all
of these at once. Flow follows the noise by an amount that is about the same in pixels of the
picture, so it grows with the enlargement of the crop, and a moved head leaves some of its motion
behind. `still` lies above 97 % of 253 such pairs, and below 85 % of 150 synthetic micro-expressions
(docs/confidence.md).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mer.prepare import faces
from mer.prepare.likeness import ALIKE, likeness
from mer.prepare.sample import Sample
from mer.prepare.stabilise import head_motion

#: Side of the crop whose pixels are the unit.
REFERENCE = 224

#: Strength of still faces: at least; per enlargement of the crop; per pixel of head motion.
LEAST, PER_ZOOM, PER_HEAD = 0.15, 0.22, 0.07

#: Motion that no expression of one face reaches: the strongest of 137 synthetic macro-expressions
#: has 6 px, half of the pairs of different persons more than 12.
MOST = 8.0


class Motion(NamedTuple):
    """The motion of a sample, in pixels of a face crop of 224 pixels.

    Attributes:
        strength: Length that a tenth of the face exceeds, head motion taken out.
        still: Strength that still faces reach, given the size of the face and its head motion.
        head: Root mean square of the head motion; None where it is not known.
        likeness: Correlation of the grey levels of both pictures inside the face; None without.
        followed: Whether the face was followed from onset to apex, so that both are one person's.
    """

    strength: float
    still: float
    head: float | None
    likeness: float | None
    followed: bool = False

    @property
    def unlike(self) -> str | None:
        """How onset and apex differ by more than an expression; None if they do not."""
        if self.likeness is not None and self.likeness < ALIKE:
            return f"the pictures correlate by {max(self.likeness, 0):.2f}"
        if self.strength > MOST:
            return f"the face moves by {self.strength:.1f} px of {REFERENCE}"
        return None

    @property
    def problem(self) -> str | None:
        """Why the sample shows no expression, in a sentence; None if it may show one."""
        if self.unlike and not self.followed:
            return (
                f"onset and apex do not match, {self.unlike}: they show different people or poses, "
                "or there is a cut between them"
            )
        if self.strength <= self.still:
            return (
                f"no motion above that of a still face: {self.strength:.2f} px of {REFERENCE}, "
                f"still faces reach {self.still:.2f} px"
            )
        return None

    @property
    def warnings(self) -> list[str]:
        """What makes a label doubtful, in sentences."""
        found = []
        if self.unlike:
            found.append(
                f"onset and apex differ by more than a micro-expression ({self.unlike}): the head "
                "may have turned"
            )
        if self.head is not None and self.head > 4 * self.strength:
            found.append(
                f"the head moves by {self.head:.1f} px of {REFERENCE}, the face by "
                f"{self.strength:.1f} px: some of the motion may be the head's"
            )
        if self.strength < 1.5 * self.still:
            found.append(
                f"the motion is weak: {self.strength:.2f} px of {REFERENCE}, still faces reach "
                f"{self.still:.2f} px"
            )
        return found


def measure(sample: Sample, followed: bool = False) -> Motion:
    """Measure the motion of a prepared sample."""
    assert sample.flow is not None
    flow = np.moveaxis(np.asarray(sample.flow[:2], np.float32), 0, -1)
    size = flow.shape[0]
    inside = _inside(sample, size)
    head = sample.head
    if head is None and not sample.still:
        head = head_motion(flow, inside)
        flow = flow - head
    unit = REFERENCE / size
    strength = unit * float(np.quantile(_length(flow, inside), 0.9))
    moved = 0.0 if head is None else unit * float(np.sqrt(np.square(_length(head, inside)).mean()))
    zoom = 1.0 if sample.zoom is None else unit * sample.zoom
    still = max(LEAST, PER_ZOOM * zoom) + PER_HEAD * moved
    return Motion(strength, still, moved, _likeness(sample, inside), followed)


def _inside(sample: Sample, size: int) -> NDArray[np.bool_]:
    """The face without its edge; all where no landmarks tell."""
    import cv2

    if sample.landmarks is None:
        return np.ones((size, size), bool)
    side = max(3, round(9 * size / REFERENCE))
    face = faces.oval(sample.landmarks[0], size).astype(np.uint8)
    inside = np.asarray(cv2.erode(face, np.ones((side, side), np.uint8)), bool)
    return inside if inside.any() else np.ones((size, size), bool)


def _length(field: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.hypot(field[..., 0][inside], field[..., 1][inside])


def _likeness(sample: Sample, inside: NDArray[np.bool_]) -> float | None:
    import cv2

    if sample.frames is None or not sample.has_onset:
        return None
    onset, apex = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in sample.frames)
    return likeness(onset, apex, inside)
