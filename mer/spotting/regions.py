"""Motion of facial regions in pixels, freed from head motion, measured against a neutral picture.

A region is a soft disc around some landmarks. Its shift is found by least squares over all of its
pixels (Lucas and Kanade, IJCAI 1981), which averages sensor noise away: on synthetic video of a
face of 140 px with a noise of 2 to 3.5 grey levels, regions at rest move by 0.05 to 0.15 px of a
crop of 224 px in a quarter of a second; landmarks of a real face of 150 px jump by 0.2 px of the
picture from frame to frame. All regions but the eyes say how the head has moved.
"""

from typing import NamedTuple

import numpy as np

from mer.prepare import faces

#: Side of the aligned crop in which motion is measured, in pixels.
SIZE = 128

#: Side of the crop to whose pixels lengths are converted: the size of a prepared store.
UNIT = 224

#: Region -> landmarks whose mean is its middle; `_r` is the person's right half.
EXPRESSIVE: dict[str, tuple[int, ...]] = {
    "brow_inner_r": (55, 107, 65, 66),
    "brow_inner_l": (285, 336, 295, 296),
    "brow_outer_r": (46, 53, 63, 52),
    "brow_outer_l": (276, 283, 293, 282),
    "cheek_r": (50, 101, 205, 36),
    "cheek_l": (280, 330, 425, 266),
    "nose_r": (129, 49, 203),
    "nose_l": (358, 279, 423),
    "lip_upper": (0, 37, 267, 164),
    "mouth_r": (61, 57, 186, 214),
    "mouth_l": (291, 287, 410, 434),
    "lip_lower": (17, 18, 84, 314),
    "chin": (175, 199, 200, 152),
}
EYES: dict[str, tuple[int, ...]] = {
    "eye_r": (159, 145, 160, 158, 153, 144),
    "eye_l": (386, 374, 385, 387, 380, 373),
}
CALM: dict[str, tuple[int, ...]] = {
    "nose_bridge": (168, 6, 197, 8),
    "nose_tip": (4, 5, 45, 275),
    "temple_r": (139, 34, 71),
    "temple_l": (368, 264, 301),
    "forehead": (151, 9, 10),
    "forehead_r": (104, 69, 108),
    "forehead_l": (333, 299, 337),
    "under_eye_r": (119, 118, 117),
    "under_eye_l": (348, 347, 346),
    "jaw_r": (215, 138, 135, 192),
    "jaw_l": (435, 367, 364, 416),
}
REGIONS = {**EXPRESSIVE, **EYES, **CALM}

#: Number of regions whose motion is of interest: the first ones.
WATCHED = len(EXPRESSIVE) + len(EYES)

#: Regions that say how the head moves: all but the eyes, whose lids and gaze are never still.
_HEAD = np.array([name not in EYES for name in REGIONS])

#: Standard deviation of a region's weight in outer-eye distances. Synthetic micro-expressions stood
#: out of the noise by a median factor of 2.2, with .12 in its place by 1.8.
_RADIUS = 0.09

#: Blur of the crop in pixels, which also keeps sensor noise from being sampled as texture.
_BLUR = 1.2

#: Steps of the least squares.
STEPS = 3

#: Median correlation of the regions with the neutral picture below which they show something else.
LOST = 0.5


class Motion(NamedTuple):
    """What moved since the neutral picture.

    Attributes:
        shifts: Shift of each region of `EXPRESSIVE` and `EYES` beyond that of the head, (15, 2)
            float, px of a crop of 224 px, right and down.
        head: Length of the head's motion in the middle of the face, px of a crop of 224 px.
        likeness: Median correlation of the regions with the neutral picture, -1 to 1.
    """

    shifts: np.ndarray
    head: float
    likeness: float


class Patches:
    """Small windows of a neutral picture whose shift can be looked for in other pictures."""

    def __init__(self, picture: np.ndarray, middles: np.ndarray, radius: float) -> None:
        """Cut the windows out of the neutral picture."""
        self.middles = middles
        self._side = 2 * int(2 * radius) + 1
        away = np.arange(self._side) - self._side // 2
        weight = np.exp(-(away[:, None] ** 2 + away[None, :] ** 2) / (2 * radius**2))
        self._weight = (weight / weight.sum()).astype(np.float32)
        down, right = np.gradient(picture)
        self._slopes = np.stack([self._cut(right, middles), self._cut(down, middles)], axis=1)
        self._neutral, self._contrast = self._centred(self._cut(picture, middles))
        normal = np.einsum("raij,rbij,ij->rab", self._slopes, self._slopes, self._weight)
        # Flat skin says little; it shall not answer with a large shift.
        least = 0.005 * float(np.median(np.trace(normal, axis1=1, axis2=2)))
        self._normal = normal + (least + 1e-6) * np.eye(2)

    def _cut(self, picture: np.ndarray, middles: np.ndarray) -> np.ndarray:
        import cv2

        plane, side = picture.astype(np.float32), (self._side, self._side)
        points = [(float(x), float(y)) for x, y in middles]
        return np.stack([cv2.getRectSubPix(plane, side, point) for point in points])

    def _centred(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take the mean out of each window; also return the standard deviations."""
        windows = windows - np.einsum("rij,ij->r", windows, self._weight)[:, None, None]
        return windows, np.sqrt(np.einsum("rij,rij,ij->r", windows, windows, self._weight)) + 1e-6

    def shifts(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find where the windows have gone: shifts (R, 2) in pixels, and correlations (R,)."""
        shifts = np.zeros_like(self.middles)
        for _ in range(STEPS):
            windows, _ = self._centred(self._cut(picture, self.middles + shifts))
            error = windows - self._neutral
            slope = np.einsum("raij,rij,ij->ra", self._slopes, error, self._weight)
            shifts -= np.clip(np.linalg.solve(self._normal, slope[..., None])[..., 0], -2, 2)
        windows, contrast = self._centred(self._cut(picture, self.middles + shifts))
        alike = np.einsum("rij,rij,ij->r", windows, self._neutral, self._weight)
        return shifts, alike / (contrast * self._contrast)


def head_motion(shifts: np.ndarray, middles: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    """Fit shift, rotation and scale to the shifts of regions, such that single ones have no say.

    Iteratively reweighted least squares as in `mer.prepare.stabilise.head_motion`. Two terms more,
    for a head that turns or nods, took as much of the expressions away as of the head's motion.

    Args:
        shifts: (R, 2) in pixels.
        middles: (R, 2) in pixels.
        trusted: bool (R,), regions that take part.

    Returns:
        float64 (2, 3), neutral to present.
    """
    centre = middles.mean(axis=0)
    (x, y), one, zero = (middles - centre).T, np.ones(len(middles)), np.zeros(len(middles))
    design = np.stack([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)], axis=1)
    weight = trusted.astype(np.float64)
    for _ in range(8):
        weighted = design * weight[:, None, None]
        normal = np.einsum("rap,raq->pq", weighted, design) + 1e-9 * np.eye(4)
        a, b, c, d = np.linalg.solve(normal, np.einsum("rap,ra->p", weighted, shifts))
        residual = np.hypot(*(shifts - design @ np.array([a, b, c, d])).T)
        spread = 1.5 * np.median(residual[trusted]) + 0.01
        weight = trusted / (1 + (residual / spread) ** 2) ** 2
    linear = np.array([[1 + a, -b], [b, 1 + a]])
    return np.column_stack([linear, np.array([c, d]) + centre - linear @ centre])


class FaceMotion:
    """Measures one face against its neutral picture, which is renewed from time to time.

    Motion is added up over renewals, so that only differences between moments have a meaning.
    """

    def __init__(self) -> None:
        """Begin without a neutral picture."""
        self._patches: Patches | None = None
        self._before = np.zeros((WATCHED, 2))
        self._present = self._before

    def measure(
        self, picture: np.ndarray, matrix: np.ndarray, landmarks: np.ndarray, renew: bool
    ) -> tuple[Motion, np.ndarray]:
        """Measure one frame.

        Args:
            picture: uint8 (H, W, 3) RGB.
            matrix: (2, 3), picture to crop of `SIZE` px, right to a few pixels.
            landmarks: (478, 2) in pixels of the picture, used where a neutral picture is taken.
            renew: Whether this frame becomes the neutral picture.

        Returns:
            The motion, and the matrix that fits this frame.
        """
        crop = aligned(picture, matrix)
        if self._patches is None:
            self._patches = _patches(crop, faces.move(landmarks, matrix))
            return Motion(self._before, 0.0, 1.0), matrix
        shifts, correlations = self._patches.shifts(crop)
        middles = self._patches.middles
        head = head_motion(shifts, middles, _HEAD)
        moved = middles @ head[:, :2].T + head[:, 2] - middles
        rest = (shifts - moved) * (UNIT / SIZE)
        self._present = self._before + rest[:WATCHED]
        centre = np.full(2, (SIZE - 1) / 2)
        gone = np.hypot(*(head[:, :2] @ centre + head[:, 2] - centre)) * (UNIT / SIZE)
        motion = Motion(self._present, float(gone), float(np.median(correlations)))
        followed = _after(_inverse(head), matrix)
        if renew:
            self._before = self._present
            self._patches = _patches(crop, faces.move(landmarks, matrix))
        return motion, followed


def _patches(crop: np.ndarray, landmarks: np.ndarray) -> Patches:
    middles = np.stack([landmarks[list(points)].mean(axis=0) for points in REGIONS.values()])
    width = float(np.linalg.norm(landmarks[33] - landmarks[263]))
    return Patches(crop, middles.astype(np.float64), _RADIUS * width)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def _after(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """One transform (2, 3) that does `first`, then `second`."""
    linear = second[:, :2] @ first[:, :2]
    return np.column_stack([linear, second[:, :2] @ first[:, 2] + second[:, 2]])


def aligned(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Cut a face out as gray of mean 100, float32 (SIZE, SIZE), blurred before it is made smaller.

    Args:
        picture: uint8 (H, W, 3) RGB.
        matrix: (2, 3), picture to crop.
    """
    import cv2

    back = _inverse(matrix)
    corners = np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE]]) @ back[:, :2].T + back[:, 2]
    height, width = picture.shape[:2]
    left, top = np.clip(np.floor(corners.min(axis=0)) - 8, 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.maximum(np.ceil(corners.max(axis=0)) + 8, (left + 1, top + 1)).astype(int)
    part = np.ascontiguousarray(picture[top:bottom, left:right])
    gray = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    gray = cv2.GaussianBlur(gray, (0, 0), _BLUR / scale)
    shifted = np.column_stack([matrix[:, :2], matrix[:, :2] @ (left, top) + matrix[:, 2]])
    crop = cv2.warpAffine(
        gray, shifted, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(crop * (100 / max(float(crop.mean()), 1.0)), np.float32)
