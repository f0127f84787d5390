"""A small painter's box: soft polygons and strokes in the units of a face."""

import cv2
import numpy as np

Curve = np.ndarray  # float (n, 2): x, y in eye distances

_SUBPIXEL_BITS = 4


def smooth_curve(knots: list[tuple[float, float]], closed: bool = False, steps: int = 8) -> Curve:
    """Return a Catmull-Rom curve through `knots`, `steps` points per piece (float, (n, 2))."""
    k = np.asarray(knots, dtype=np.float64)
    k = (
        np.vstack([k[-1:], k, k[:2]])
        if closed
        else np.vstack([2 * k[0] - k[1], k, 2 * k[-1] - k[-2]])
    )
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = [
        0.5
        * (
            2 * p1
            + (p2 - p0) * t
            + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
            + (3 * p1 - p0 - 3 * p2 + p3) * t**3
        )
        for p0, p1, p2, p3 in zip(k[:-3], k[1:-2], k[2:-1], k[3:], strict=True)
    ]
    return np.vstack(pieces if closed else [*pieces, k[-2:-1]])


def mirrored(curve: Curve) -> Curve:
    """Return the curve on the other half of the face."""
    return curve * (-1.0, 1.0)


def disc(
    centre: tuple[float, float], rx: float, ry: float | None = None, points: int = 24
) -> Curve:
    """Return an ellipse as a closed polygon; a circle where `ry` is left out."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([centre[0] + rx * np.cos(angle), centre[1] + (ry or rx) * np.sin(angle)], 1)


def shifted(curve: Curve, dy: float) -> Curve:
    """Return the curve moved down by `dy`."""
    return curve + np.array([0.0, dy])


class Canvas:
    """A float32 BGR picture on which shapes given in eye distances are blended.

    Args:
        picture: The picture to paint on, (H, W, 3) float32 in 0..255; it is changed.
        scale: Pixels per eye distance.
        origin: Pixel of the point between the eyes.
    """

    def __init__(self, picture: np.ndarray, scale: float, origin: tuple[float, float]) -> None:
        self.picture = picture
        self.scale = scale
        self.origin = np.asarray(origin)

    def pixels(self, curve: Curve) -> np.ndarray:
        """Convert a curve to pixel coordinates."""
        return np.asarray(curve) * self.scale + self.origin

    def mask(
        self, curve: Curve, blur: float, width: float | None = None
    ) -> tuple[tuple[slice, slice], np.ndarray]:
        """Rasterise a filled polygon, or a stroke where `width` is given.

        `blur` and `width` are in eye distances. Returns the window of the picture that is touched
        and the coverage in it, (h, w) float32 in 0..1.
        """
        xy = self.pixels(curve)
        sigma = blur * self.scale
        reach = int(np.ceil(3 * sigma + (0 if width is None else width * self.scale))) + 2
        height, breadth = self.picture.shape[:2]
        x0, y0 = np.maximum(np.floor(xy.min(0)).astype(int) - reach, 0)
        x1 = min(int(xy[:, 0].max()) + reach, breadth)
        y1 = min(int(xy[:, 1].max()) + reach, height)
        cover = np.zeros((max(y1 - y0, 1), max(x1 - x0, 1)), np.uint8)
        fixed = np.round((xy - (x0, y0)) * 2**_SUBPIXEL_BITS).astype(np.int32)[None]
        if width is None:
            cv2.fillPoly(cover, fixed, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        else:
            thickness = max(1, round(width * self.scale))
            cv2.polylines(cover, fixed, False, 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        soft = cover.astype(np.float32) / 255
        if sigma > 0.3:
            soft = cv2.GaussianBlur(soft, (0, 0), sigma)
        window = slice(y0, y0 + soft.shape[0]), slice(x0, x0 + soft.shape[1])
        return window, soft[: height - y0, : breadth - x0]

    def fill(
        self,
        curve: Curve,
        colour: tuple[float, ...] | np.ndarray,
        blur: float = 0.008,
        opacity: float = 1.0,
        width: float | None = None,
        within: np.ndarray | None = None,
    ) -> None:
        """Blend a polygon or stroke over the picture, in one colour or in those of a picture.

        `within` limits it to where that (H, W) mask is 1.
        """
        window, cover = self.mask(curve, blur, width)
        cover = cover * opacity
        if within is not None:
            cover = cover * within[window]
        target = self.picture[window]
        source = (
            colour[window] if isinstance(colour, np.ndarray) else np.asarray(colour, np.float32)
        )
        target += cover[..., None] * (source - target)

    def darken(self, curve: Curve, amount: float, blur: float, width: float | None = None) -> None:
        """Multiply the picture by `1 - amount` under a soft polygon or stroke."""
        window, cover = self.mask(curve, blur, width)
        self.picture[window] *= (1 - amount * cover)[..., None]
