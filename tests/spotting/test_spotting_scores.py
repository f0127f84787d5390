"""Scores against counts worked out by hand."""

import pytest

from mer.spotting.spotting_scores import (
    Counts,
    apex_error,
    count,
    intersection_over_union,
    pair,
    pooled,
    recognition_f1,
    strs,
)


def test_overlap_counts_frames_borders_included() -> None:
    assert intersection_over_union((1, 10), (1, 10)) == 1
    assert intersection_over_union((1, 10), (6, 15)) == pytest.approx(5 / 15)
    assert intersection_over_union((1, 10), (11, 20)) == 0
    assert intersection_over_union((1, 1), (1, 2)) == 0.5


def test_exactly_half_is_right_and_each_interval_counts_once() -> None:
    # 10 of 20 frames; the second spotted one overlaps the same annotation, and is wrong.
    assert count([(1, 10), (5, 24)], [(1, 20)]) == Counts(right=1, wrong=1, missed=0)
    assert pair([(1, 10), (5, 24)], [(1, 20)]) == [(1, 0)]  # 16 / 24 beats 10 / 20
    assert count([(1, 9)], [(1, 20)]) == Counts(0, 1, 1)
    assert count([], [(1, 20), (30, 40)]) == Counts(0, 0, 2)


def test_videos_are_pooled_before_scores_are_computed() -> None:
    # Video a: 1 right of 1 spotted of 1. Video b: 1 right of 4 spotted of 3.
    both = pooled([Counts(1, 0, 0), Counts(1, 3, 2)])
    assert both == Counts(2, 3, 2)
    assert (both.precision, both.recall) == (2 / 5, 2 / 4)
    assert both.f1 == pytest.approx(2 * 2 / (2 * 2 + 3 + 2))
    assert both.as_dict()["f1"] == both.f1
    empty = pooled([])
    assert (empty.precision, empty.recall, empty.f1) == (0, 0, 0)


def test_recognition_is_the_harmonic_mean_of_mean_precision_and_mean_recall() -> None:
    true = ["n", "n", "n", "p", "s"]
    guess = ["n", "n", "p", "p", "n"]
    # n: 2 right, 1 wrong, 1 missed; p: 1 right, 1 wrong, 0 missed; s: 0, 0, 1.
    precision = (2 / 3 + 1 / 2 + 0) / 3
    recall = (2 / 3 + 1 + 0) / 3
    expected = 2 * precision * recall / (precision + recall)
    score = recognition_f1(true, guess, ["n", "p", "s"])
    assert score == pytest.approx(expected)
    assert strs(Counts(5, 2, 3), score) == pytest.approx(10 / 15 * expected)
    assert recognition_f1(["n"], ["p"], ["n", "p"]) == 0


def test_apex_errors_in_frames_and_as_a_share_of_the_clip() -> None:
    error = apex_error([12, 40, 9], [10, 40, 10], [(0, 20), (30, 50), (5, 15)])
    assert error == (1.0, pytest.approx((2 / 20 + 0 + 1 / 10) / 3), pytest.approx(2 / 3), 3)
