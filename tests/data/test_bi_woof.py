"""Bi-WOOF: histograms worked out by hand."""

import numpy as np
import pytest

from mer.config.settings import Input
from mer.data import inputs
from mer.prepare.sample import Sample


def test_pixels_count_by_length_and_blocks_by_strain() -> None:
    flow = np.zeros((3, 4, 4), np.float32)
    flow[:, :2, :2] = np.array([3.0, 4.0, 0.5])[:, None, None]  # right and down, length 5
    flow[:, 0, 3] = [0.0, -2.0, 2.0]  # one pixel of the second block: up; mean strain 0.5
    flow[2, 2:, :2] = 1.0  # strain without motion counts nothing
    made = inputs.make(Input("bi_woof", 2, "none", target="mer.data.bi_woof.BiWOOF"))
    image = made.build(Sample(None, flow))
    assert image.shape == (2, 2, 8)
    expected = np.zeros((2, 2, 8))
    # Eighths of a turn from the left over the top: up begins at 2, right-down is between 5 and 6.
    expected[0, 0, 5] = 5.0 * 0.5
    expected[0, 1, 2] = 2.0 / 4 * 0.5
    np.testing.assert_allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize(("u", "v", "place"), [(-1, -0.1, 0), (1, 0.1, 4), (0.1, 1, 5), (-1, 1, 7)])
def test_directions(u: float, v: float, place: int) -> None:
    flow = np.empty((3, 2, 2), np.float32)
    flow[:] = np.array([u, v, 1.0])[:, None, None]
    made = inputs.make(Input("bi_woof", 1, "none", target="mer.data.bi_woof.BiWOOF"))
    assert made.build(Sample(None, flow))[0, 0].argmax() == place


def test_the_median_motion_is_taken_out() -> None:
    flow = np.ones((3, 2, 2), np.float32)
    made = inputs.make(Input("bi_woof", 1, "median", target="mer.data.bi_woof.BiWOOF"))
    assert not made.build(Sample(None, flow)).any()
