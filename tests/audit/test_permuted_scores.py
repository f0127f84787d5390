"""Scores on permuted labels: expected values and bounds that can be worked out by hand."""

import math

import pandas as pd
import pytest

from mer.audit.permuted_scores import compare

CLASSES = ["a", "b"]


def frame(persons: list[tuple[str, str]]) -> pd.DataFrame:
    """One row per letter of (labels, predictions) of each person."""
    rows = [
        {"dataset": "x", "person": f"x/{number}", "label": label, "svm": predicted}
        for number, (labels, predictions) in enumerate(persons)
        for label, predicted in zip(labels, predictions, strict=True)
    ]
    return pd.DataFrame(rows)


def test_the_expected_score_is_that_of_all_orders_of_each_persons_labels() -> None:
    """Of the six orders of aabb one is all right, one all wrong, four are half right."""
    uf1, uar = compare([frame([("aabb", "aabb")])], ["svm"], CLASSES)
    assert (uf1.head, uf1.name, uf1.values) == ("svm", "uf1", [1.0])
    assert uf1.expected == pytest.approx(0.5, abs=0.01)
    assert uar.expected == pytest.approx(0.5, abs=0.01)
    # One order in six is right: nothing is surprising, and the bound is above any score.
    assert uf1.bound == pytest.approx(0.5 + math.sqrt(2) * 0.5, abs=0.02)
    assert not uf1.leaks


def test_the_bound_is_the_quantile_of_random_orders_widened_for_shared_training_samples() -> None:
    """A person of ab, called ab, is right or wrong as a whole; UF1 is the share of right persons.

    With 20 persons the right ones are binomial: P(K <= 15) = .9941, P(K <= 16) = .9987, so the
    quantile .995 (1 % over two scores) is 16 / 20.
    """
    persons = [("ab", "ab")] * 18 + [("ab", "ba")] * 2
    score = compare([frame(persons)], ["svm"], CLASSES)[0]
    assert score.mean == pytest.approx(0.9)
    assert score.expected == pytest.approx(0.5, abs=0.005)
    assert score.bound == pytest.approx(0.5 + math.sqrt(2) * 0.3, abs=0.01)  # .924
    assert not score.leaks
    assert compare([frame([("ab", "ab")] * 20)], ["svm"], CLASSES)[0].leaks


def test_repetitions_narrow_the_bound_and_heads_share_the_false_alarms() -> None:
    """Two repetitions are 40 persons: P(K <= 27) = .9917, P(K <= 28) = .9968, so 28 / 40."""
    table = frame([("ab", "ab")] * 16 + [("ab", "ba")] * 4).assign(other="a")
    score = compare([table, table], ["svm"], CLASSES)[0]
    assert score.values == pytest.approx([0.8, 0.8])
    assert score.bound == pytest.approx(0.5 + math.sqrt(2) * 0.2, abs=0.01)  # .783
    assert score.leaks
    # Of two heads each has the quantile .9975: P(K <= 28) = .9968, P(K <= 29) = .9989.
    shared = {one.head: one for one in compare([table, table], ["svm", "other"], CLASSES)[::2]}
    assert shared["svm"].bound == pytest.approx(0.5 + math.sqrt(2) * 0.225, abs=0.01)  # .818
    assert not shared["svm"].leaks


def test_what_is_known_of_persons_with_one_class_is_no_leak() -> None:
    """Their labels stay as they are, so a network may tell them; nothing else is said here."""
    score = compare([frame([("aaa", "aaa"), ("bb", "bb")])], ["svm"], CLASSES)[0]
    assert (score.mean, score.expected, score.bound) == pytest.approx((1.0, 1.0, 1.0))
    assert not score.leaks


def test_one_class_for_everybody_is_no_leak() -> None:
    """Always a over 40 a and 20 b: F1 80 / 100 and 0, whatever the order."""
    score = compare([frame([("aab", "aaa")] * 20)], ["svm"], CLASSES)[0]
    assert (score.expected, score.bound) == pytest.approx((0.4, 0.4))
    assert not score.leaks


def test_a_person_in_two_datasets_is_permuted_in_each_apart() -> None:
    """In each dataset this person has one class, so no label can change."""
    table = frame([("ab", "ab")])
    table["dataset"] = ["x", "y"]
    score = compare([table], ["svm"], CLASSES)[0]
    assert score.expected == pytest.approx(1.0)
