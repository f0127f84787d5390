"""Scores against values worked out by hand."""

import numpy as np
import pytest

from mer import metrics
from mer.errors import MerError

# Two folds; class 2 is absent from the first, class 1 from the second.
TRUE = [0, 0, 1, 2, 2, 2, 0]
PRED = [0, 1, 1, 2, 0, 0, 0]


def test_pooled_scores_equal_hand_computed_values() -> None:
    scores = metrics.scores(TRUE, PRED, 3)
    # F1: class 0 has TP 2, FP 2, FN 1 -> 4/7; class 1 TP 1, FP 1 -> 2/3; class 2 TP 1, FN 2 -> 1/2.
    assert scores["uf1"] == pytest.approx((4 / 7 + 2 / 3 + 1 / 2) / 3)
    # Recalls 2/3, 1 and 1/3.
    assert scores["uar"] == pytest.approx(2 / 3)
    assert scores["accuracy"] == pytest.approx(4 / 7)


def test_confusion_counts_true_in_rows() -> None:
    assert metrics.confusion(TRUE, PRED, 3).tolist() == [[2, 1, 0], [0, 1, 0], [2, 0, 1]]


def test_pooled_differs_from_the_mean_over_folds() -> None:
    folds = [metrics.scores(TRUE[:3], PRED[:3], 3), metrics.scores(TRUE[3:], PRED[3:], 3)]
    # Fold 1: F1 2/3 and 2/3; fold 2: F1 of class 0 is 1/2, of class 2 also 1/2.
    assert np.mean([fold["uf1"] for fold in folds]) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert metrics.scores(TRUE, PRED, 3)["uf1"] != pytest.approx((2 / 3 + 1 / 2) / 2)


def test_always_negative_on_the_composite() -> None:
    # 250 negative of 442: F1 of negative is 500 / 692, the others 0.
    true = [0] * 250 + [1] * 109 + [2] * 83
    scores = metrics.scores(true, [0] * 442, 3)
    assert scores["uf1"] == pytest.approx(500 / 692 / 3)
    assert scores["uar"] == pytest.approx(1 / 3)
    assert scores["accuracy"] == pytest.approx(250 / 442)


def test_absent_class_is_left_out_of_the_means() -> None:
    # Class 2 has no true sample; the prediction into it still costs class 0 its recall.
    scores = metrics.scores([0, 0, 1], [0, 2, 1], 3)
    assert scores["uf1"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["uar"] == pytest.approx((1 / 2 + 1) / 2)


def test_scores_agree_with_scikit_learn() -> None:
    from sklearn.metrics import balanced_accuracy_score, f1_score

    rng = np.random.default_rng(0)
    true, pred = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    scores = metrics.scores(true, pred, 4)
    assert scores["uf1"] == pytest.approx(f1_score(true, pred, average="macro"))
    assert scores["uar"] == pytest.approx(balanced_accuracy_score(true, pred))


@pytest.mark.parametrize(
    ("true", "pred", "message"),
    [
        ([0, 1], [0], "one prediction per label"),
        ([0, 3], [0, 1], "label lies outside the classes 0 to 2: found 0 to 3"),
        ([0, 1], [0, -1], "prediction lies outside the classes 0 to 2: found -1 to 0"),
    ],
)
def test_wrong_input_is_named(true: list[int], pred: list[int], message: str) -> None:
    with pytest.raises(MerError, match=message):
        metrics.confusion(true, pred, 3)


def test_interval_of_two_persons() -> None:
    # Person a is always right, b always wrong. Two draws of two persons give accuracy 0, 1/2 or 1
    # with probability 1/4, 1/2, 1/4: the 95 % interval is [0, 1], the 40 % interval [1/2, 1/2].
    true, pred, persons = [0, 1, 0, 1], [0, 1, 1, 0], ["a", "a", "b", "b"]
    wide = metrics.bootstrap_intervals(true, pred, persons, 2)
    narrow = metrics.bootstrap_intervals(true, pred, persons, 2, level=0.4)
    assert wide["accuracy"] == (0.0, 1.0)
    assert narrow["accuracy"] == (0.5, 0.5)


def test_interval_draws_persons_not_samples() -> None:
    # All 100 samples of one person: whoever is drawn, it is he, so the interval is a point.
    rng = np.random.default_rng(1)
    true, pred = rng.integers(0, 3, 100), rng.integers(0, 3, 100)
    low, high = metrics.bootstrap_intervals(true, pred, ["a"] * 100, 3)["uf1"]
    assert low == high == pytest.approx(metrics.scores(true, pred, 3)["uf1"])
