"""Video files and cameras, which OpenCV decodes, as streams of frames."""

import itertools
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from mer.errors import MerError
from mer.spotting.stream import Frames, Progress, Raw, known_rate, with_first


def _capture(source: str | int, backend: int | None = None) -> Any:
    import cv2

    # FFmpeg writes what it thinks of a damaged file to the terminal; what matters is said here.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(source, cv2.CAP_ANY if backend is None else backend)
    finally:
        cv2.utils.logging.setLogLevel(level)


def video(path: Path, fps: float | None, progress: Progress | None) -> Frames:
    """Open a video file; see `open_frames`."""
    import cv2

    with path.open("rb") as file:
        _refuse_others(path, file.read(4096))
    capture = _capture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise MerError(
            f"{path} is no video that can be decoded; if it was cut off while it was written, its "
            "index is lost. Expected: MP4, MOV, AVI, MKV, WebM"
        )
    reported = float(capture.get(cv2.CAP_PROP_FPS))
    if fps is None and reported > _FAST:
        reported = _measured_rate(path)
    rate, warnings = known_rate(str(path), fps, reported)
    promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    count = promised if promised > 0 else None

    def read() -> Raw:
        number, moment = 0, -math.inf
        while True:
            given, picture = capture.read()
            if not given or picture is None:
                break
            stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            # A file without times, or whose clock stands still, is counted.
            regular = fps is not None or not math.isfinite(stamp) or stamp <= moment
            moment = max(moment, 0.0) + 1 / rate if regular and number else max(stamp, 0.0)
            yield number, moment, _rgb(picture)
            number += 1
        if count is not None and number < 0.95 * count - 1:
            warnings.append(
                f"{path} is cut off or damaged: {number} of {count} frames could be read"
            )

    frames = with_first(read(), str(path), "it may be cut off or damaged")
    return Frames(
        str(path),
        frames,
        rate,
        count,
        warnings=warnings,
        close=capture.release,
        progress=progress,
    )


#: Frames per second from which on the times of frames are asked: browsers write films whose rate
#: is the resolution of their clock, 1000.
_FAST = 200.0


def _measured_rate(path: Path) -> float:
    """Frames per second by the times of the first frames; 0 where they have none."""
    import cv2

    capture = _capture(str(path), cv2.CAP_FFMPEG)
    times: list[float] = []
    while len(times) < 30 and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return 1 / step if step > 0 else 0.0


def camera(index: int, fps: float | None, progress: Progress | None) -> Frames:
    """Open a camera; see `open_frames`."""
    import cv2

    name = f"camera {index}"
    capture = _capture(index)
    if not capture.isOpened():
        raise MerError(f"{name} cannot be opened; is one connected, and free? Cameras count from 0")
    rate, warnings = known_rate(name, fps, capture.get(cv2.CAP_PROP_FPS))

    def read() -> Raw:
        for number in itertools.count():
            given, picture = capture.read()
            if not given or picture is None:
                return
            yield number, time.monotonic(), _rgb(picture)

    frames = with_first(read(), name, "it is connected, but sends no picture")
    return Frames(
        name,
        frames,
        rate,
        None,
        live=True,
        warnings=warnings,
        close=capture.release,
        progress=progress,
    )


def _rgb(picture: np.ndarray) -> np.ndarray:
    """What OpenCV decodes, gray, BGR or BGRA of 8 or 16 bits, as uint8 (H, W, 3) RGB."""
    import cv2

    if picture.dtype != np.uint8:
        picture = (picture >> 8).astype(np.uint8)
    gray = picture.ndim == 2 or picture.shape[2] == 1
    colours = cv2.COLOR_BGRA2RGB if not gray and picture.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if gray else colours))


#: First bytes of pictures, which FFmpeg would show as a video of one frame.
_PICTURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n": "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}


def _refuse_others(path: Path, start: bytes) -> None:
    """Refuse what FFmpeg would decode although it is no video: pictures, and text as characters."""
    if not start:
        raise MerError(f"{path} is empty; expected a video")
    kind = next((name for magic, name in _PICTURES.items() if start.startswith(magic)), None)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        kind = "WebP"
    if kind is not None:
        raise MerError(
            f"{path} is one {kind} picture, no video; expected MP4, MOV, AVI, MKV or WebM. Two "
            "pictures, onset and apex, go to `mer predict ONSET APEX`"
        )
    if b"\0" not in start:
        try:
            start[:4000].decode("utf-8")
        except UnicodeDecodeError:
            return
        raise MerError(f"{path} is a text file, no video; expected MP4, MOV, AVI, MKV or WebM")
