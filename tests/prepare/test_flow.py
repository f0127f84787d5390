"""Optical flow: recovered motion, strain by hand, refusals."""

import numpy as np
import pytest

from mer.config.settings import DIS, Flow
from mer.errors import MerError
from mer.prepare import flow, methods
from mer.prepare.flow import FlowField
from mer.prepare.stabilise import head_motion, soft_edge

PLAIN = {"stabilise": False, "face_only": False}


WAVES = np.random.default_rng(0).uniform((0, 8, 0), (2 * np.pi, 60, 2 * np.pi), (40, 3))


def shade(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth texture that can be asked anywhere: grey levels of 40 plane waves, 8 to 60 px long.

    Moving a picture by interpolation would be off by several hundredths of a pixel.
    """
    angle, length, phase = WAVES[:, :, None, None].swapaxes(0, 1)
    along = x * np.cos(angle) + y * np.sin(angle)
    return 128 + 10 * (np.sin(2 * np.pi * along / length + phase) * np.sqrt(length / 20)).sum(
        axis=0
    )


def to_picture(grey: np.ndarray, noise: float = 0.0, seed: int = 3) -> np.ndarray:
    grey = grey + np.random.default_rng(seed).normal(0, 1, grey.shape) * noise
    return np.clip(grey, 0, 255).round().astype(np.uint8)


def texture(size: int = 128) -> np.ndarray:
    y, x = np.mgrid[:size, :size].astype(float)
    return to_picture(shade(x, y))


def pair(u: np.ndarray, v: np.ndarray, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Onset and apex between which the texture moves by (u, v) px.

    The onset shows at x what the apex shows at x + u, which is the definition of flow.
    """
    y, x = np.mgrid[: u.shape[0], : u.shape[1]].astype(float)
    return to_picture(shade(x + u, y + v), noise, 3), to_picture(shade(x, y), noise, 4)


def constant(u: float, v: float, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    return np.full((size, size), u, np.float32), np.full((size, size), v, np.float32)


def own_flow(onset: np.ndarray, apex: np.ndarray, gain: float = 1.0) -> np.ndarray:
    """The difference as motion to the right, none downwards."""
    return np.stack([gain * (apex.astype(np.float64) - onset), np.zeros(onset.shape)])


def flat_flow(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
    return np.moveaxis(own_flow(onset, apex), 0, -1)


def endless_flow(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
    return own_flow(onset, apex) / 0


def field(u: np.ndarray, v: np.ndarray) -> FlowField:
    return FlowField(u.astype(np.float32), v.astype(np.float32))


@pytest.mark.parametrize("method", sorted(methods.COMPUTE))
@pytest.mark.parametrize(("u", "v"), [(0.3, 0.0), (0.0, -0.3), (1.0, -0.5)])
def test_a_constant_shift_is_recovered(method: str, u: float, v: float) -> None:
    onset, apex = pair(*constant(u, v), noise=2)
    found = flow.compute(onset, apex, Flow(method=method, **PLAIN))
    inner = (slice(16, -16), slice(16, -16))
    # Within 15 % of the length, sign included: u is to the right, v downwards.
    assert found.u[inner].mean() == pytest.approx(u, abs=0.15 * np.hypot(u, v))
    assert found.v[inner].mean() == pytest.approx(v, abs=0.15 * np.hypot(u, v))
    assert found.u.dtype == found.v.dtype == np.float32


@pytest.mark.parametrize(("u", "v"), [(0.1, 0.0), (-0.08, 0.06)])
def test_tvl1_recovers_a_tenth_of_a_pixel(u: float, v: float) -> None:
    # OpenCV's cubic warp would take 0.072 px for 0.1; a tolerance of 0.015 px tells them apart.
    onset, apex = pair(*constant(u, v), noise=2)
    found = flow.compute(onset, apex, Flow(method="tvl1", **PLAIN))
    inner = (slice(16, -16), slice(16, -16))
    assert found.u[inner].mean() == pytest.approx(u, abs=0.015)
    assert found.v[inner].mean() == pytest.approx(v, abs=0.015)


def test_tvl1_takes_sides_of_any_length() -> None:
    onset, apex = pair(*(part[:97, :61] for part in constant(0.6, -0.3)))
    found = flow.compute(onset, apex, Flow(method="tvl1", **PLAIN))
    assert found.u.shape == (97, 61)
    assert found.u[12:-12, 12:-12].mean() == pytest.approx(0.6, abs=0.06)
    assert found.v[12:-12, 12:-12].mean() == pytest.approx(-0.3, abs=0.06)


@pytest.mark.parametrize("method", sorted(methods.COMPUTE))
def test_a_mirrored_pair_gives_the_mirrored_flow(method: str) -> None:
    onset, apex = pair(*constant(0.8, 0.4))
    plain = flow.compute(onset, apex, Flow(method=method, **PLAIN))
    mirrored = flow.compute(
        onset[:, ::-1].copy(), apex[:, ::-1].copy(), Flow(method=method, **PLAIN)
    )
    inner = (slice(16, -16), slice(16, -16))
    assert mirrored.u[inner].mean() == pytest.approx(-0.8, abs=0.1)
    assert np.abs(mirrored.u + plain.u[:, ::-1])[inner].mean() < 0.06
    assert np.abs(mirrored.v - plain.v[:, ::-1])[inner].mean() < 0.06


@pytest.mark.parametrize("method", sorted(methods.COMPUTE))
def test_swapping_onset_and_apex_changes_the_sign(method: str) -> None:
    onset, apex = pair(*constant(0.6, -0.6))
    inner = (slice(16, -16), slice(16, -16))
    swapped = flow.compute(apex, onset, Flow(method=method, **PLAIN))
    assert swapped.u[inner].mean() == pytest.approx(-0.6, abs=0.13)
    assert swapped.v[inner].mean() == pytest.approx(0.6, abs=0.13)


def test_a_fourth_of_the_iterations_with_more_relaxation_is_as_true() -> None:
    onset, apex = pair(*constant(0.4, 0.2), noise=2)

    def error(dis: DIS) -> float:
        found = flow.compute(onset, apex, Flow(dis=dis, **PLAIN))
        return float(np.hypot(found.u - 0.4, found.v - 0.2)[16:-16, 16:-16].mean())

    fast, few = DIS(refinements=5, relaxation=1.9), DIS(refinements=5)
    assert error(fast) < 1.05 * error(DIS()) < error(few)


def test_strain_by_hand() -> None:
    y, x = np.mgrid[:20, :20].astype(np.float32)
    zero = np.zeros_like(x)
    # Stretch u = .02 x: exx = .02, the rest 0, magnitude .02.
    assert np.allclose(field(0.02 * x, zero).strain(), 0.02, atol=1e-6)
    # Both ways, v = -.01 y too: sqrt(.02^2 + .01^2) = .02236.
    assert np.allclose(field(0.02 * x, -0.01 * y).strain(), 0.0223607, atol=1e-6)
    # Shear u = .02 y: exy = .01, magnitude sqrt(2 * .01^2) = .014142.
    assert np.allclose(field(0.02 * y, zero).strain(), 0.0141421, atol=1e-6)
    # Rotation u = -.02 y, v = .02 x deforms nothing.
    assert np.allclose(field(-0.02 * y, 0.02 * x).strain(), 0, atol=1e-6)


def test_the_array_holds_u_v_and_strain() -> None:
    y, x = np.mgrid[:16, :16].astype(np.float32)
    array = field(0.02 * x, 0.5 + 0 * y).to_array()
    assert array.shape == (3, 16, 16) and array.dtype == np.float16
    assert np.allclose(array[2], 0.02, atol=1e-3)
    assert np.allclose(array[0], 0.02 * x, atol=1e-3) and np.allclose(array[1], 0.5)


@pytest.mark.parametrize("method", sorted(methods.COMPUTE))
@pytest.mark.parametrize("stabilise", [False, True])
def test_constant_pictures_give_zero_and_no_nan(method: str, stabilise: bool) -> None:
    onset, apex = np.full((64, 64), 90, np.uint8), np.full((64, 64), 91, np.uint8)
    found = flow.compute(onset, apex, Flow(method=method, stabilise=stabilise))
    assert np.isfinite(found.to_array()).all() and np.abs(found.to_array()).max() < 0.05


def test_equal_pictures_are_still() -> None:
    picture = texture()
    found = flow.compute(picture, picture.copy(), Flow())
    assert found.still and not found.to_array().any()
    assert not flow.compute(*pair(*constant(0.5, 0)), Flow(**PLAIN)).still


def expression(size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Two brows, 12 px wide (standard deviation), that rise by 0.8 px."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    bumps = sum(np.exp(-((x - at) ** 2 + (y - 40) ** 2) / (2 * 12**2)) for at in (36, 92))
    return np.zeros_like(x), -0.8 * bumps


def test_stabilising_takes_the_head_motion_out_and_leaves_the_expression() -> None:
    u, v = expression()
    y, x = np.mgrid[:128, :128] - 63.5
    # The head shifts by (1, -0.6), turns by 0.4 degrees and comes 0.4 % nearer.
    a, b = 1.004 * np.cos(np.deg2rad(0.4)) - 1, 1.004 * np.sin(np.deg2rad(0.4))
    onset, apex = pair(u + a * x - b * y + 1, v + b * x + a * y - 0.6)
    inner = (slice(10, -10), slice(10, -10))

    def error(stabilise: bool) -> float:
        found = flow.compute(onset, apex, Flow(stabilise=stabilise, face_only=False))
        return float(np.hypot(found.u - u, found.v - v)[inner].mean())

    assert error(stabilise=False) > 1.0  # hypot(1, .6) = 1.17 and the turn
    assert error(stabilise=True) < 0.15
    brow = flow.compute(onset, apex, Flow(face_only=False)).v[36:44, 32:40].mean()
    assert brow == pytest.approx(v[36:44, 32:40].mean(), abs=0.3)


def test_head_motion_is_fitted_exactly_and_only_where_told() -> None:
    y, x = np.mgrid[:40, :40] - 19.5
    rigid = np.stack([0.01 * x - 0.02 * y + 1, 0.02 * x + 0.01 * y - 2], axis=-1)
    outlier = rigid.copy()
    outlier[:12] += 5  # less than a third of the rows moves by itself
    assert np.allclose(head_motion(outlier), rigid, atol=0.05)
    background = rigid.copy()
    background[:, :24] = 0  # more than half stands still, but isn't face
    assert np.allclose(head_motion(background, x > 4), rigid, atol=1e-4)


def test_flow_outside_the_face_is_zero_with_a_soft_edge() -> None:
    face = np.zeros((128, 128), bool)
    face[32:96, 32:96] = True
    onset, apex = pair(*constant(1.0, 0.0))
    found = flow.compute(onset, apex, Flow(stabilise=False), face=face)
    assert np.abs(found.u[:20]).max() < 1e-3 and found.u[56:72, 56:72].mean() > 0.9
    weight = soft_edge(face)
    assert weight.dtype == np.float32 and weight[64, 64] == pytest.approx(1)
    # By symmetry the weight is one half on the edge itself, between columns 31 and 32.
    assert (weight[64, 31] + weight[64, 32]) / 2 == pytest.approx(0.5, abs=1e-3)


def test_wrong_pictures_are_refused_by_name() -> None:
    gray = texture()
    with pytest.raises(
        MerError, match=r"smic/s01/a: .*the apex is uint8 \(128, 128, 3\).*COLOR_RGB2GRAY"
    ):
        flow.compute(gray, np.dstack([gray] * 3), Flow(), sample="smic/s01/a")
    with pytest.raises(MerError, match="the onset is float32"):
        flow.compute(gray.astype(np.float32), gray, Flow())
    with pytest.raises(
        MerError, match=r"smic/s01/a: the onset is \(128, 128\) and the apex \(128, 100\)"
    ):
        flow.compute(gray, gray[:, :100], Flow(), sample="smic/s01/a")
    with pytest.raises(MerError, match="at least 32 px"):
        flow.compute(gray[:28, :28], gray[:28, :28], Flow())
    with pytest.raises(MerError, match="method is null"):
        flow.compute(gray, gray, Flow(method=None))


def test_an_own_function_is_a_method() -> None:
    onset, apex = np.full((2, 40, 40), 100, np.uint8)
    apex[0, 0] = 103
    settings = Flow(target=f"{__name__}.own_flow", kwargs={"gain": 0.5}, **PLAIN)
    made = flow.compute(onset, apex, settings)
    assert (made.u[0, 0], made.u[1:].any(), made.v.any()) == (1.5, False, False)
    assert made.u.dtype == np.float32
    assert Flow(method=None, target=f"{__name__}.own_flow").used is None
    steady = flow.compute(onset, onset + 3, Flow(target=f"{__name__}.own_flow"))
    assert np.abs(steady.u).max() < 1e-6  # the head's motion is taken out of it too


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"target": "flat_flow"},
            r"gave an array of \(40, 40, 2\), expected .* \(2, 40, 40\)",
        ),
        ({"target": "endless_flow"}, r"gave an array of \(2, 40, 40\), expected finite numbers"),
        ({"target": "own_flow", "kwargs": {"speed": 1}}, "takes no speed; it takes "),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_an_own_function_gives_a_field(settings: dict, message: str) -> None:
    onset, apex = np.full((2, 40, 40), 100, np.uint8)
    apex[0, 0] = 103
    settings = {**settings, "target": f"{__name__}.{settings['target']}"}
    with pytest.raises(MerError, match=message):
        flow.compute(onset, apex, Flow(**settings, **PLAIN))


def test_an_own_function_is_looked_for_before_anything_is_read() -> None:
    with pytest.raises(MerError, match="there is no package nolab"):
        flow.check(Flow(target="nolab.flow"))
    with pytest.raises(MerError, match=r"set prepare.flow._target_"):
        flow.check(Flow(kwargs={"gain": 1}))
