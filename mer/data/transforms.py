"""Augmentation that keeps a sample true: one draw for all frames, vectors that move rightly.

Albumentations moves the pixels. A flow field also holds vectors, which have to turn, stretch and
mirror with the picture: under a map with Jacobian J the vector (u, v) becomes J (u, v).
"""

from typing import Any

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from mer.data.inputs import InputKind


class FlowFlip(A.HorizontalFlip):
    """Mirror the picture left to right and negate u.

    Args:
        vectors: Pairs of channel positions of u and v.
        p: Probability.
    """

    def __init__(self, vectors: tuple[tuple[int, int], ...], p: float) -> None:
        super().__init__(p=p)
        self.vectors = vectors

    def apply(self, img: NDArray, **params: Any) -> NDArray:
        """Mirror an (H, W, C) picture."""
        img = super().apply(img, **params).copy()
        for u, _ in self.vectors:
            img[..., u] *= -1
        return img


class FlowAffine(A.Affine):
    """Shift, scale and rotate the picture; turn and stretch its vectors by the same map.

    Args:
        vectors: Pairs of channel positions of u and v.
        shift: Largest shift as a share of the side.
        scale: Largest relative change of size.
        rotate: Largest angle in degrees.
        p: Probability.
    """

    def __init__(
        self,
        vectors: tuple[tuple[int, int], ...],
        shift: float,
        scale: float,
        rotate: float,
        p: float = 1.0,
    ) -> None:
        super().__init__(
            translate_percent=(-shift, shift),
            scale=(1 - scale, 1 + scale),
            rotate=(-rotate, rotate),
            border_mode=0 if vectors else 1,  # no motion beyond the edge; grey levels go on
            p=p,
        )
        self.vectors = vectors

    def apply(self, img: NDArray, matrix: NDArray, **params: Any) -> NDArray:
        """Move an (H, W, C) picture by the 3 x 3 matrix that maps old to new places."""
        img = super().apply(img, matrix=matrix, **params)
        if self.vectors:
            img = img.copy()
        for u, v in self.vectors:
            moved = img[..., [u, v]] @ np.asarray(matrix, dtype=img.dtype)[:2, :2].T
            img[..., u], img[..., v] = moved[..., 0], moved[..., 1]
        return img


class Tone(A.ImageOnlyTransform):
    """Change contrast and brightness, alike in all frames of a sample.

    Args:
        frames: Positions of the grey-level channels; contrast and brightness act on them.
        motion: Positions of difference and flow channels; their strength is multiplied.
        gain: Largest relative change of contrast, and of the strength of motion.
        offset: Largest change of brightness, on the scale 0 to 1.
        noise: Standard deviation of white noise, relative to 1 for frames and to the spread of the
            channel for motion.
        p: Probability.
    """

    def __init__(
        self,
        frames: tuple[int, ...],
        motion: tuple[int, ...],
        gain: float,
        offset: float,
        noise: float,
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        self.frames, self.motion = list(frames), list(motion)
        self.gain, self.offset, self.noise = gain, offset, noise

    def get_params(self) -> dict[str, Any]:
        """Draw gain, offset and the seed of the noise."""
        return {
            "gain": 1 + self.py_random.uniform(-self.gain, self.gain),
            "offset": self.py_random.uniform(-self.offset, self.offset),
            "noise_seed": self.py_random.getrandbits(32),
        }

    def apply(
        self,
        img: NDArray,
        gain: float,
        offset: float,
        noise_seed: int,
        **params: Any,
    ) -> NDArray:
        """Change an (H, W, C) float32 picture."""
        img = img * np.float32(gain)
        if self.frames:
            # Contrast turns about middle grey, so that a bright picture does not become a white
            # one.
            img[..., self.frames] += np.float32(offset + 0.5 * (1 - gain))
        if self.noise:
            rng = np.random.default_rng(noise_seed)
            strength = np.ones(img.shape[2], dtype=np.float32)
            if self.motion:
                strength[self.motion] = img[..., self.motion].std(axis=(0, 1))
            img += rng.standard_normal(img.shape, dtype=np.float32) * (self.noise * strength)
        if self.frames:
            img[..., self.frames] = np.clip(img[..., self.frames], 0, 1)
        return img


def augmentation(settings: dict[str, Any] | None, kind: InputKind) -> A.Compose | None:
    """Compose the augmentation of the training side.

    Args:
        settings: `flip` (probability), `shift`, `scale`, `rotate`, `gain`, `offset`, `noise`; see
            the transforms of this module for their units. None switches augmentation off.
        kind: The input whose channels are moved.

    Returns:
        A callable on `image=` float32 (H, W, C), or None.
    """
    if settings is None:
        return None
    motion = tuple(c for c in range(kind.channels) if c not in kind.frames)
    steps: list[A.BasicTransform] = []
    if settings["flip"] > 0:
        # Mirroring a difference picture needs no change of sign: it holds grey levels, not
        # directions.
        steps.append(FlowFlip(kind.vectors, p=settings["flip"]))
    if settings["shift"] or settings["scale"] or settings["rotate"]:
        steps.append(
            FlowAffine(kind.vectors, settings["shift"], settings["scale"], settings["rotate"])
        )
    if settings["gain"] or settings["offset"] or settings["noise"]:
        steps.append(
            Tone(kind.frames, motion, settings["gain"], settings["offset"], settings["noise"])
        )
    return A.Compose(steps)
