"""Frames of a video, a folder of pictures, a camera or an array, one after the other.

Nothing is kept: a video of any length needs the memory of one frame. Times are those that the file
gives to its frames, so that a video of variable frame rate is measured in seconds all the same.
"""

import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mer.datasets.frame_files import EXTENSIONS, index_frames
from mer.errors import MerError
from mer.prepare.sample import Drop, read_picture

#: What `open_frames` takes.
Source = str | Path | int | Iterable[np.ndarray]

#: Called with the number of frames read so far and the number of all, None where it is not known.
Progress = Callable[[int, int | None], None]

#: Frames per second that are taken where nothing is said.
FALLBACK_FPS = 25.0

#: Bounds of a frame rate that can be believed.
SLOWEST, FASTEST = 1.0, 2000.0


class Frame(NamedTuple):
    """One frame.

    Attributes:
        number: Position in the video, 0 for the first; the number in the file name for a folder.
        time: Seconds since the first frame.
        picture: uint8 (H, W, 3) RGB.
    """

    number: int
    time: float
    picture: np.ndarray


class Frames:
    """A stream of frames; iterate over it once.

    Attributes:
        name: Name of the source in messages.
        fps: Frames per second: the source's, or those that were given.
        count: Number of frames that the source promises, None where it does not know.
        live: Whether frames come as they are filmed, without an end.
        warnings: What was odd, one sentence each; complete after the last frame.
    """

    def __init__(
        self,
        name: str,
        frames: Iterator[tuple[int, float, np.ndarray]],
        fps: float,
        count: int | None,
        *,
        live: bool = False,
        warnings: list[str] | None = None,
        close: Callable[[], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See the attributes; `close` releases the source."""
        self.name, self.fps, self.count, self.live = name, fps, count, live
        self.warnings: list[str] = warnings if warnings is not None else []
        self._frames, self._release, self._progress = frames, close, progress

    def __enter__(self) -> "Frames":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the source."""
        self.close()

    def close(self) -> None:
        """Release the file or the camera."""
        if self._release is not None:
            self._release()
            self._release = None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order.

        A frame of another size than the first is left out, with a warning.
        """
        size, others, start = None, 0, 0.0
        try:
            for done, (number, moment, picture) in enumerate(self._frames, start=1):
                if size is None:
                    size, start = picture.shape, moment
                if picture.shape == size:
                    yield Frame(number, moment - start, picture)
                else:
                    others += 1
                if self._progress is not None:
                    self._progress(done, self.count)
        finally:
            self.close()
            if others and size is not None:
                self.warnings.append(
                    f"{self.name}: {others} frames are not {size[1]} x {size[0]} px as the first "
                    "one and were left out"
                )


def open_frames(
    source: Source, fps: float | None = None, progress: Progress | None = None
) -> Frames:
    """Open a video file, a folder of pictures, a camera, or pictures in memory.

    Args:
        source: Path of a file or folder; index of a camera, 0 for the first; or pictures uint8
            (H, W, 3) RGB in order.
        fps: Frames per second, where the source does not know them or is wrong; for a video it also
            replaces the times of its frames.
        progress: Called after each frame.

    Raises:
        MerError: If there is no such source, or it gives no frame.
    """
    if fps is not None:
        check_rate(fps)
    if isinstance(source, int):
        return _camera(source, fps, progress)
    if not isinstance(source, str | Path):
        return _pictures(source, fps, progress)
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path, fps, progress)
    if not path.exists():
        raise MerError(f"{path} does not exist; expected a video or a folder of frames")
    return _video(path, fps, progress)


def check_rate(fps: float) -> None:
    """Refuse a frame rate that cannot be right.

    Raises:
        MerError: If it is out of bounds.
    """
    if not SLOWEST <= fps <= FASTEST:
        raise MerError(f"fps={fps}: expected {SLOWEST:g} to {FASTEST:g} frames per second")


def _pictures(
    pictures: Iterable[np.ndarray], fps: float | None, progress: Progress | None
) -> Frames:
    rate, warnings = _rate("the pictures", fps, None)
    count = len(pictures) if isinstance(pictures, Sized) else None

    def read() -> Iterator[tuple[int, float, np.ndarray]]:
        for number, picture in enumerate(pictures):
            given = np.asarray(picture)
            if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != 3 or not given.size:
                raise MerError(
                    f"picture {number} is {given.dtype} {given.shape}, expected uint8 (H, W, 3)"
                )
            yield number, number / rate, picture

    frames = _with_first(read(), "the pictures", "none was given")
    return Frames("the pictures", frames, rate, count, warnings=warnings, progress=progress)


def _folder(folder: Path, fps: float | None, progress: Progress | None) -> Frames:
    files = index_frames(folder)
    if not files:
        raise MerError(
            f"{folder} holds no numbered picture ({', '.join(sorted(EXTENSIONS))}); expected "
            "frames such as img001.jpg, img002.jpg"
        )
    rate, warnings = _rate(str(folder), fps, None)
    first, last = min(files), max(files)
    if gaps := last - first + 1 - len(files):
        warnings.append(f"{folder}: {gaps} of the frames {first} to {last} are missing")

    def read() -> Iterator[tuple[int, float, np.ndarray]]:
        unread = 0
        for number, path in files.items():
            picture = read_picture(path)
            if isinstance(picture, Drop):
                unread += 1
                continue
            yield number, (number - first) / rate, picture
        if unread:
            warnings.append(f"{folder}: {unread} pictures cannot be read and were left out")

    frames = _with_first(read(), str(folder), f"none of its {len(files)} pictures can be read")
    return Frames(str(folder), frames, rate, len(files), warnings=warnings, progress=progress)


def _rate(name: str, given: float | None, reported: float | None) -> tuple[float, list[str]]:
    """Choose the frame rate; say where it had to be guessed."""
    if given is not None:
        return given, []
    if reported is not None and math.isfinite(reported) and SLOWEST <= reported <= FASTEST:
        return reported, []
    return FALLBACK_FPS, [
        f"{name}: the frame rate is not known, {FALLBACK_FPS:g} frames per second are taken; "
        "fps=N says it"
    ]


def _with_first(
    frames: Iterator[tuple[int, float, np.ndarray]], name: str, reason: str
) -> Iterator[tuple[int, float, np.ndarray]]:
    """Read one frame ahead, so that a source without any is an error at once."""
    first = next(frames, None)
    if first is None:
        raise MerError(f"{name} gives no frame: {reason}")
    return itertools.chain([first], frames)


# --- OpenCV ---------------------------------------------------------------------------------------


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


def _video(path: Path, fps: float | None, progress: Progress | None) -> Frames:
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
    rate, warnings = _rate(str(path), fps, reported)
    promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    count = promised if promised > 0 else None

    def read() -> Iterator[tuple[int, float, np.ndarray]]:
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

    frames = _with_first(read(), str(path), "it may be cut off or damaged")
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


def _camera(index: int, fps: float | None, progress: Progress | None) -> Frames:
    import cv2

    name = f"camera {index}"
    capture = _capture(index)
    if not capture.isOpened():
        raise MerError(f"{name} cannot be opened; is one connected, and free? Cameras count from 0")
    rate, warnings = _rate(name, fps, capture.get(cv2.CAP_PROP_FPS))

    def read() -> Iterator[tuple[int, float, np.ndarray]]:
        for number in itertools.count():
            given, picture = capture.read()
            if not given or picture is None:
                return
            yield number, time.monotonic(), _rgb(picture)

    frames = _with_first(read(), name, "it is connected, but sends no picture")
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
