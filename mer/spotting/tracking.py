"""Follows faces through a video: landmarks every fifth of a second, motion in between.

Landmarks cost 10 to 20 ms and are noisy below a pixel; between them the head's motion, which is
measured anyway, moves the crop along.
"""

from dataclasses import dataclass, field

import numpy as np

from mer.prepare import faces
from mer.spotting.regions import LOST, SIZE, FaceMotion, Motion
from mer.spotting.stream import Frame

#: Seconds between two looks for faces.
LOOK = 0.2

#: Seconds after which a face gets a new neutral picture.
RENEW = 1.0

#: Seconds after which a face that is not found any more has left.
GONE = 0.5

#: Free space around a face, see `faces.similarity`.
MARGIN = 0.15

#: Least overlap (intersection over union of boxes) of a face with itself at the look before.
SAME = 0.3


@dataclass
class Track:
    """One face over time.

    Attributes:
        number: Number of the face, 0 for the first.
        landmarks: float32 (478, 2) at the last look, in pixels of the picture.
        matrix: (2, 3), picture to crop, for the present frame.
        seen: Time at which it was found last.
        first: Time at which it was found first.
        last: Time of the last frame in which it was measured.
        width: Width of the face in pixels.
        renewed: Time of the neutral picture.
    """

    number: int
    landmarks: np.ndarray
    matrix: np.ndarray
    seen: float
    first: float
    last: float
    width: float
    renewed: float
    motion: FaceMotion = field(default_factory=FaceMotion)

    def find_again(self, landmarks: np.ndarray, time: float) -> None:
        """Take new landmarks."""
        self.landmarks, self.seen = landmarks, time
        self.width = float(np.ptp(landmarks[:, 0]))
        self.matrix = faces.similarity(landmarks, SIZE, MARGIN)


class Tracker:
    """Finds faces, keeps them apart and measures their motion.

    Attributes:
        tracks: Faces that are in the picture.
        ended: Faces that have left since the last call of `update`.
        too_small: Widths of faces that were left out.
    """

    def __init__(self, confidence: float = 0.5, min_face: float = 60.0) -> None:
        """Remember the least score and width (px) of a face."""
        self.tracks: list[Track] = []
        self.ended: list[Track] = []
        self.too_small: list[float] = []
        self._finder = faces.FaceFinder(confidence)
        self._min_face = min_face
        self._count, self._looked = 0, -np.inf

    def close(self) -> None:
        """Release the face model."""
        self._finder.close()

    def update(self, frame: Frame) -> dict[int, Motion]:
        """Follow the faces into a frame: number of a face -> its motion."""
        self.ended = []
        look = frame.time - self._looked >= LOOK - 1e-6
        if look:
            self._look(frame)
        motions = {}
        for track in list(self.tracks):
            renew = look and frame.time - track.renewed >= RENEW
            motion, matrix = track.motion.measure(
                frame.picture, track.matrix, track.landmarks, renew
            )
            track.renewed = frame.time if renew else track.renewed
            if motion.likeness < LOST:  # a cut, or another picture than a face
                self._end(track)
                self._looked = -np.inf
                continue
            if not look:
                track.matrix = matrix
            track.last = frame.time
            motions[track.number] = motion
        return motions

    def _end(self, track: Track) -> None:
        self.tracks.remove(track)
        self.ended.append(track)

    def _look(self, frame: Frame) -> None:
        """Find faces and give each to the track that it overlaps most, the best pairs first."""
        self._looked = frame.time
        found = []
        for landmarks in self._finder.find_all(frame.picture):
            width = float(np.ptp(landmarks[:, 0]))
            if width >= self._min_face:
                found.append(landmarks)
            else:
                self.too_small.append(width)
        pairs = sorted(
            (
                (overlap(track.landmarks, landmarks), place, track)
                for track in self.tracks
                for place, landmarks in enumerate(found)
            ),
            key=lambda pair: -pair[0],
        )
        taken: set[int] = set()
        again: set[int] = set()
        for share, place, track in pairs:
            if share >= SAME and place not in taken and track.number not in again:
                track.find_again(found[place], frame.time)
                taken.add(place)
                again.add(track.number)
        for track in list(self.tracks):
            if frame.time - track.seen > GONE:
                self._end(track)
        for place, landmarks in enumerate(found):
            if place not in taken:
                matrix = faces.similarity(landmarks, SIZE, MARGIN)
                width = float(np.ptp(landmarks[:, 0]))
                now = frame.time
                track = Track(self._count, landmarks, matrix, now, now, now, width, now)
                self.tracks.append(track)
                self._count += 1


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of the boxes round two sets of points (N, 2)."""
    top = np.maximum(one.min(axis=0), other.min(axis=0))
    bottom = np.minimum(one.max(axis=0), other.max(axis=0))
    common = float(np.prod(np.maximum(bottom - top, 0)))
    areas = float(np.prod(np.ptp(one, axis=0)) + np.prod(np.ptp(other, axis=0)))
    return common / max(areas - common, 1e-9)
