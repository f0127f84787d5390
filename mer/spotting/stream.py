"""A stream of frames, whatever it comes from, and the frame rates that can be believed.

Nothing is kept: a video of any length needs the memory of one frame. Times are those that the file
gives to its frames, so that a video of variable frame rate is measured in seconds all the same.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np

from mer.errors import MerError

#: Called with the number of frames read so far and the number of all, None where it is not known.
Progress = Callable[[int, int | None], None]

#: Number, seconds and picture of each frame, as a source gives them.
Raw = Iterator[tuple[int, float, np.ndarray]]

#: Frames per second that are taken where nothing is said.
FALLBACK_FPS = 25.0

#: What to do where nothing is said.
NAME_RATE = "If you know it, name it: --fps N (in Python fps=N)"

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


class Frames(AbstractContextManager["Frames"]):
    """A stream of frames; iterate over it once.

    Attributes:
        name: Name of the source in messages.
        fps: Frames per second: the source's, or those that were given.
        count: Number of frames that the source promises, None where it does not know.
        numbers: Numbers of its frames, None where only reading them tells.
        live: Whether frames come as they are filmed, without an end.
        warnings: What was odd, one sentence each; complete after the last frame.
    """

    def __init__(
        self,
        name: str,
        frames: Raw,
        fps: float,
        count: int | None,
        *,
        numbers: Sequence[int] | None = None,
        live: bool = False,
        warnings: list[str] | None = None,
        close: Callable[[], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See the attributes; `close` releases the source."""
        self.name, self.fps, self.count, self.live = name, fps, count, live
        self.numbers = numbers
        self.warnings: list[str] = warnings if warnings is not None else []
        self._frames, self._release, self._progress = frames, close, progress

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


def check_rate(fps: float) -> None:
    """Refuse a frame rate that cannot be right."""
    if not SLOWEST <= fps <= FASTEST:
        raise MerError(f"fps={fps}: expected {SLOWEST:g} to {FASTEST:g} frames per second")


def known_rate(name: str, given: float | None, reported: float | None) -> tuple[float, list[str]]:
    """Choose the frame rate; say where it had to be guessed."""
    if given is not None:
        return given, []
    if reported is not None and math.isfinite(reported) and SLOWEST <= reported <= FASTEST:
        return reported, []
    return FALLBACK_FPS, [
        f"{name}: the frame rate is not known, {FALLBACK_FPS:g} frames per second are taken. "
        f"{NAME_RATE}"
    ]


def with_first(frames: Raw, name: str, reason: str) -> Raw:
    """Read one frame ahead, so that a source without any is an error at once."""
    first = next(frames, None)
    if first is None:
        raise MerError(f"{name} gives no frame: {reason}")
    return itertools.chain([first], frames)
