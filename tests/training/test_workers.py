"""How many folds train at the same time, and what a user is told of idle cores."""

import pytest

from mer.training import workers


@pytest.mark.parametrize(
    ("wanted", "pending", "cores", "threads", "room", "beside", "devices", "expected"),
    [
        ("auto", 68, 16, 1, 99, True, 1, 16),
        ("auto", 68, 16, 3, 99, True, 1, 5),
        ("auto", 68, 16, 1, 4, True, 1, 4),
        ("auto", 3, 16, 1, 99, True, 1, 3),
        ("auto", 68, 2, 4, 99, True, 1, 1),
        ("auto", 1, 16, 1, 99, True, 1, 1),
        ("auto", 0, 16, 1, 99, True, 1, 1),
        ("auto", 68, 16, 1, 99, False, 1, 1),
        (4, 68, 2, 1, 1, False, 1, 4),
        (4, 2, 16, 1, 99, True, 1, 2),
        (1, 68, 16, 1, 99, True, 1, 1),
        ("auto", 68, 16, 1, 99, True, 3, 15),
        ("auto", 68, 1, 1, 99, True, 2, 2),
        (2, 68, 1, 1, 99, True, 2, 4),
        (1, 1, 1, 1, 99, True, 2, 1),
    ],
)
def test_number_of_folds_at_once(
    wanted: int | str,
    pending: int,
    cores: int,
    threads: int,
    room: int,
    beside: bool,
    devices: int,
    expected: int,
) -> None:
    found = workers.at_once(wanted, pending, cores, threads, room, beside, devices)
    assert found == expected


def test_cores_that_lie_idle_are_told() -> None:
    assert workers.advice(3, 6, 1) is None
    assert workers.advice(1, 2, 1) is None
    text = workers.advice(3, 16, 1)
    assert text is not None
    assert "3 folds at a time with trainer.threads=1: 3 of 16 cores" in text
    assert "trainer.threads=5 would use them all" in text
