"""Inputs: values by hand, and inputs of one's own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mer.config.settings import Input
from mer.data import inputs
from mer.data.inputs import SampleInput
from mer.errors import MerError
from mer.prepare.sample import Sample

SIZE = 8
ONSET = np.full((16, 16, 3), 51, np.uint8)  # 0.2
APEX = np.full((16, 16, 3), 102, np.uint8)  # 0.4
FLOW = np.stack([np.full((16, 16), value, np.float32) for value in (2.0, -1.0, 0.5)])


def build(name: str, center: str = "none", flow: np.ndarray | None = FLOW) -> np.ndarray:
    return inputs.make(Input(name, SIZE, center)).build(Sample(np.stack([ONSET, APEX]), flow))


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
    assert image.shape == (SIZE, SIZE, len(pixel))
    np.testing.assert_allclose(image, np.broadcast_to(pixel, image.shape), atol=1e-6)


def test_center_takes_out_the_motion_of_the_head() -> None:
    flow = FLOW.copy()
    flow[0, :4, :4] += 1.0  # a corner moves one stored pixel more than the head
    image = build("flow", center="median", flow=flow)
    assert image[-1, -1].tolist() == pytest.approx([0.0, 0.0, 0.5])
    assert image[0, 0].tolist() == pytest.approx([0.5, 0.0, 0.5])


def finish(scale: str = "none", blur: float = 0.0, center: str = "none") -> np.ndarray:
    """u is 2 on the left half and 4 on the right, v is -1, strain 0.5 and 1.5, of 8 pixels."""
    flow = np.full((3, SIZE, SIZE), -1.0, np.float32)
    flow[0, :, :4], flow[0, :, 4:] = 2.0, 4.0
    flow[2, :, :4], flow[2, :, 4:] = 0.5, 1.5
    settings = Input("apex_flow", SIZE, center, scale, blur)
    sample = Sample(np.stack([ONSET, APEX]), flow)
    image = inputs.make(settings).build(sample)
    assert image[..., :3] == pytest.approx(0.4)  # frames stay as they are
    return image[0, ..., 3:]


def test_each_channel_is_divided_by_its_own_root_mean_square() -> None:
    # Mean squares: u (4 + 16) / 2 = 10, v 1, strain (.25 + 2.25) / 2 = 1.25.
    left, right = finish("channel")[[0, -1]]
    assert left.tolist() == pytest.approx([2 / 10**0.5, -1, 0.5 / 1.25**0.5])
    assert right.tolist() == pytest.approx([4 / 10**0.5, -1, 1.5 / 1.25**0.5])


def test_joint_scale_keeps_the_direction_of_motion() -> None:
    # u and v together: (10 + 1) / 2.
    left = finish("joint")[0]
    assert left.tolist() == pytest.approx([2 / 5.5**0.5, -1 / 5.5**0.5, 0.5 / 1.25**0.5])


def test_medians_go_before_the_scale_where_center_says_so() -> None:
    # Medians: u 3, v -1, strain 1. What is left: u and strain at +-1 and +-.5, v nowhere.
    left, right = finish("channel", center="median")[[0, -1]]
    assert left.tolist() == pytest.approx([-1, 0, -1])
    assert right.tolist() == pytest.approx([1, 0, 1])


def test_blur_is_a_gaussian_in_pixels_of_the_input() -> None:
    row = finish(blur=0.7)
    weights = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 0.7**2))
    weights /= weights.sum()
    # Pixel 3 is the last one at 2; those from 4 on, with the weights of distances 1, 2, 3, are 4.
    assert row[3, 0] == pytest.approx(2 + 2 * weights[4:].sum(), abs=1e-2)
    assert row[:, 1] == pytest.approx(-1)
    assert row[0, 0] == pytest.approx(2, abs=1e-3)


def test_a_still_sample_stays_at_zero() -> None:
    settings = Input("flow", SIZE, "median", "channel")
    image = inputs.make(settings).build(Sample(flow=np.zeros((3, SIZE, SIZE), np.float32)))
    assert not image.any()


def test_frames_cannot_be_scaled() -> None:
    with pytest.raises(MerError, match="blur change motion, and input=apex has none"):
        inputs.make(Input("apex", SIZE, "none", "joint"))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(MerError, match=r"Unknown input.name `optical`\. Set one of: apex"):
        build("optical", flow=None)
    with pytest.raises(MerError, match="center is mean; set median or none"):
        build("flow", center="mean")
    with pytest.raises(MerError, match="Input `Flow` needs flow of every sample"):
        build("flow", flow=None)


@dataclass(frozen=True)
class Steps(SampleInput):
    """The apex where it is brighter than the onset by some step, and the flow's direction."""

    channels = ("frame", "u", "v", "signed")
    needs = ("onset", "apex", "flow")
    step: float = 0.1

    def draw(self, sample: Sample) -> np.ndarray:
        onset, apex = (part[..., :1] / 255 for part in (self.onset(sample), self.apex(sample)))
        motion = self.flow(sample)[..., :2]
        return np.concatenate([apex * (apex - onset > self.step), motion, apex - onset], axis=2)


class Unordered(Steps):
    channels = ("u", "frame", "v", "red")
    needs = ("offset",)


class TooSmall(Steps):
    def draw(self, sample: Sample) -> np.ndarray:
        return np.zeros((4, 4, 4))


def own(kind: str, **settings: Any) -> Input:
    return Input("own", SIZE, "none", target=f"{__name__}.{kind}", **settings)


def test_an_own_input_is_built_as_the_others_are() -> None:
    made = inputs.make(own("Steps"))
    image = made.build(Sample(np.stack([ONSET, APEX]), FLOW))
    assert image.dtype == np.float32
    assert image[3, 3].tolist() == pytest.approx([0.4, 1.0, -0.5, 0.2])
    image = inputs.make(own("Steps", kwargs={"step": 0.3})).build(
        Sample(np.stack([ONSET, APEX]), FLOW)
    )
    assert image[3, 3, 0] == 0
    kind = made.kind
    assert (kind.channels, kind.frames, kind.signed) == (4, (0,), (1, 2, 3))
    assert kind.vectors == ((1, 2),)


def test_an_own_input_that_breaks_the_contract_is_told_all_of_it() -> None:
    with pytest.raises(MerError) as refused:
        inputs.make(own("Unordered"))
    text = str(refused.value)
    assert "a channel is `red`; it may be frame, u, v, signed, unsigned" in text
    assert "`needs` has `offset`; it may have onset, apex, flow, landmarks" in text
    assert "frames must be the first channels" in text
    assert "each u must be followed by its v" in text
    with pytest.raises(MerError, match=r"is no subclass of mer.data.inputs.SampleInput"):
        inputs.make(own("APEX"))
    with pytest.raises(MerError, match=r"takes no depth"):
        inputs.make(own("Steps", kwargs={"depth": 1}))
    with pytest.raises(MerError, match=r"gave an array of \(4, 4, 4\), expected \(8, 8, 4\)"):
        inputs.make(own("TooSmall")).build(Sample(np.stack([ONSET, APEX]), FLOW))
    with pytest.raises(MerError, match=r"set input._target_"):
        inputs.make(Input("flow", kwargs={"step": 0.1}))
