"""What a model says of a clip: plain values, whatever model it was."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mer.prepare.sample import Sample


@dataclass(frozen=True)
class Prediction:
    """What a model says of an onset and an apex.

    Attributes:
        label: Predicted class by the main head; None where the model cannot know.
        reason: Why there is no label, in a sentence; None where there is one.
        scores: Head -> class -> score as an evaluation gives it; the main head comes first. Empty
            where the pictures could not be prepared.
        probabilities: Head -> class -> calibrated probability; of heads that are calibrated.
        confidence: Calibrated probability of the label: how often such a label was right for
            persons whom the model had not seen. None where there is no label, or no calibration.
        units: Action unit, such as AU12, -> intensity 0 to 1 on the stronger half of the face;
            None where the model has none.
        sides: Action unit -> intensity on the person's left and right half.
        strength: Motion between onset and apex in pixels of a face crop of 224 pixels, head motion
            taken out; None where it was not measured.
        still: Strength that still faces reach; below it there is no label.
        head_motion: Motion of the whole head in the same unit.
        warnings: What makes the label doubtful, in sentences.
    """

    label: str | None
    reason: str | None = None
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    probabilities: dict[str, dict[str, float]] = field(default_factory=dict)
    confidence: float | None = None
    units: dict[str, float] | None = None
    sides: dict[str, tuple[float, float]] | None = None
    strength: float | None = None
    still: float | None = None
    head_motion: float | None = None
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self)
        return {**plain, "warnings": list(self.warnings)}


@dataclass(frozen=True)
class Moment:
    """A frame: its number in the source (0 for a video's first), and seconds from the first one."""

    frame: int
    seconds: float


@dataclass(frozen=True)
class FoundExpression:
    """One expression of a clip.

    Attributes:
        prediction: What the model says of it.
        face: Number of the face, 0 for the first one that was seen.
        onset: Where it begins; None for two pictures without a time.
        apex: Its height.
        offset: Where it ends; None where that is not known.
        annotated: Whether these frames were given, not spotted.
        sample: Its crops, flow and landmarks, as the model's training has them; None where they
            could not be prepared, or a clip has too many. Not part of `as_dict`.
    """

    prediction: Prediction
    face: int = 0
    onset: Moment | None = None
    apex: Moment | None = None
    offset: Moment | None = None
    annotated: bool = False
    sample: Sample | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(replace(self, sample=None))
        del plain["sample"]
        return {**plain, "prediction": self.prediction.as_dict()}


@dataclass(frozen=True)
class ClipPrediction:
    """What a model says of a clip.

    Attributes:
        source: Name of the clip.
        expressions: What was found, in the order of the time.
        reason: Why nothing was found; None where something was.
        fps: Frames per second; None for two pictures.
        frames: Number of frames that were looked at.
        seconds: Length of what was looked at; None for two pictures.
        faces: Number of faces that were followed; None where none was followed.
        curves: Motion of each face over time: seconds, and multiples of what the face shows at
            rest; the largest of neighbouring frames where there are many.
        warnings: What makes the result doubtful, in sentences.
    """

    source: str
    expressions: tuple[FoundExpression, ...] = ()
    reason: str | None = None
    fps: float | None = None
    frames: int = 2
    seconds: float | None = None
    faces: int | None = None
    curves: tuple[tuple[tuple[float, float], ...], ...] = ()
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {**vars(self), "warnings": list(self.warnings)}
        plain["curves"] = [[list(point) for point in curve] for curve in self.curves]
        return {**plain, "expressions": [one.as_dict() for one in self.expressions]}
