"""What a model says of a clip: plain values, whatever model it was."""

from dataclasses import asdict, dataclass, field
from typing import Any


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
