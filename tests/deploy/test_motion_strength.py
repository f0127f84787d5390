"""How strong a motion is, and when it is none."""

import numpy as np
import pytest

from mer.deploy.motion_strength import Motion, measure
from mer.prepare.sample import Sample


def moved(length: float, share: float, size: int = 224) -> np.ndarray:
    """Flow to the right in the upper part of a crop."""
    flow = np.zeros((3, size, size), np.float32)
    flow[0, : round(share * size)] = length
    return flow


def no_head(size: int = 224, length: float = 0.0) -> np.ndarray:
    return np.full((size, size, 2), length / np.sqrt(2), np.float32)


def test_strength_is_what_a_tenth_of_the_face_exceeds_in_pixels_of_224() -> None:
    assert measure(Sample(flow=moved(2, 0.2), head=no_head())).strength == pytest.approx(2)
    assert measure(Sample(flow=moved(2, 0.05), head=no_head())).strength == 0
    small = measure(Sample(flow=moved(0.5, 0.2, 56), head=no_head(56)))
    assert small.strength == pytest.approx(2)


@pytest.mark.parametrize(
    ("zoom", "head", "still"),
    [(0.5, 0, 0.15), (2, 0, 0.44), (0.5, 2, 0.15 + 0.14), (None, 0, 0.22)],
)
def test_still_faces_seem_to_move_more_in_small_pictures_and_with_the_head(
    zoom: float | None, head: float, still: float
) -> None:
    motion = measure(Sample(flow=moved(2, 0.2), head=no_head(length=head), zoom=zoom))
    assert motion.still == pytest.approx(still)
    assert motion.head == pytest.approx(head)


def test_head_motion_that_is_still_in_the_flow_is_taken_out() -> None:
    motion = measure(Sample(flow=moved(3, 1)))
    assert motion.strength == pytest.approx(0, abs=1e-3)
    assert motion.head == pytest.approx(3, abs=1e-3)


def test_pictures_that_have_nothing_in_common_do_not_match() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (2, 224, 224, 3), np.uint8)
    other = measure(Sample(frames, moved(2, 0.2), head=no_head()))
    assert other.likeness == pytest.approx(0, abs=0.02)
    assert "different people or poses" in (other.problem or "")
    same = measure(Sample(frames[[0, 0]], moved(2, 0.2), head=no_head()))
    assert same.likeness == pytest.approx(1) and same.problem is None


def test_a_face_that_was_followed_keeps_its_label_however_much_it_changes() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (2, 224, 224, 3), np.uint8)
    motion = measure(Sample(frames, moved(2, 0.25), head=no_head()), followed=True)
    assert motion.problem is None
    assert "more than a micro-expression" in motion.warnings[0]
    still = measure(Sample(frames, moved(2, 0.1), head=no_head()), followed=True)
    assert "still face" in (still.problem or "")


@pytest.mark.parametrize(
    ("strength", "head", "problem", "warnings"),
    [
        (0.1, 0.0, "no motion above that of a still face: 0.10 px of 224, still faces reach", []),
        (0.25, 0.0, None, ["the motion is weak"]),
        (1.0, 5.0, None, ["the head moves by 5.0 px of 224, the face by 1.0 px"]),
        (1.0, 3.0, None, []),
        (9.0, 0.0, "onset and apex do not match, the face moves by 9.0 px of 224", []),
    ],
)
def test_weak_strong_and_shaken_motion_is_said(
    strength: float, head: float, problem: str | None, warnings: list[str]
) -> None:
    motion = Motion(strength, 0.2, head, 1.0)
    assert (motion.problem is None) if problem is None else (problem in (motion.problem or ""))
    if problem is None:
        assert len(motion.warnings) == len(warnings)
        assert all(text in found for text, found in zip(warnings, motion.warnings, strict=True))
