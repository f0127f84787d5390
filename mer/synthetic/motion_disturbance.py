"""What is in fields of motion beside the expression: gaze, head, edge of the face, noise."""

import functools

import numpy as np

from mer.synthetic.motion_draws import Array, Faces
from mer.synthetic.motion_layout import Layout, bells, outside, placed

#: Centres of the eyes on the canonical face, and the spread of a gaze shift. Eye distances.
_EYES = np.array([(0.37, -0.01), (-0.37, -0.01)], np.float32)
_EYE_SPREAD = (0.09, 0.07)
#: Probability of a gaze shift, and of a still background.
_GAZE, _BACKGROUND = 0.25, 0.6
#: Widths of the skin's texture as shares of the side, coarse and fine, and their strength on a
#: logarithmic scale.
_TEXTURE, _CONTRAST = (0.09, 0.036), 0.45
#: Standard deviation of the head's motion: u and v, each even, growing with x, with y, with xy.
_HEAD = np.array([[0.12, 0.05, 0.0, 0.05], [0.12, 0.0, 0.05, 0.05]], np.float32)
_TURN = 0.06
#: Widths of noise as shares of the side, and its strengths; white noise comes last.
_WIDTHS, _STRENGTHS = (0.143, 0.046), (0.06, 0.05, 0.008)


def disturb(motion: Array, faces: Faces, layout: Layout, source: np.random.Generator) -> Array:
    """Add all that is not the expression's.

    Args:
        motion: Displacements by action units, full ones about 1. Shape: (N, 2, S, S), float32.
        faces: Shapes of the faces.
        layout: How faces lie in the picture.
        source: Random numbers.

    Returns:
        Shape: (N, 2, S, S), float32.
    """
    count, size = len(motion), motion.shape[-1]
    motion = motion * np.exp(_texture(source, count, size))
    motion += _gaze(faces, layout, size, source)
    head = _head(source, count, size, layout.head)
    edge = outside(faces, layout, size)[:, None]
    still = (source.random((count, 1, 1, 1), np.float32) < _BACKGROUND) * edge
    noise = _noise(source, count, size)  # last: its white part alone depends on the size
    disturbed: Array = motion * (1 - 0.8 * still) + head * (1 - still) + noise
    if layout.masked:
        disturbed = (motion + head + noise) * (1 - edge)
    return disturbed


def smooth_noise(
    source: np.random.Generator, shape: tuple[int, ...], size: int, width: float
) -> Array:
    """Draw normal noise of variance 1 that is correlated over a share of the side.

    Args:
        source: Random numbers.
        shape: Leading shape.
        size: Side S in pixels.
        width: Standard deviation of the smoothing, as a share of the side.

    Returns:
        Shape: (*shape, S, S), float32.
    """
    weights = _smoothing(size, width)
    drawn = source.standard_normal((*shape, weights.shape[1], weights.shape[1]), np.float32)
    across = drawn.reshape(-1, weights.shape[1]) @ weights.T  # much faster as one product
    noise: Array = weights @ across.reshape(*shape, -1, size)
    return noise


@functools.cache
def _smoothing(size: int, width: float) -> Array:
    """Weights (S, M) of a bell around each pixel, over points one standard deviation apart."""
    reach = int(np.ceil(0.5 / width)) + 2
    points = width * np.arange(-reach, reach + 1)
    pixels = (np.arange(size) + 0.5) / size - 0.5
    weights = np.exp(-0.5 * np.square((pixels[:, None] - points) / width))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return weights.astype(np.float32)


def _texture(source: np.random.Generator, count: int, size: int) -> Array:
    """Flow is weak where the skin is even, strong at brows, lids and folds, which halves share."""
    coarse, fine = (smooth_noise(source, (count, 1), size, width) for width in _TEXTURE)
    even: Array = np.float32(_CONTRAST / 2**0.5) * (coarse + coarse[..., ::-1])
    return even + np.float32(_CONTRAST) * fine


def _gaze(faces: Faces, layout: Layout, size: int, source: np.random.Generator) -> Array:
    """Both eyes turn alike. Shape: (N, 2, S, S)."""
    count = len(faces.angle)
    direction = 2 * np.pi * source.random(count, np.float32)
    strength = 0.6 * (source.random(count) < _GAZE)
    spreads = tuple(
        np.broadcast_to(np.float32(spread) * faces.scale[:, axis, None], (count, 2))
        for axis, spread in enumerate(_EYE_SPREAD)
    )
    across, along = bells(placed(_EYES, faces), (spreads[0], spreads[1]), layout, size)
    both = np.swapaxes(along, 1, 2) @ across
    vector = strength * np.stack([np.cos(direction), np.sin(direction)])
    shift: Array = vector.T.astype(np.float32)[:, :, None, None] * both[:, None]
    return shift


def _head(source: np.random.Generator, count: int, size: int, strength: float) -> Array:
    """The head moves, turns and comes closer. Shape: (N, 2, S, S)."""
    weights = source.standard_normal((count, *_HEAD.shape), np.float32) * _HEAD
    turn = np.float32(_TURN) * source.standard_normal(count, np.float32)
    weights[:, 0, 2] += turn
    weights[:, 1, 1] -= turn
    weights *= strength * np.exp(0.8 * source.standard_normal((count, 1, 1), np.float32))
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, size, dtype=np.float32)], indexing="ij")
    motion: Array = np.tensordot(weights, np.stack([np.ones_like(x), x, y, x * y]), axes=1)
    return motion


def _noise(source: np.random.Generator, count: int, size: int) -> Array:
    """Noise of flow methods, coarse, fine and white; its strength differs. Shape: (N, 2, S, S)."""
    strengths = np.array(_STRENGTHS, np.float32) * np.exp(
        0.6 * source.standard_normal((count, 3), np.float32)
    )
    coarse, fine, white = strengths.T[:, :, None, None, None]
    noise: Array = coarse * smooth_noise(source, (count, 2), size, _WIDTHS[0])
    uneven = 0.5 + 0.5 * np.abs(smooth_noise(source, (count, 1), size, _WIDTHS[0]))
    noise += fine * uneven * smooth_noise(source, (count, 2), size, _WIDTHS[1])
    noise += white * source.standard_normal((count, 2, size, size), np.float32)
    return noise
