"""Motion of regions on textured pictures that are moved by known amounts."""

import cv2
import numpy as np
import pytest

from mer.spotting.regions import Patches, aligned, head_motion


def texture(size: int = 128) -> np.ndarray:
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.normal(0, 1, (size, size)).astype(np.float32), (0, 0), 3)
    return 100 + 200 * picture


def moved(picture: np.ndarray, right: float, down: float) -> np.ndarray:
    """Shift a picture exactly, by the phases of its waves; OpenCV rounds to a 32nd of a pixel."""
    rows, columns = (np.fft.fftfreq(side) for side in picture.shape)
    phase = np.exp(-2j * np.pi * (down * rows[:, None] + right * columns[None, :]))
    return np.fft.ifft2(np.fft.fft2(picture) * phase).real.astype(np.float32)


MIDDLES = np.array([[x, y] for y in (40.0, 64.0, 88.0) for x in (40.0, 64.0, 88.0)])


@pytest.mark.parametrize("shift", [(0.05, -0.03), (0.5, 0.2), (2.5, -1.5)])
def test_a_known_shift_is_found_to_a_fiftieth_of_a_pixel(shift: tuple[float, float]) -> None:
    picture = texture()
    shifts, alike = Patches(picture, MIDDLES, 6.0).shifts(moved(picture, *shift))
    assert np.abs(shifts - shift).max() < 0.02 + 0.03 * np.hypot(*shift)
    assert alike.min() > 0.95


def test_brighter_light_is_no_motion_and_another_picture_is_not_alike() -> None:
    picture = texture()
    patches = Patches(picture, MIDDLES, 6.0)
    shifts, alike = patches.shifts(1.2 * picture + 15)
    assert np.abs(shifts).max() < 0.2
    assert alike.min() > 0.99
    _, alike = patches.shifts(np.ascontiguousarray(texture()[::-1]))
    assert np.median(alike) < 0.7


def test_the_head_is_what_most_regions_agree_on() -> None:
    angle, scale = np.deg2rad(1.0), 1.01
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shifts = MIDDLES @ linear.T + (3.0, -2.0) - MIDDLES
    shifts[[0, 5]] += ((0.0, 1.5), (-1.0, 0.0))  # a brow and a corner of the mouth
    matrix = head_motion(shifts, MIDDLES, np.ones(9, bool))
    assert matrix[:, :2] == pytest.approx(linear, abs=2e-3)
    assert matrix[:, 2] == pytest.approx((3.0, -2.0), abs=0.15)
    rest = shifts - (MIDDLES @ matrix[:, :2].T + matrix[:, 2] - MIDDLES)
    assert rest[0] == pytest.approx((0, 1.5), abs=0.05)
    assert rest[5] == pytest.approx((-1, 0), abs=0.05)


def test_the_crop_is_cut_at_the_border_and_keeps_its_mean() -> None:
    picture = np.dstack([np.clip(texture(200), 0, 255).astype(np.uint8)] * 3)
    matrix = np.array([[1.0, 0, 60], [0, 1.0, 70]])  # the crop begins outside the picture
    crop = aligned(picture, matrix)
    assert crop.shape == (128, 128)
    assert crop.mean() == pytest.approx(100, abs=1e-3)
    inside = cv2.GaussianBlur(picture[..., 0].astype(np.float32), (0, 0), 1.2)
    expected = inside[:58, :68] * (100 / (inside[:58, :68].mean()))
    part = crop[70:, 60:] * (100 / crop[70:, 60:].mean())
    assert np.abs(part - expected)[8:-8, 8:-8].max() < 1.0
