"""Spots expressions in a stream of frames, one face at a time, with flat memory.

`Spotter` follows the faces (`mer.spotting.tracking`), measures the motion of their regions
(`mer.spotting.regions`) and hands it to one `mer.spotting.intervals.Watcher` per face, which says
where an expression begins, peaks and ends.
"""

from array import array
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from mer.spotting.intervals import Watcher
from mer.spotting.spotted_expression import Expression, Settings
from mer.spotting.stream import Frame, Frames, check_rate
from mer.spotting.tracking import Tracker

#: Frames per second that are looked at; of faster videos every n-th frame is.
RATE = 50.0

#: Frame rate below which a micro-expression of a fifth of a second has less than ten frames.
SLOW = 50.0


@dataclass
class Face:
    """What was seen of one face.

    Attributes:
        number: Number of the face, 0 for the first.
        first: Time at which it was seen first, seconds.
        last: Time at which it was seen last, seconds.
        width: Width in pixels at the last look.
        box: Left, top, right and bottom of the face in pixels at the last look.
        times: Seconds, one per frame that was compared with its neighbours.
        levels: Motion at these times in multiples of what the face shows at rest.
        blinks: Times of blinks.
    """

    number: int
    first: float
    last: float
    width: float
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    times: "array[float]" = field(default_factory=lambda: array("d"))
    levels: "array[float]" = field(default_factory=lambda: array("f"))
    blinks: list[float] = field(default_factory=list)


class Spotter(AbstractContextManager["Spotter"]):
    """Spots expressions while frames come in.

    Use it as a context manager: the face model must be closed.

    Attributes:
        faces: What was seen of each face, in the order in which they came.
        frames: Number of frames that came.
        seconds: Time of the last one.
    """

    def __init__(
        self,
        fps: float,
        settings: Settings | None = None,
        *,
        confidence: float = 0.5,
        min_face: float = 60.0,
    ) -> None:
        """Prepare for a video.

        Args:
            fps: Frames per second.
            settings: When a motion is an expression.
            confidence: Least score of a face, 0 to 1.
            min_face: Least width of a face in pixels.
        """
        check_rate(fps)
        self.fps = fps
        self.faces: list[Face] = []
        self.frames, self.seconds = 0, 0.0
        self._settings = settings or Settings()
        self._tracker = Tracker(confidence, min_face)
        self._watchers: dict[int, Watcher] = {}
        self._every = max(1, round(fps / RATE))

    def __exit__(self, *error: object) -> None:
        """Release the face model; what was not asked for with `close` is lost."""
        self._tracker.close()

    @property
    def warnings(self) -> list[str]:
        """What limits the result, one sentence each."""
        said = []
        if self.fps < SLOW:
            said.append(
                f"At {self.fps:g} frames per second a micro-expression has {0.2 * self.fps:.0f} to "
                f"{0.5 * self.fps:.0f} frames: short ones are missed, and their apex is rough; 100 "
                "and more are usual"
            )
        if not self.faces and self.frames:
            small = self._tracker.too_small
            seen = f"; the largest is {max(small):.0f} px wide, too small" if small else ""
            said.append(f"No face was found in {self.frames} frames{seen}")
        return said

    def watch(self, frames: Frames, spotted: Callable[[Expression], None]) -> None:
        """Take all frames of a stream, those of a camera until Ctrl-C, and tell what is certain."""
        try:
            for frame in frames:
                for one in self.add(frame):
                    spotted(one)
        except KeyboardInterrupt:
            if not frames.live:
                raise
        for one in self.close():
            spotted(one)

    def add(self, frame: Frame) -> list[Expression]:
        """Take the next frame; return expressions that have ended with it."""
        self.frames, self.seconds = self.frames + 1, frame.time
        if (self.frames - 1) % self._every:
            return []
        motions = self._tracker.update(frame)
        spotted = self._end_faces()
        for track in self._tracker.tracks:
            if track.number not in self._watchers:
                self._watchers[track.number] = Watcher(track.number, self._settings)
                self.faces.append(Face(track.number, track.first, track.last, track.width))
            face = self.faces[track.number]
            face.last, face.width = track.last, track.width
            (left, top), (right, bottom) = track.landmarks.min(axis=0), track.landmarks.max(axis=0)
            face.box = float(left), float(top), float(right), float(bottom)
            watcher = self._watchers[track.number]
            spotted += watcher.add(frame, motions[track.number])
            if watcher.compared > (face.times[-1] if face.times else -1.0):
                face.times.append(watcher.compared)
                face.levels.append(watcher.level)
            face.blinks = watcher.blinks
        return sorted(spotted, key=lambda one: (one.onset.time, one.face))

    def close(self) -> list[Expression]:
        """End the video; return expressions that were not over yet."""
        spotted = [one for watcher in self._watchers.values() for one in watcher.close()]
        self._watchers.clear()
        self._tracker.close()
        return sorted(spotted, key=lambda one: (one.onset.time, one.face))

    def _end_faces(self) -> list[Expression]:
        spotted = []
        for track in self._tracker.ended:
            watcher = self._watchers.pop(track.number, None)
            spotted += watcher.close() if watcher else []
        return spotted


def strongest(faces: Iterable[Face], threshold: float) -> str:
    """Say how strong the strongest motion of some faces is, and why it is no expression.

    Args:
        faces: Faces in which nothing was spotted.
        threshold: Least motion of an expression in multiples of a face at rest.
    """
    moments = [moment for face in faces for moment in zip(face.levels, face.times, strict=True)]
    if not moments:
        return "the clip is too short to know the face at rest"
    level, time = max(moments)
    why = (
        f"; an expression has {threshold:g} or more"
        if level < threshold
        else ", but too small to be told from noise, or part of a blink"
    )
    return (
        f"the strongest motion, at {time:.2f} s, is {level:.1f} times that of the face at rest{why}"
    )
