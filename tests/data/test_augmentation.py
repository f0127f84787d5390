"""Augmentation of batches: values by hand, and motion that stays true under it."""

import sys
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mer.data import inputs
from mer.data.augmentation import PARAMETERS, TABLE, Augmentation, augmentation
from mer.errors import MerError

pytestmark = pytest.mark.usefixtures("one_thread")

STILL = {
    "flip": 0.0,
    "shift": 0.0,
    "scale": 0.0,
    "rotate": 0.0,
    "gain": 0.0,
    "offset": 0.0,
    "noise": 0.0,
}
AUGMENT = {
    "flip": 0.5,
    "shift": 0.1,
    "scale": 0.1,
    "rotate": 10,
    "gain": 0.2,
    "offset": 0.1,
    "noise": 0.1,
}
#: Settings that switch all steps on; parameters set by hand then say what they do.
ON = {**AUGMENT, "noise": 0.0}
IDENTITY = {name: 1.0 if name in ("mirror", "scale", "gain") else 0.0 for name in PARAMETERS}
BLUR = {"_target_": "albumentations.Blur", "blur_limit": [3, 3], "p": 1.0}
DROPOUT = {"_target_": "albumentations.PixelDropout", "dropout_prob": 0.3, "p": 1.0}


def make(name: str, settings: dict[str, Any] = ON) -> Augmentation:
    found = augmentation(settings, inputs.INPUTS[name](16).kind)
    assert found is not None
    return found


def apply(name: str, images: np.ndarray, settings: dict[str, Any] = ON, **changes: float) -> Any:
    """Augment images (B, C, S, S), all with the same parameters, set by hand."""
    row = [{**IDENTITY, **changes}[parameter] for parameter in PARAMETERS]
    parameters = torch.tensor([row] * len(images), dtype=torch.float32)
    return make(name, settings)(torch.from_numpy(images), parameters).numpy()


def noise(name: str, size: int = 16, count: int = 2) -> np.ndarray:
    """Random images in [0, 1]."""
    shape = (count, inputs.INPUTS[name](16).kind.channels, size, size)
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.parametrize("name", inputs.INPUTS)
@pytest.mark.parametrize("size", [16, 21])
def test_parameters_that_change_nothing_leave_a_batch_as_it_is(name: str, size: int) -> None:
    images = noise(name, size)
    np.testing.assert_allclose(apply(name, images), images, atol=1e-6 * size)


def test_mirroring_turns_the_picture_and_negates_u() -> None:
    images = noise("apex_flow")
    expected = images[..., ::-1].copy()
    expected[:, 3] *= -1
    np.testing.assert_array_equal(apply("apex_flow", images, mirror=-1.0), expected)
    difference = noise("difference")  # of grey levels, which have no direction
    found = apply("difference", difference, mirror=-1.0)
    np.testing.assert_array_equal(found, difference[..., ::-1])


def test_a_shift_moves_pixels_while_edges_go_on_and_motion_ends() -> None:
    images = noise("apex_flow")
    found = apply("apex_flow", images, shift_x=3 / 16, shift_y=-2 / 16)  # right and up
    np.testing.assert_allclose(found[..., :14, 3:], images[..., 2:, :13], atol=1e-6)
    edge = np.repeat(images[:, :3, 2:, :1], 3, axis=3)
    np.testing.assert_allclose(found[:, :3, :14, :3], edge, atol=1e-6)
    edge = np.repeat(images[:, :3, -1:, :13], 2, axis=2)
    np.testing.assert_allclose(found[:, :3, 14:, 3:], edge, atol=1e-6)
    assert not found[:, 3:, :, :3].any()
    assert not found[:, 3:, 14:].any()


def test_a_positive_angle_turns_picture_and_vectors_clockwise() -> None:
    images = noise("apex_flow")
    found = apply("apex_flow", images, angle=np.pi / 2)
    # numpy turns counterclockwise as rows are shown from top to bottom.
    turned = np.rot90(images, -1, axes=(2, 3))
    np.testing.assert_allclose(found[:, :3], turned[:, :3], atol=1e-5)
    # What moved right (u) now moves down (v); what moved down now moves left.
    np.testing.assert_allclose(found[:, 4], turned[:, 3], atol=1e-5)
    np.testing.assert_allclose(found[:, 3], -turned[:, 4], atol=1e-5)
    np.testing.assert_allclose(found[:, 5], turned[:, 5], atol=1e-5)


def test_mirroring_comes_before_turning() -> None:
    images = noise("flow")
    found = apply("flow", images, mirror=-1.0, angle=np.pi / 2)
    turned = np.rot90(images[..., ::-1], -1, axes=(2, 3))
    np.testing.assert_allclose(found[:, 1], -turned[:, 0], atol=1e-5)
    np.testing.assert_allclose(found[:, 0], -turned[:, 1], atol=1e-5)


def test_an_enlarged_flow_has_longer_vectors_and_the_same_strain() -> None:
    images = np.empty((1, 3, 16, 16), np.float32)
    images[:] = np.array([2.0, -1.0, 0.5])[:, None, None]
    found = apply("flow", images, scale=1.2)
    expected = np.broadcast_to(np.array([2.4, -1.2, 0.5])[:, None, None], images.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_gain_and_offset_act_about_middle_grey_and_on_the_strength_of_motion() -> None:
    images = np.full((1, 6, 8, 8), 0.6, np.float32)
    found = apply("apex_flow", images, gain=1.2, offset=0.1)
    # Frames: 0.5 + 1.2 (0.6 - 0.5) + 0.1 = 0.72; motion: 1.2 x 0.6, no offset.
    np.testing.assert_allclose(found, 0.72, atol=1e-5)
    images[:, :3], images[:, 3:] = 0.9, -0.9
    found = apply("apex_flow", images, gain=1.2, offset=0.1)
    # 0.5 + 1.2 x 0.4 + 0.1 = 1.08 is no grey level; motion has no bounds.
    np.testing.assert_allclose(found[:, :3], 1.0)
    np.testing.assert_allclose(found[:, 3:], -1.08, atol=1e-5)


def test_noise_has_the_stated_deviation_and_of_motion_that_beside_its_spread() -> None:
    settings = {**STILL, "noise": 0.05}
    images = np.full((4, 6, 64, 64), 0.5, np.float32)
    images[:, 3, :, :32] = 4.5  # 0.5 and 4.5 alike: a standard deviation of 2
    images[:, 4] = 3.0  # no spread, so no noise
    found = apply("apex_flow", images, settings, window=12345.0) - images
    # Of 16,384 numbers each: their deviation is known to 0.6 %.
    for channel, expected in ((0, 0.05), (1, 0.05), (2, 0.05), (3, 0.1)):
        assert found[:, channel].std() == pytest.approx(expected, rel=0.05)
        assert abs(found[:, channel].mean()) < 0.05 * expected
    np.testing.assert_allclose(found[:, 4], 0, atol=1e-3)
    assert abs(np.corrcoef(found[0, 0].ravel(), found[0, 1].ravel())[0, 1]) < 0.1


def test_noise_goes_on_at_the_start_of_its_table() -> None:
    settings = {**STILL, "noise": 0.05}
    images = np.full((1, 3, 16, 16), 0.5, np.float32)
    last = apply("apex", images, settings, window=TABLE - 1.0).ravel()
    first = apply("apex", images, settings, window=0.0).ravel()
    np.testing.assert_array_equal(last[1:], first[:-1])


def test_draws_stay_within_their_bounds_and_are_used_up() -> None:
    drawn = make("flow", AUGMENT).draw([(0, sample) for sample in range(2000)]).numpy()
    mirror, x, y, scale, angle, gain, offset, window = drawn.T
    assert set(mirror) == {-1.0, 1.0}
    assert 0.45 < (mirror < 0).mean() < 0.55
    for values, low, high in (
        (x, -0.1, 0.1),
        (y, -0.1, 0.1),
        (scale, 0.9, 1.1),
        (np.rad2deg(angle), -10, 10),
        (gain, 0.8, 1.2),
        (offset, -0.1, 0.1),
        (window, 0, TABLE),
    ):
        slack = (high - low) * 0.01
        assert low - 1e-5 <= values.min() < low + slack
        assert high - slack < values.max() <= high + 1e-5
    # 2,000 independent draws: a correlation has a standard deviation of 0.022.
    assert np.abs(np.corrcoef(drawn.T) - np.eye(8)).max() < 0.1


@pytest.mark.parametrize("name", inputs.INPUTS)
def test_one_draw_per_sample_and_the_same_draw_for_the_same_name(name: str) -> None:
    kind = inputs.INPUTS[name](16).kind
    frame = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    images = torch.from_numpy(np.concatenate([frame] * (kind.channels // 3), axis=1))
    change, again = make(name), make(name)
    for sample in range(4):
        first = change(images, change.draw([(0, sample, 1)]))
        assert torch.equal(again(images, again.draw([(0, sample, 1)])), first)
        assert first.shape == images.shape
        assert first.dtype == torch.float32
        if name == "onset_apex":  # equal frames must stay equal, or a motion is invented
            assert torch.equal(first[:, :3], first[:, 3:])


@pytest.mark.parametrize("name", ["apex_flow", "onset_apex", "difference"])
def test_a_batch_gives_the_same_as_its_samples_one_by_one(name: str) -> None:
    images, change = torch.from_numpy(noise(name, count=5)), make(name, AUGMENT)
    names = [(3, sample, 7) for sample in range(5)]
    whole = change(images, change.draw(names))
    for sample in range(5):
        alone = change(images[sample : sample + 1], change.draw(names[sample : sample + 1]))
        torch.testing.assert_close(alone[0], whole[sample], atol=1e-6, rtol=0)
    assert not torch.allclose(whole[0], change(images, change.draw(names[::-1]))[0])


def test_a_batch_that_was_given_is_left_as_it_was() -> None:
    for settings in (AUGMENT, {**STILL, "noise": 0.1}, {**STILL, "flip": 1.0}):
        images, change = torch.from_numpy(noise("apex_flow")), make("apex_flow", settings)
        before = images.clone()
        assert not torch.equal(change(images, change.draw([(0, 0), (0, 1)])), before)
        assert torch.equal(images, before)


def test_transforms_of_albumentations_are_carried_out_and_seeded_by_name() -> None:
    images = np.ascontiguousarray(noise("flow").transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(make("flow").one_by_one(images, [(0,), (1,)]), images)
    blurred = make("flow", {**ON, "transforms": [BLUR]}).one_by_one(images, [(0,), (1,)])
    inside = images[:, :3, :3].mean(axis=(1, 2))
    np.testing.assert_allclose(blurred[:, 1, 1], inside, atol=1e-5)
    change = make("flow", {**ON, "transforms": [DROPOUT]})
    first = change.one_by_one(images, [("a",), ("b",)])
    np.testing.assert_array_equal(change.one_by_one(images[1:], [("b",)])[0], first[1])
    same = change.one_by_one(images[[0, 0]], [("a",), ("b",)])
    np.testing.assert_array_equal(same[0], first[0])
    assert (same[1] != first[0]).any()


def test_transforms_without_albumentations_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(MerError, match=r"pip install 'mer\[augment\]'"):
        make("flow", {**ON, "transforms": [BLUR]})


def test_no_settings_are_no_augmentation() -> None:
    assert augmentation(None, inputs.INPUTS["flow"](16).kind) is None


def textured(size: int = 96) -> np.ndarray:
    rough = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(rough, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


def measured_flow(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
    options = (0.5, 3, 21, 5, 7, 1.5, 0)
    return cv2.calcOpticalFlowFarneback(
        onset.astype(np.uint8), apex.astype(np.uint8), None, *options
    )


def moved_triple() -> np.ndarray:
    """Onset, apex and true flow as an image (1, 6, 96, 96): all moves 2 px right and 1 px up."""
    onset = textured()
    apex = cv2.warpAffine(onset, np.float32([[1, 0, 2], [0, 1, -1]]), (96, 96), borderMode=1)
    flow = [np.full((96, 96), value, np.float32) for value in (2, -1, 0)]
    return np.stack([onset / 255, apex / 255, onset / 255, *flow])[None]


@pytest.mark.parametrize(
    "changes",
    [{"mirror": -1.0}, {"angle": -np.pi / 6}, {"angle": np.pi / 6, "scale": 1.2, "mirror": -1.0}],
)
def test_changed_flow_equals_flow_of_the_changed_pair(changes: dict[str, float]) -> None:
    found = apply("apex_flow", moved_triple(), **changes)[0]
    center = np.s_[36:-36, 36:-36]
    measured = measured_flow(255 * found[0], 255 * found[1])[center].mean(axis=(0, 1))
    moved = found[3:5][:, *center].mean(axis=(1, 2))
    np.testing.assert_allclose(moved, measured, atol=0.1)
    assert np.hypot(*moved) == pytest.approx(np.sqrt(5) * changes.get("scale", 1), rel=1e-4)
    if changes == {"mirror": -1.0}:
        np.testing.assert_allclose(moved, [-2, -1], atol=1e-5)
