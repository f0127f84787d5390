"""The watcher on courses of motion that are drawn by hand: what is an expression, and what not."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mer.spotting.bumps import roughness
from mer.spotting.intervals import KEPT, Watcher
from mer.spotting.regions import EXPRESSIVE, EYES, Motion
from mer.spotting.spotted_expression import Expression, Settings
from mer.spotting.stream import Frame

NAMES = [*EXPRESSIVE, *EYES]
PICTURE = np.zeros((2, 2, 3), np.uint8)
FPS = 50.0

Course = Callable[[float], float]


def bump(start: float, length: float) -> Course:
    """Rise and fall of a smile: a raised cosine."""

    def course(time: float) -> float:
        share = (time - start) / length
        return 0.5 - 0.5 * np.cos(2 * np.pi * share) if 0 < share < 1 else 0.0

    return course


def film(seconds: float, seed: int = 0, **regions: Course) -> Iterator[tuple[Frame, Motion]]:
    """Motion of all regions: noise of 0.05 px, and courses for some (down the picture, px)."""
    rng = np.random.default_rng(seed)
    for number in range(round(seconds * FPS)):
        shifts = rng.normal(0, 0.05, (len(NAMES), 2))
        for name, course in regions.items():
            for place, region in enumerate(NAMES):
                if region.startswith(name):
                    shifts[place, 1] += course(number / FPS)
        yield Frame(number, number / FPS, PICTURE), Motion(shifts, 0.0, 1.0)


def spot(
    frames: Iterator[tuple[Frame, Motion]], settings: Settings | None = None
) -> tuple[list[Expression], Watcher]:
    watcher = Watcher(0, settings or Settings())
    spotted = [one for frame, motion in frames for one in watcher.add(frame, motion)]
    return spotted + watcher.close(), watcher


def scaled(course: Course, by: float) -> Course:
    return lambda time: by * course(time)


def test_a_short_bump_is_a_micro_expression_with_its_borders() -> None:
    spotted, watcher = spot(film(12, mouth=bump(6.0, 0.4), lip=bump(6.0, 0.4)))
    (one,) = spotted
    assert one.kind == "micro"
    assert abs(one.onset.time - 6.0) <= 0.06
    assert abs(one.apex.time - 6.2) <= 0.04
    assert abs(one.offset.time - 6.4) <= 0.06
    assert 0.6 < one.strength < 1.1
    assert {name.split("_")[0] for name in one.regions} <= {"mouth", "lip"}
    assert watcher.blinks == []


def test_a_long_bump_is_one_macro_expression() -> None:
    (one,), _ = spot(film(12, mouth=scaled(bump(6.0, 2.0), 4), cheek=scaled(bump(6.0, 2.0), 3)))
    assert one.kind == "macro"
    assert abs(one.onset.time - 6.0) <= 0.3
    assert abs(one.apex.time - 7.0) <= 0.15
    assert abs(one.offset.time - 8.0) <= 0.3


def test_two_expressions_in_a_row_are_two() -> None:
    def twice(time: float) -> float:
        return bump(5.0, 0.4)(time) + bump(6.5, 0.4)(time)

    spotted, _ = spot(film(12, brow=twice))
    assert [round(one.apex.time, 1) for one in spotted] == [5.2, 6.7]


def test_noise_steady_drift_and_nothing_are_no_expression() -> None:
    assert spot(film(10, seed=4))[0] == []
    assert spot(film(10, mouth=lambda time: 0.3 * time, nose=lambda time: -0.2 * time))[0] == []
    still = (
        (Frame(n, n / FPS, PICTURE), Motion(np.zeros((len(NAMES), 2)), 0.0, 1.0))
        for n in range(200)
    )
    assert spot(still)[0] == []


def test_a_blink_is_a_blink_even_if_it_drags_the_brows() -> None:
    lids = bump(6.0, 0.25)
    spotted, watcher = spot(film(12, eye=scaled(lids, 4), brow=scaled(lids, 2)))
    assert spotted == []
    assert [round(time, 1) for time in watcher.blinks] == [6.1]


def test_a_smile_during_a_blink_stays() -> None:
    spotted, watcher = spot(
        film(12, eye=scaled(bump(6.1, 0.25), 3), mouth=scaled(bump(6.0, 0.45), 2))
    )
    assert [one.kind for one in spotted] == ["micro"]
    assert len(watcher.blinks) == 1


def test_the_threshold_is_in_multiples_of_the_noise() -> None:
    # A bump of 0.35 px stands out of a noise of 0.05 px, and not of one of 0.25 px.
    course = scaled(bump(6.0, 0.4), 0.35)
    assert len(spot(film(12, mouth=course, lip=course))[0]) == 1

    def noisy() -> Iterator[tuple[Frame, Motion]]:
        rng = np.random.default_rng(1)
        for frame, motion in film(12, mouth=course, lip=course):
            yield (
                frame,
                motion._replace(shifts=motion.shifts + rng.normal(0, 0.25, (len(NAMES), 2))),
            )

    assert spot(noisy())[0] == []


def test_pictures_are_let_go_of() -> None:
    watcher = Watcher(0, Settings())
    held = []
    for frame, motion in film(22, mouth=bump(10, 0.4)):
        watcher.add(frame, motion)
        held.append(len(watcher._frames))
    assert max(held[int(KEPT * FPS) :]) < 110  # of 225 frames in that time
    assert held[-1] <= max(held[:550])


def test_an_expression_keeps_the_pictures_of_its_frames() -> None:
    def numbered() -> Iterator[tuple[Frame, Motion]]:
        for frame, motion in film(12, mouth=bump(6.0, 0.4)):
            yield frame._replace(picture=np.full((2, 2, 3), frame.number % 256, np.uint8)), motion

    (one,), _ = spot(numbered())
    for frame in (one.onset, one.apex, one.offset):
        assert (frame.picture == frame.number % 256).all()


def test_noise_that_all_regions_share_is_no_expression() -> None:
    # As JPEG of changing quality does: each frame moves every region along a way of its own.
    def shared() -> Iterator[tuple[Frame, Motion]]:
        rng = np.random.default_rng(2)
        ways = rng.normal(0, 0.1, (len(NAMES), 2))
        ways[len(EXPRESSIVE) :] = 0
        for frame, motion in film(12):
            shifts = 0.2 * motion.shifts + ways * rng.standard_t(3)
            yield frame, motion._replace(shifts=shifts)

    assert len(spot(shared(), Settings(snr=0))[0]) > 0
    assert spot(shared())[0] == []


def test_roughness_is_the_noise_of_a_course_and_not_its_rise() -> None:
    assert roughness(np.arange(9.0)) == 0
    assert roughness(np.array([0.0, 1.0])) == 0
    # Each frame of 0, 2, 0, 2 ... differs from the mean of its neighbours by 2.
    assert roughness(np.array([0.0, 2.0] * 5)) == pytest.approx(2 / (0.6745 * 1.5**0.5))
    noise = np.random.default_rng(0).normal(0, 0.3, 20000)
    assert roughness(noise) == pytest.approx(0.3, rel=0.03)
