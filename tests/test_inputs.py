"""Inputs: values by hand."""

import numpy as np
import pytest

from mer.config.settings import Input
from mer.data import inputs
from mer.errors import MerError

SIZE = 8
ONSET = np.full((16, 16, 3), 51, np.uint8)  # 0.2
APEX = np.full((16, 16, 3), 102, np.uint8)  # 0.4
FLOW = np.stack([np.full((16, 16), value, np.float32) for value in (2.0, -1.0, 0.5)])


def build(name: str, center: str = "none", flow: np.ndarray | None = FLOW) -> np.ndarray:
    return inputs.build(Input(name, SIZE, center), ONSET, APEX, flow)


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
        build("optical", flow=None)
    with pytest.raises(MerError, match="center is mean; set median or none"):
        build("flow", center="mean")
    with pytest.raises(MerError, match="Input `flow` needs flow of every sample"):
        build("flow", flow=None)
