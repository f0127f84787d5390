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
    with pytest.raises(MerError, match=r"unexpected keyword argument 'depth'"):
        inputs.make(own("Steps", kwargs={"depth": 1}))
    with pytest.raises(MerError, match=r"gave an array of \(4, 4, 4\), expected \(8, 8, 4\)"):
        inputs.make(own("TooSmall")).build(Sample(np.stack([ONSET, APEX]), FLOW))
    with pytest.raises(MerError, match=r"set input._target_"):
        inputs.make(Input("flow", kwargs={"step": 0.1}))
