"""What a network sees of a sample: the five inputs, built in one place for every stage.

Training, evaluation, prediction on a video and export all call `build`, so they cannot disagree.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mer.config.settings import Input
from mer.errors import MerError


@dataclass(frozen=True)
class InputKind:
    """The channels of an input.

    Args:
        frames: Channels that hold grey levels in [0, 1], by position.
        signed: Channels whose sign means a direction, by position (mean 0 by nature).
        vectors: Pairs of channels that hold u and v of a flow field, by position.
        needs: Arrays of the store that it reads: `apex`, `onset`, `flow`.
        channels: Number of channels C.
    """

    frames: tuple[int, ...]
    signed: tuple[int, ...]
    vectors: tuple[tuple[int, int], ...]
    needs: tuple[str, ...]
    channels: int


KINDS = {
    "apex": InputKind((0, 1, 2), (), (), ("apex",), 3),
    "onset_apex": InputKind((0, 1, 2, 3, 4, 5), (), (), ("onset", "apex"), 6),
    "difference": InputKind((), (0, 1, 2), (), ("onset", "apex"), 3),
    "flow": InputKind((), (0, 1), ((0, 1),), ("flow",), 3),
    "apex_flow": InputKind((0, 1, 2), (3, 4), ((3, 4),), ("apex", "flow"), 6),
}


def kind_of(settings: Input) -> InputKind:
    """Look up the input named by `settings.name`.

    Raises:
        MerError: If there is no such input; the message lists those there are.
    """
    try:
        return KINDS[settings.name]
    except KeyError:
        known = ", ".join(KINDS)
        raise MerError(f"Unknown input.name `{settings.name}`. Set one of: {known}.") from None


def build(
    settings: Input,
    onset: NDArray[np.uint8] | None,
    apex: NDArray[np.uint8] | None,
    flow: NDArray[np.floating] | None,
) -> NDArray[np.float32]:
    """Build the network's input of one sample, before augmentation and normalisation.

    Args:
        settings: Kind (see `KINDS`), side S in pixels, and whether the median motion of the face,
            which is head motion, is taken out of u and v.
        onset: RGB crop. Shape: (H, H, 3), uint8.
        apex: RGB crop in the same frame of reference. Shape: (H, H, 3), uint8.
        flow: u, v in pixels of the H x H crop (u right, v down) and strain. Shape: (3, H, H).

    Returns:
        Shape: (S, S, C), float32. Frames in [0, 1], difference in [-1, 1], u and v in pixels of the
        S x S input, strain without unit.
    """
    kind, size = kind_of(settings), settings.size
    parts: list[NDArray[Any]] = []
    if "apex" in kind.needs and settings.name != "difference":
        frames = [onset, apex] if "onset" in kind.needs else [apex]
        parts += [_resize(frame, size) / 255 for frame in frames if frame is not None]
    elif settings.name == "difference" and onset is not None and apex is not None:
        parts.append((_resize(apex, size) - _resize(onset, size)) / 255)
    if "flow" in kind.needs and flow is not None:
        parts.append(_resize_flow(flow, size, settings.center))
    image = np.concatenate(parts, axis=2) if parts else np.empty((size, size, 0), np.float32)
    if image.shape[2] != kind.channels:
        raise MerError(
            f"Input `{settings.name}` needs {', '.join(kind.needs)} of every sample and one is "
            "missing. Set another input, or prepare.flow.method if the flow is what lacks."
        )
    return np.ascontiguousarray(image, dtype=np.float32)


def _resize(picture: NDArray[Any], size: int) -> NDArray[np.float32]:
    """Resize (H, W, C) to (size, size, C) in float32, averaging when it shrinks."""
    picture = np.asarray(picture, dtype=np.float32)
    if picture.shape[:2] == (size, size):
        return picture
    shrinks = picture.shape[0] > size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(picture, (size, size), interpolation=method)


def _resize_flow(flow: NDArray[Any], size: int, center: str) -> NDArray[np.float32]:
    """Resize u, v, strain to (size, size, 3); u and v shrink with the picture, strain does not."""
    resized = _resize(np.moveaxis(np.asarray(flow, dtype=np.float32), 0, 2), size)
    resized[..., :2] *= size / flow.shape[-1]
    if center == "median":
        resized[..., :2] -= np.median(resized[..., :2], axis=(0, 1))
    return resized
