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


def test_weighted_f1_and_kappa_equal_hand_computed_values() -> None:
    scores = metrics.more_scores(TRUE, PRED, 3)
    # F1 4/7, 2/3 and 1/2 of 3, 1 and 3 samples.
    assert scores["weighted_f1"] == pytest.approx((3 * 4 / 7 + 1 * 2 / 3 + 3 * 1 / 2) / 7)
    # True counts 3, 1, 3; predicted 4, 2, 1: by chance (12 + 2 + 3) / 49 are right.
    assert scores["kappa"] == pytest.approx((4 / 7 - 17 / 49) / (1 - 17 / 49))


def test_per_class_values_equal_hand_computed_ones_and_undefined_is_said() -> None:
    found = metrics.per_class([0, 0, 0, 2], [0, 0, 1, 0], ["a", "b", "c"])
    assert found["a"] == pytest.approx(
        {"samples": 3, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3}
    )
    # b has no true sample, so the one prediction into it is in no score of its own.
    assert found["b"] == {"samples": 0, "precision": None, "recall": None, "f1": None}
    # c was never predicted.
    assert found["c"] == {"samples": 1, "precision": None, "recall": 0.0, "f1": 0.0}


def test_kappa_of_one_and_the_same_class_is_undefined() -> None:
    assert metrics.more_scores([1, 1], [1, 1], 3) == {"weighted_f1": 1.0, "kappa": None}
    assert metrics.more_scores([1, 1], [2, 2], 3) == {"weighted_f1": 0.0, "kappa": 0.0}


def test_further_scores_agree_with_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score, f1_score, precision_recall_fscore_support

    rng = np.random.default_rng(1)
    true, pred = rng.integers(0, 3, 150), rng.integers(0, 3, 150)
    pred[:50] = true[:50]
    found = metrics.more_scores(true, pred, 3)
    assert found["weighted_f1"] == pytest.approx(f1_score(true, pred, average="weighted"))
    assert found["kappa"] == pytest.approx(cohen_kappa_score(true, pred))
    columns = precision_recall_fscore_support(true, pred)
    for place, values in enumerate(metrics.per_class(true, pred, ["a", "b", "c"]).values()):
        expected = [column[place] for column in columns]
        assert [values[k] for k in ("precision", "recall", "f1", "samples")] == pytest.approx(
            expected
        )


def test_many_matrices_at_once_give_what_each_gives_alone() -> None:
    matrices = np.random.default_rng(2).integers(0, 9, (4, 5, 3, 3))
    for function in (metrics.more_scores_from_confusion, metrics.per_class_from_confusion):
        for name, values in function(matrices).items():
            assert values[3, 2] == pytest.approx(function(matrices[3, 2])[name])


def test_a_sample_that_several_folds_predict_counts_once() -> None:
    # "a" comes three times, twice right; "b" and "c" come once, right and wrong.
    weights = metrics.once_each(["a", "b", "a", "a", "c"])
    true, pred = [0, 1, 0, 0, 1], [0, 1, 1, 0, 0]
    matrix = metrics.confusion(true, pred, 2, weights)
    assert matrix == pytest.approx(np.array([[2 / 3, 1 / 3], [1, 1]]))
    scores = metrics.scores(true, pred, 2, weights)
    assert scores["accuracy"] == pytest.approx((2 / 3 + 1) / 3)
    assert scores["uar"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    # F1: 2 (2/3) / (1 + 5/3) = 1/2 and 2 / (2 + 4/3) = 3/5.
    assert scores["uf1"] == pytest.approx((1 / 2 + 3 / 5) / 2)
    low, high = metrics.bootstrap_intervals(true, pred, list("aaaaa"), 2, weights=weights)["uf1"]
    assert low == high == pytest.approx(scores["uf1"])


def test_groups_are_counted_apart() -> None:
    counts = metrics.confusion_by([0, 1, 0], [0, 0, 0], ["b", "a", "b"], 2)
    assert counts.tolist() == [[[0, 0], [1, 0]], [[2, 0], [0, 0]]]
    with pytest.raises(MerError, match="Each of 3 samples needs its group; found 2"):
        metrics.confusion_by([0, 1, 0], [0, 0, 0], ["b", "a"], 2)


def test_chance_of_two_samples_by_hand() -> None:
    # One sample of each class, either class with odds 1/2. Predictions of a class: 0, 1, 2 with
    # probability 1/4, 1/2, 1/4; half of them are right: F1 0, 1/2 (mean of 0 and 1), 2/3.
    found = metrics.chance([1, 1], 2)
    expected = {"uf1": 5 / 12, "uar": 0.5, "accuracy": 0.5, "weighted_f1": 5 / 12, "kappa": 0.0}
    assert found["uniform"] == pytest.approx(expected)
    assert found["prior"] == pytest.approx(expected)


def test_chance_on_the_composite_equals_the_mean_of_guesses() -> None:
    counts = [250, 109, 83]
    rng = np.random.default_rng(0)
    for name, odds in (("uniform", [1 / 3] * 3), ("prior", np.array(counts) / 442)):
        guesses = np.stack([rng.multinomial(n, odds, size=4000) for n in counts], axis=1)
        drawn = metrics.scores_from_confusion(guesses) | metrics.more_scores_from_confusion(guesses)
        for key, value in metrics.chance(counts, 3)[name].items():
            assert drawn[key].mean() == pytest.approx(value, abs=0.002)
    # Accuracy of the prior: the sum of squared shares; UF1 about .33.
    found = metrics.chance(counts, 3)["prior"]
    assert found["accuracy"] == pytest.approx((250**2 + 109**2 + 83**2) / 442**2)
    assert found["uf1"] == pytest.approx(0.333, abs=0.0005)


def test_chance_leaves_absent_classes_out_of_the_means() -> None:
    found = metrics.chance([4, 0], 2)
    assert found["prior"]["uf1"] == found["prior"]["accuracy"] == 1.0
    # A half of the predictions is right; UAR is the recall of the one class there is.
    assert found["uniform"]["uar"] == found["uniform"]["accuracy"] == 0.5


@pytest.mark.parametrize("counts", [[1, 2], [0, 0, 0], [1, -1, 2]])
def test_chance_refuses_counts_that_are_none(counts: list[int]) -> None:
    with pytest.raises(MerError, match="samples of each of 3 classes"):
        metrics.chance(counts, 3)


def test_fold_averages_are_diagnostics_and_depend_on_absent_classes() -> None:
    found = metrics.fold_diagnostics(TRUE, PRED, ["x"] * 3 + ["y"] * 4, 3)
    # Fold x: F1 2/3 and 2/3, class 2 not there; fold y: 1/2 and 1/2, class 1 not there.
    assert found["fold_f1_diagnostic"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["fold_f1_absent_0_diagnostic"] == pytest.approx((4 / 9 + 1 / 3) / 2)
    assert found["fold_f1_absent_1_diagnostic"] == pytest.approx((7 / 9 + 2 / 3) / 2)
    # Recalls 1/2 and 1; 1 and 1/3.
    assert found["fold_uar_diagnostic"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert found["fold_uar_absent_0_diagnostic"] == pytest.approx((1 / 2 + 4 / 9) / 2)
    assert found["fold_accuracy_diagnostic"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert all(name.endswith("_diagnostic") for name in found)


def test_fold_averages_agree_with_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(3)
    true, pred, folds = rng.integers(0, 3, 60), rng.integers(0, 3, 60), rng.integers(0, 15, 60)
    found = metrics.fold_diagnostics(true, pred, folds.astype(str).tolist(), 3)
    for key, options in (
        ("fold_f1_diagnostic", {}),
        ("fold_f1_absent_0_diagnostic", {"labels": [0, 1, 2], "zero_division": 0}),
        ("fold_f1_absent_1_diagnostic", {"labels": [0, 1, 2], "zero_division": 1}),
    ):
        each = [
            f1_score(true[folds == fold], pred[folds == fold], average="macro", **options)
            for fold in np.unique(folds)
        ]
        assert found[key] == pytest.approx(np.mean(each))
