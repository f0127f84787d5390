"""Optical flow between onset and apex: DIS, Farneback, TV-L1, or a user's function.

Flow is a type, not an array: numbers without their method, frames and reference size cannot be
compared.
"""

from dataclasses import dataclass

import numpy as np

from mer.config import trust
from mer.config.settings import Flow
from mer.errors import MerError
from mer.prepare import methods
from mer.prepare.stabilise import head_motion, soft_edge

#: Shortest side that every method's pyramid and patches can work on, in pixels.
SMALLEST = 32


@dataclass(frozen=True)
class FlowField:
    """The motion from the onset to the apex.

    Attributes:
        u: float32 (H, W), motion to the right in pixels of this grid.
        v: float32 (H, W), motion downwards in pixels of this grid.
        head: float32 (H, W, 2), head motion that was taken out of both; None where none was.
    """

    u: np.ndarray
    v: np.ndarray
    head: np.ndarray | None = None

    @property
    def still(self) -> bool:
        """True when nothing moves, as between a frame and itself."""
        return not (self.u.any() or self.v.any())

    def strain(self) -> np.ndarray:
        """Compute the optical strain magnitude, float32 (H, W), dimensionless.

        sqrt(exx^2 + eyy^2 + 2 exy^2) with exx = du/dx, eyy = dv/dy, exy = (du/dy + dv/dx) / 2
        (Shreve et al., FG 2011; Liong et al., ACCV workshops 2014). Derivatives are central
        differences, one-sided at the border.
        """
        du_dy, du_dx = np.gradient(self.u)
        dv_dy, dv_dx = np.gradient(self.v)
        shear = (du_dy + dv_dx) / 2
        return np.sqrt(du_dx**2 + dv_dy**2 + 2 * shear**2).astype(np.float32)

    def to_array(self) -> np.ndarray:
        """Stack u, v and strain: float16 (3, H, W), the layout of a store's `flow.npy`."""
        import cv2

        rows = np.stack([self.u, self.v, self.strain()]).reshape(3, -1)
        # `astype` gives the same, and takes 2 ms in place of 0.1: it is slow below 6e-5. A picture
        # that is scaled to the norm that it has is converted and no more.
        norm = cv2.norm(rows, cv2.NORM_INF)
        halves = cv2.normalize(rows, None, norm, 0, cv2.NORM_INF, dtype=cv2.CV_16F)
        return np.asarray(halves.reshape(3, *self.u.shape))


def compute(
    onset: np.ndarray,
    apex: np.ndarray,
    settings: Flow,
    *,
    sample: str = "this pair",
    face: np.ndarray | None = None,
) -> FlowField:
    """Compute the flow from the onset to the apex.

    Equal pictures (a clip whose apex is its onset) give exact zeros, which `FlowField.still` shows.

    Args:
        onset: uint8 (H, W), gray.
        apex: uint8 (H, W), gray, of the same size.
        settings: Method and its options.
        sample: Name for messages.
        face: bool (H, W), True inside the face, for `stabilise` and `face_only`; None: everywhere.

    Raises:
        MerError: For colour or unequal pictures, other types, sides below 32 px, no method, or an
            own function that gives something else than a field.
    """
    method = settings.used
    for name, picture in (("onset", onset), ("apex", apex)):
        if picture.ndim != 2 or picture.dtype != np.uint8:
            raise MerError(
                f"{sample}: flow is computed on gray uint8 (H, W) pictures, the {name} is "
                f"{picture.dtype} {picture.shape}; use cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)"
            )
    if onset.shape != apex.shape:
        raise MerError(
            f"{sample}: the onset is {onset.shape} and the apex {apex.shape} (height, width); flow "
            "needs both in one size, cut by one transform"
        )
    if min(onset.shape) < SMALLEST:
        raise MerError(
            f"{sample}: {onset.shape} is too small for flow, expected at least {SMALLEST} px a side"
        )
    if method is None:
        raise MerError(f"{sample}: flow.method is null; set one of {', '.join(methods.COMPUTE)}")
    if np.array_equal(onset, apex):
        zero = np.zeros(onset.shape, np.float32)
        return FlowField(zero, zero.copy())
    if settings.target is None:
        field = methods.COMPUTE[method](onset, apex, getattr(settings, method))
    else:
        field = np.moveaxis(_own_field(onset, apex, settings), 0, -1)
    head = head_motion(field, face) if settings.stabilise else None
    if head is not None:
        field = field - head
    if settings.face_only and face is not None:
        field = field * soft_edge(face)[..., None]
    u, v = np.ascontiguousarray(np.moveaxis(field, -1, 0), np.float32)
    return FlowField(u, v, head)


def check(chosen: Flow) -> None:
    """Import an own function of the settings, if there is one.

    Raises:
        MerError: If there is none of that name, or options are given without one.
    """
    if chosen.target is not None:
        trust.resolve(chosen.target, "prepare.flow")
    elif chosen.kwargs:
        raise MerError(
            "prepare.flow.kwargs are options of a function of your own; set prepare.flow._target_"
        )


def _own_field(onset: np.ndarray, apex: np.ndarray, chosen: Flow) -> np.ndarray:
    """Call an own function; its answer is float32 (2, H, W), u and v."""
    target, key = str(chosen.target), "prepare.flow"
    field = trust.call(trust.resolve(target, key), key, target, chosen.kwargs, onset, apex)
    expected = (2, *onset.shape)
    if np.shape(field) != expected or not np.isfinite(field).all():
        found = f"an array of {np.shape(field)}"
        raise MerError(
            f"{key}._target_={target} gave {found}, expected finite numbers of shape {expected}: u "
            "(right) and v (down) in pixels"
        )
    return np.asarray(field, np.float32)
