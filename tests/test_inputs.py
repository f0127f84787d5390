"""Inputs and augmentation: values by hand, and motion that stays true under both."""

import albumentations as A
import cv2
import numpy as np
import pytest

from mer.data import inputs
from mer.data.transforms import FlowAffine, FlowFlip, augmentation
from mer.errors import MerError

SIZE = 8
ONSET = np.full((16, 16, 3), 51, np.uint8)  # 0.2
APEX = np.full((16, 16, 3), 102, np.uint8)  # 0.4
FLOW = np.stack([np.full((16, 16), value, np.float32) for value in (2.0, -1.0, 0.5)])
AUGMENT = {"flip": 0.5, "shift": 0.1, "scale": 0.1, "rotate": 10, "gain": 0.2, "offset": 0.1}


def build(name: str, center: str = "none", flow: np.ndarray | None = FLOW) -> np.ndarray:
    settings = {"name": name, "size": SIZE, "center": center}
    return inputs.build(settings, ONSET, APEX, flow)


@pytest.mark.parametrize(
    ("name", "pixel"),
    [
        ("apex", [0.4, 0.4, 0.4]),
        ("onset_apex", [0.2, 0.2, 0.2, 0.4, 0.4, 0.4]),
        ("difference", [0.2, 0.2, 0.2]),
        # 16 px shrink to 8: the vectors halve, the strain stays.
        ("flow", [1.0, -0.5, 0.5]),
        ("apex_flow", [0.4, 0.4, 0.4, 1.0, -0.5, 0.5]),
    ],
)
def test_values_and_channels(name: str, pixel: list[float]) -> None:
    image = build(name)
    assert image.dtype == np.float32
    assert image.shape == (SIZE, SIZE, inputs.KINDS[name].channels)
    np.testing.assert_allclose(image, np.broadcast_to(pixel, image.shape), atol=1e-6)


def test_center_takes_out_the_motion_of_the_head() -> None:
    flow = FLOW.copy()
    flow[0, :4, :4] += 1.0  # a corner moves one stored pixel more than the head
    image = build("flow", center="median", flow=flow)
    assert image[-1, -1].tolist() == pytest.approx([0.0, 0.0, 0.5])
    assert image[0, 0].tolist() == pytest.approx([0.5, 0.0, 0.5])


def test_wrong_settings_are_named() -> None:
    with pytest.raises(MerError, match=r"Unknown input.name `optical`\. Set one of: apex"):
        build("optical")
    with pytest.raises(MerError, match=r"input\.center is `mean`"):
        build("flow", center="mean")
    with pytest.raises(MerError, match="Input `flow` needs flow of every sample"):
        build("flow", flow=None)


def textured(size: int = 96) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


def measured_flow(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
    options = (0.5, 3, 21, 5, 7, 1.5, 0)
    return cv2.calcOpticalFlowFarneback(
        onset.astype(np.uint8), apex.astype(np.uint8), None, *options
    )


def moved_pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Onset, apex and true flow: everything moves 2 px right and 1 px up."""
    onset = textured()
    apex = cv2.warpAffine(onset, np.float32([[1, 0, 2], [0, 1, -1]]), (96, 96), borderMode=1)
    flow = np.zeros((96, 96, 3), np.float32)
    flow[..., 0], flow[..., 1] = 2, -1
    return onset, apex, flow


def test_mirrored_flow_equals_flow_of_the_mirrored_pair() -> None:
    onset, apex, flow = moved_pair()
    measured = measured_flow(onset[:, ::-1].copy(), apex[:, ::-1].copy())
    mirrored = A.Compose([FlowFlip(((0, 1),), p=1.0)])(image=flow)["image"]
    center = np.s_[24:-24, 24:-24]
    assert mirrored[center][..., 0].mean() == pytest.approx(-2)
    assert measured[center][..., 0].mean() == pytest.approx(-2, abs=0.1)
    assert measured[center][..., 1].mean() == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize("scale", [1.0, 1.2])
def test_turned_flow_equals_flow_of_the_turned_pair(scale: float) -> None:
    onset, apex, flow = moved_pair()
    matrix = np.vstack([cv2.getRotationMatrix2D((47.5, 47.5), 30, scale), [0, 0, 1]])
    turned = [cv2.warpAffine(p, matrix[:2], (96, 96), borderMode=1) for p in (onset, apex)]
    measured = measured_flow(*turned)[36:-36, 36:-36].mean(axis=(0, 1))
    step = FlowAffine(((0, 1),), shift=0.0, scale=0.0, rotate=0.0)
    moved = step.apply(flow, matrix=matrix, output_shape=(96, 96))[48, 48]
    np.testing.assert_allclose(moved[:2], measured, atol=0.1)


@pytest.mark.parametrize("name", inputs.KINDS)
def test_one_draw_per_sample_and_the_same_draw_for_the_same_seed(name: str) -> None:
    kind = inputs.KINDS[name]
    transform = augmentation({**AUGMENT, "noise": 0.0}, kind)
    frame = np.random.default_rng(0).random((32, 32, 3), np.float32)
    image = np.concatenate([frame] * (kind.channels // 3), axis=2)
    for seed in range(4):
        transform.set_random_seed(seed)
        first = transform(image=image)["image"]
        transform.set_random_seed(seed)
        np.testing.assert_array_equal(first, transform(image=image)["image"])
        assert first.shape == image.shape
        assert first.dtype == np.float32
        if name == "onset_apex":  # equal frames must stay equal, or a motion is invented
            np.testing.assert_array_equal(first[..., :3], first[..., 3:])


def test_augmentation_moves_something_and_can_be_switched_off() -> None:
    kind = inputs.KINDS["flow"]
    image = np.random.default_rng(0).random((32, 32, 3), np.float32)
    transform = augmentation({**AUGMENT, "noise": 0.1}, kind)
    transform.set_random_seed(1)
    assert np.abs(transform(image=image)["image"] - image).mean() > 0.01
    assert augmentation(None, kind) is None
