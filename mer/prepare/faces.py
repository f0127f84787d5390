"""Faces: landmarks, and one similarity transform that takes a face to its place in a square crop.

The transform is found on the onset and used for onset and apex alike: aligning each picture by
itself would remove part of the very motion that a micro-expression consists of.
"""

import functools
import hashlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Self

import numpy as np

from mer.assets import FACE_MODEL_SHA256
from mer.errors import MerError

MODEL = "face_landmarker.task"

#: Landmarks that a face returns per picture (MediaPipe face mesh with irises).
LANDMARKS = 478

#: Landmark -> place in the canonical face, in outer-eye distances from the middle between the outer
#: eye corners (x right, y down): outer and inner eye corners, nose root, nose tip. Expressions move
#: these little. Own measure: mean of 210 aligned real faces (half posed expressions, half
#: micro-expressions), made symmetric; the standard deviation is .03 at the nose tip, .02 elsewhere.
CANONICAL = {
    33: (-0.5, 0.0),
    133: (-0.2, 0.016),
    362: (0.2, 0.016),
    263: (0.5, 0.0),
    168: (0.0, -0.034),
    4: (0.0, 0.321),
}
#: Hairline and chin of the mean face, in the same unit (its width, 1.56, is a little less).
FACE_TOP, FACE_BOTTOM = -0.50, 1.11

#: Face oval, clockwise from the middle of the forehead (MediaPipe's FACEMESH_FACE_OVAL).
# fmt: off
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
# fmt: on


@functools.cache
def model_bytes() -> bytes:
    """Read MediaPipe's face landmarker from the package and verify it, once per process.

    Raises:
        MerError: If the file is missing or its checksum is not `FACE_MODEL_SHA256`.
    """
    file = resources.files("mer") / "assets" / MODEL
    mend = "install mer again: pip install --force-reinstall mer"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise MerError(f"The face model {file} can't be read ({error}); {mend}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != FACE_MODEL_SHA256:
        raise MerError(
            f"The face model {file} is altered: sha256 {found} of {len(content)} bytes, expected "
            f"{FACE_MODEL_SHA256}; {mend}"
        )
    return content


class FaceFinder:
    """Finds face landmarks with MediaPipe's FaceLandmarker.

    Use it as a context manager: MediaPipe can hang a process that ends with an open landmarker. One
    finder serves one thread of one process.
    """

    def __init__(self, confidence: float = 0.5) -> None:
        """Remember the settings; the model is loaded by the first `find`.

        Args:
            confidence: Least detector score of a face, 0 to 1 (MediaPipe's default is 0.5).
        """
        self.confidence = confidence
        self._landmarker: Any = None
        self._closed = False

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the model."""
        self.close()

    def open(self) -> None:
        """Load the model, unless it is.

        Raises:
            MerError: If the finder is closed, or the model file is damaged.
        """
        if self._closed:
            raise MerError(
                "This FaceFinder is closed; open a new one: `with FaceFinder() as finder:`"
            )
        if self._landmarker is None:
            self._landmarker = _landmarker(self.confidence)

    def close(self) -> None:
        """Release the model; a closed finder finds nothing more."""
        self._closed = True
        if self._landmarker is not None:
            self._landmarker.close()
            self._landmarker = None

    def find(self, rgb: np.ndarray) -> np.ndarray | None:
        """Find the landmarks of the largest face, see `find_all`; None when there is no face."""
        faces = self.find_all(rgb)
        return faces[0] if faces else None

    def find_all(self, rgb: np.ndarray) -> list[np.ndarray]:
        """Find the landmarks of up to four faces, the largest first.

        The detector misses faces that touch the border and faces below a seventh of the picture's
        width, so a picture without face is tried again twice: with a black border of half its size,
        and cut to its middle half. Of 50 real crops cut to 80 % (70 %) of their side the first try
        finds 44 % (6 %), the border 100 % (98 %); of 50 faces as wide as 1/9 (1/12) of the picture
        the first try finds 22 % (0 %), the middle half 100 % (88 %).

        Args:
            rgb: uint8 (H, W, 3).

        Returns:
            Per face float32 (478, 2), x and y in pixels of `rgb` (the centre of the first pixel is
            0, 0).

        Raises:
            MerError: If the picture has another shape or type, or the model file is damaged.
        """
        import cv2

        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise MerError(f"A face is looked for in uint8 (H, W, 3), got {rgb.dtype} {rgb.shape}")
        self.open()
        height, width = rgb.shape[:2]
        faces = self._detect(rgb)
        if not faces:
            y, x = height // 2, width // 2
            bordered = cv2.copyMakeBorder(rgb, y, y, x, x, cv2.BORDER_CONSTANT, value=(0, 0, 0))
            faces = [face - np.array([x, y], np.float32) for face in self._detect(bordered)]
        if not faces:
            y, x = height // 4, width // 4
            middle = self._detect(rgb[y : height - y, x : width - x])
            faces = [face + np.array([x, y], np.float32) for face in middle]
        return faces

    def _detect(self, rgb: np.ndarray) -> list[np.ndarray]:
        import mediapipe

        picture = mediapipe.Image(
            image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(rgb)
        )
        found = self._landmarker.detect(picture).face_landmarks
        if not found:
            return []
        faces = np.array([[(p.x, p.y) for p in face] for face in found], np.float32)
        # MediaPipe measures from the picture's edge, OpenCV from the centre of the first pixel.
        faces = faces * np.array(rgb.shape[1::-1], np.float32) - np.float32(0.5)
        areas = np.prod(np.ptp(faces, axis=1), axis=1)
        return [faces[index] for index in np.argsort(-areas, kind="stable")]


def _landmarker(confidence: float) -> Any:
    from mediapipe.tasks.python import vision
    from mediapipe.tasks.python.core.base_options import BaseOptions

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=model_bytes()),
        running_mode=vision.RunningMode.IMAGE,
        num_faces=4,
        min_face_detection_confidence=confidence,
    )
    _ignore_profiling_signal()
    with native_silence():
        return vision.FaceLandmarker.create_from_options(options)


def _ignore_profiling_signal() -> None:
    """Keep a process alive that trains between two uses of the face model.

    MediaPipe's threads send themselves SIGPROF and handle it in native code, unseen by Python.
    After a training, Lightning puts back the handlers that Python knows of; for SIGPROF that would
    be the default, which ends the process at the next face. So Python is told to ignore it first.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGPROF) is signal.SIG_DFL:
        signal.signal(signal.SIGPROF, signal.SIG_IGN)


@contextmanager
def native_silence() -> Iterator[None]:
    """Keep what native code writes to stderr away: MediaPipe reports every start there.

    None of its documented log switches has an effect in 1.2.3. Errors still arrive as exceptions.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def similarity(landmarks: np.ndarray, size: int, margin: float) -> np.ndarray:
    """Fit the transform that takes a face to its canonical place in a square crop.

    Rotation, one scale and a translation (no shear) by least squares over the points of `CANONICAL`
    (Umeyama, IEEE TPAMI 13(4), 1991, eq. 40-43).

    Args:
        landmarks: (478, 2) in pixels of the picture.
        size: Side of the crop in pixels.
        margin: Free space above the hairline and below the chin, as a share of the face's height.

    Returns:
        float64 (2, 3), picture to crop, as `cv2.warpAffine` takes it.

    Raises:
        MerError: If the points coincide.
    """
    side = (FACE_BOTTOM - FACE_TOP) * (1 + 2 * margin)
    middle = np.array([0.0, (FACE_TOP + FACE_BOTTOM) / 2])
    target = (np.array(list(CANONICAL.values())) - middle) * (size / side) + (size - 1) / 2
    source = landmarks[list(CANONICAL)].astype(np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source, target = source - source_mean, target - target_mean
    spread = (source**2).sum()
    if not spread > 0:
        raise MerError("The landmarks of a face coincide: no transform can be fitted")
    left, singular, right = np.linalg.svd(target.T @ source)
    # A reflection would fit a mirrored face; the last sign keeps it a rotation.
    signs = np.array([1.0, np.sign(np.linalg.det(left @ right))])
    linear = (left * signs) @ right * ((singular * signs).sum() / spread)
    return np.column_stack([linear, target_mean - linear @ source_mean])


def crop(rgb: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Cut the face out of a picture.

    Below half size the picture is shrunk by area averaging first: `cv2.warpAffine` looks at four by
    four pixels only and would alias. Beyond the border the border's pixels are repeated.

    Args:
        rgb: uint8 (H, W, 3).
        matrix: (2, 3), from `similarity`.
        size: Side of the crop in pixels.

    Returns:
        uint8 (size, size, 3).
    """
    import cv2

    height, width = rgb.shape[:2]
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        rgb = cv2.resize(rgb, small, interpolation=cv2.INTER_AREA)
        x, y = width / small[0], height / small[1]
        enlarge = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
        matrix = matrix @ enlarge
    return cv2.warpAffine(
        rgb, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def move(landmarks: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Take landmarks (478, 2) through a transform (2, 3); float32 (478, 2)."""
    return (landmarks @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def oval(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Mark the inside of the face: bool (size, size) from landmarks (478, 2) in crop pixels."""
    import cv2

    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [landmarks[list(OVAL)].round().astype(np.int32)], 1)
    return mask.astype(bool)
