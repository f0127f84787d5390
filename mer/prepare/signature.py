"""What tells copies of a sample: a digest of its picture, and a signature that a near copy keeps.

A signature survives JPEG, a shift by a pixel and slight noise, and differs between the clips of one
person. `mer.runs.twins` compares signatures.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

#: Side of a plane of a signature.
SIDE = 14

#: Spread of the blur before faces and motion are reduced, as a share of the side. Noise and JPEG
#: change the details of motion, which is small, by more.
APPEARANCE_BLUR, MOTION_BLUR = 0.027, 0.054

#: Least spread of a difference between two pictures that is more than noise, in grey levels.
LEAST_MOTION = 0.1


def digest(picture: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Hash a picture or flow: 16 bytes of its SHA-256, or zeros where all its values are equal."""
    if (picture == picture.flat[0]).all():
        return np.zeros(16, np.uint8)
    content = (
        f"{picture.shape} {picture.dtype}\n".encode() + np.ascontiguousarray(picture).tobytes()
    )
    return np.frombuffer(hashlib.sha256(content).digest()[:16], np.uint8)


def signature(
    frames: NDArray[np.uint8] | None, flow: NDArray[np.float16] | None, has_onset: bool
) -> NDArray[np.int8]:
    """Make the signature of prepared arrays.

    Args:
        frames: Onset and apex, RGB. Shape: (2, S, S, 3).
        flow: Counts where there are no frames. Shape: (3, S, S).
        has_onset: Whether the onset is known.

    Returns:
        The apex in grey and its difference from the onset; or u and v of the flow. A plane is zero
        where nothing is known or nothing differs. Shape: (2, SIDE, SIDE).
    """
    import cv2

    planes = np.zeros((2, SIDE, SIDE), np.int8)
    if frames is None:
        if flow is not None:
            planes[:] = _small(
                np.stack([_reduced(plane.astype(np.float32), MOTION_BLUR) for plane in flow[:2]])
            )
        return planes
    onset, apex = (cv2.cvtColor(one.astype(np.float32), cv2.COLOR_RGB2GRAY) for one in frames)
    planes[0] = _small(_reduced(apex, APPEARANCE_BLUR))
    if has_onset:
        difference = _reduced(apex - onset, MOTION_BLUR)
        if difference.std() >= LEAST_MOTION:
            planes[1] = _small(difference)
    return planes


def _reduced(plane: NDArray[np.float32], blur: float) -> NDArray[np.float32]:
    """Smooth a plane, reduce it and take its mean away."""
    import cv2

    smooth = cv2.GaussianBlur(plane, (0, 0), blur * plane.shape[0])
    reduced = cv2.resize(smooth, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(reduced - reduced.mean(), np.float32)


def _small(planes: NDArray[np.float32]) -> NDArray[np.int8]:
    """Scale planes together so that their largest value is 127."""
    largest = np.abs(planes).max()
    return np.round(planes * (127 / largest if largest > 0 else 0)).astype(np.int8)
