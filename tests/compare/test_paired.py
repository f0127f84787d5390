"""Paired tests: by hand, by full enumeration, and against SciPy."""

import itertools
import time

import numpy as np
import pytest
from scipy import stats

from mer import metrics
from mer.compare import paired
from mer.errors import MerError

# Persons a, b, c with 1, 2 and 1 samples of two classes. B is right where A is wrong.
TRUE = [0, 1, 0, 1]
OF_A = [0, 0, 1, 1]
OF_B = [1, 1, 0, 1]
PERSONS = ["a", "b", "b", "c"]


def random_case(samples: int, people: int, seed: int, skill: float = 0.0) -> tuple:
    """Labels, predictions of A and B, persons; `skill` is the share in which B copies the label."""
    rng = np.random.default_rng(seed)
    true, a, b = rng.integers(0, 3, (3, samples))
    persons = [f"p{n:02d}" for n in rng.integers(0, people, samples)]
    return true, a, np.where(rng.random(samples) < skill, true, b), persons


def test_p_of_three_persons_by_hand() -> None:
    # A and B agree on c, so a and b are swapped or not: 4 arrangements. Accuracy of B minus A is
    # -1/4 from a and +1/2 from b: 1/4 as it is, 3/4 with a swapped, and both with the other sign.
    found = paired.compare(TRUE, OF_A, OF_B, PERSONS, 2)
    assert (found.arrangements, found.exact) == (4, True)
    assert found.difference["accuracy"] == pytest.approx(1 / 4)
    assert found.p["accuracy"] == 1.0
    # With a right in B too, the differences are 3/4, 1/4, -1/4, -3/4: two of four are as large.
    better = paired.compare(TRUE, [1, 0, 1, 1], [0, 1, 0, 1], PERSONS, 2)
    assert better.difference["accuracy"] == pytest.approx(3 / 4)
    assert better.p["accuracy"] == 0.5


def test_all_arrangements_equal_the_enumeration_of_swapped_predictions() -> None:
    true, a, b, persons = random_case(40, 8, seed=3, skill=0.3)
    names = sorted(set(persons))
    real = {
        k: metrics.scores(true, b, 3)[k] - metrics.scores(true, a, 3)[k] for k in metrics.SCORES
    }
    as_large = dict.fromkeys(metrics.SCORES, 0)
    for swaps in itertools.product([False, True], repeat=len(names)):
        swapped = np.isin(persons, [name for name, swap in zip(names, swaps, strict=True) if swap])
        first = metrics.scores(true, np.where(swapped, b, a), 3)
        second = metrics.scores(true, np.where(swapped, a, b), 3)
        for key in metrics.SCORES:
            as_large[key] += abs(second[key] - first[key]) >= abs(real[key]) - 1e-12
    expected = {key: count / 2 ** len(names) for key, count in as_large.items()}
    assert paired.compare(true, a, b, persons, 3).p == pytest.approx(expected)
    assert 0 < expected["uf1"] < 1


def test_p_of_accuracy_equals_that_of_scipy() -> None:
    # One sample a person: swapping predictions flips the sign of right(B) - right(A).
    true, a, b, _ = random_case(11, 11, seed=5, skill=0.5)
    right = (b == true).astype(float), (a == true).astype(float)
    expected = stats.permutation_test(
        right,
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    found = paired.compare(true, a, b, [str(n) for n in range(11)], 3).p
    assert found["accuracy"] == pytest.approx(expected.pvalue)
    assert 0 < expected.pvalue < 1


def test_drawn_arrangements_come_close_to_all_of_them_and_count_the_real_one() -> None:
    true, a, b, persons = random_case(60, 12, seed=1, skill=0.15)
    every = paired.compare(true, a, b, persons, 3).p
    drawn = paired.compare(true, a, b, persons, 3, draws=4000).p
    assert drawn != every
    assert drawn == pytest.approx(every, abs=0.03)
    # 20 persons, all wrong in A and right in B: no drawn arrangement is as large.
    people = [str(n) for n in range(20)]
    clear = paired.compare([0, 1] * 10, [1, 0] * 10, [0, 1] * 10, people, 2, draws=999)
    assert (clear.exact, clear.arrangements) == (False, 999)
    assert clear.p["uf1"] == pytest.approx(1 / 1000)


def test_persons_are_swapped_whole() -> None:
    # One person with all of 30 differences says as little as one sample.
    found = paired.compare([0, 1] * 15, [1, 0] * 15, [0, 1] * 15, ["a"] * 30, 2)
    assert found.p["accuracy"] == 1.0
    assert found.p_mcnemar == pytest.approx(2 / 2**30)


def test_equal_predictions_give_p_of_one_and_no_difference() -> None:
    found = paired.compare(TRUE, OF_A, OF_A, PERSONS, 2)
    assert set(found.p.values()) == {1.0}
    assert found.p_mcnemar == 1.0
    assert set(found.difference.values()) == {0.0}
    assert set(found.interval.values()) == {(0.0, 0.0)}


def test_changing_places_changes_signs_and_no_p() -> None:
    true, a, b, persons = random_case(80, 9, seed=7, skill=0.4)
    there, back = (paired.compare(true, *pair, persons, 3) for pair in ((a, b), (b, a)))
    assert there.p == back.p
    for key in metrics.SCORES:
        assert there.difference[key] == pytest.approx(-back.difference[key])
        assert there.interval[key] == pytest.approx(tuple(-x for x in reversed(back.interval[key])))


def test_the_interval_draws_the_same_persons_for_both() -> None:
    # B is right in one more of each person's samples, so every draw has the same difference.
    true, persons = [0] * 8, ["a", "a", "b", "b", "c", "c", "d", "d"]
    found = paired.compare(true, [0, 1] + [1, 1] * 3, [0, 0] + [0, 1] * 3, persons, 2)
    assert found.interval["accuracy"] == (0.5, 0.5)


def test_interval_of_two_persons() -> None:
    # B gains two of a's samples, none of b's. Drawn twice, a is there 0, 1, 2 times with 1/4, 1/2,
    # 1/4, and B is 0, 1/2 or 1 better.
    found = paired.compare([0, 1, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], ["a", "a", "b", "b"], 2)
    assert found.interval["accuracy"] == (0.0, 1.0)


def test_mcnemar_equals_the_binomial_test() -> None:
    for seed in range(5):
        true, a, b, _ = random_case(150, 5, seed, skill=seed / 10)
        only_a = int(((a == true) & (b != true)).sum())
        only_b = int(((a != true) & (b == true)).sum())
        expected = stats.binomtest(only_a, only_a + only_b).pvalue
        assert paired.mcnemar(true, a, b) == pytest.approx(expected)
    # B alone has 3 right, A alone 1: 2 * (1 + 4) / 16.
    assert paired.mcnemar([0] * 5, [0, 1, 1, 1, 0], [1, 0, 0, 0, 0]) == pytest.approx(10 / 16)


def test_holm_by_hand() -> None:
    # Sorted .01, .02, .03, .04 times 4, 3, 2, 1: .04, .06, .06, .04; none falls below one before.
    assert paired.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert paired.holm([0.6, 0.4]) == pytest.approx([0.8, 0.8])
    assert paired.holm([0.9, 0.8, 0.7]) == [1.0, 1.0, 1.0]
    assert paired.holm([0.2]) == [0.2]
    assert paired.holm([]) == []
    with pytest.raises(MerError, match="p lies between 0 and 1"):
        paired.holm([0.1, float("nan")])


def test_nobody_is_an_error() -> None:
    with pytest.raises(MerError, match="no prediction to draw from"):
        paired.compare([], [], [], [], 3)


def test_the_size_of_the_composite_takes_about_a_second() -> None:
    true, a, b, persons = random_case(442, 68, seed=0, skill=0.2)
    start = time.process_time()
    first = paired.compare(true, a, b, persons, 3)
    assert time.process_time() - start < 3
    assert paired.compare(true, a, b, persons, 3) == first
    assert first.arrangements == 10_000
    assert first.p["uf1"] < 0.05
