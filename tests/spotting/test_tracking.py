"""Faces keep their numbers while they are there, enter and leave."""

import numpy as np
import pytest

from mer.prepare import faces
from mer.spotting.stream import Frame
from mer.spotting.tracking import GONE, LOOK, Tracker

RNG = np.random.default_rng(0)
#: Points of a face in outer-eye distances; those that the alignment uses are in their place.
POINTS = RNG.uniform((-0.75, -0.45), (0.75, 1.05), (478, 2))
POINTS[list(faces.CANONICAL)] = list(faces.CANONICAL.values())
PICTURE = RNG.integers(0, 255, (240, 480, 3), dtype=np.uint8)


def face(x: float, width: float = 80.0) -> np.ndarray:
    return (POINTS * width + (x, 100.0)).astype(np.float32)


def test_two_faces_are_kept_apart_enter_and_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    def present(time: float) -> list[np.ndarray]:
        there = []
        if time >= 0.4:
            there.append(face(360 - 4 * time))  # listed first: the larger face may change
        if time < 1.2:
            there.append(face(110 + 5 * time))
        return there

    now = 0.0
    monkeypatch.setattr(faces.FaceFinder, "find_all", lambda self, picture: present(now))
    tracker, seen, ended = Tracker(), [], []
    for number in range(60):
        now = number / 25
        motions = tracker.update(Frame(number, now, PICTURE))
        seen.append(sorted(motions))
        ended += [(track.number, now) for track in tracker.ended]
    tracker.close()
    assert seen[0] == [0]
    assert seen[round(25 * (0.4 + LOOK))] == [0, 1]
    assert seen[-1] == [1]
    ((number, moment),) = ended
    assert number == 0
    assert 1.2 + GONE - LOOK <= moment <= 1.2 + GONE + 2 * LOOK


def test_a_cut_ends_the_face(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces.FaceFinder, "find_all", lambda self, picture: [face(200)])
    other = np.random.default_rng(1).integers(0, 255, PICTURE.shape, dtype=np.uint8)
    tracker = Tracker()
    numbers = []
    for number, picture in enumerate([PICTURE] * 6 + [other] * 6):
        numbers.append(list(tracker.update(Frame(number, number / 25, picture))))
    tracker.close()
    assert numbers[5] == [0]
    assert numbers[-1] == [1]


def test_small_faces_are_left_out_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces.FaceFinder, "find_all", lambda self, picture: [face(200, width=30)])
    tracker = Tracker(min_face=60)
    assert tracker.update(Frame(0, 0.0, PICTURE)) == {}
    assert tracker.too_small == [pytest.approx(np.ptp(face(200, 30)[:, 0]))]
    tracker.close()
