"""Calibration: temperatures by hand, persons apart, and what runs keep of it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer.runs import calibration
from mer.runs.calibration import Calibration
from mer.runs.coverage import Covered, covered
from tests.builders import CLASSES


def test_calibration_error_weighs_each_bin_by_its_samples() -> None:
    table, error = calibration.reliability([0.95, 0.95, 0.55, 0.55], [1, 0, 1, 1])
    # .9 to 1: accuracy 1/2 at confidence .95; .5 to .6: accuracy 1 at .55.
    assert error == pytest.approx((2 * 0.45 + 2 * 0.45) / 4)
    assert table["samples"].tolist() == [2, 2]
    assert table["accuracy"].tolist() == [1, 0.5]
    assert table["low"].tolist() == pytest.approx([0.5, 0.9])


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_and_zero_to_the_first() -> None:
    table, _ = calibration.reliability([0.0, 0.5, 1.0], [0, 1, 1], bins=2)
    assert table["samples"].tolist() == [2, 1]


def test_perfectly_calibrated_predictions_have_no_error() -> None:
    _, error = calibration.reliability([0.75] * 4, [1, 1, 1, 0])
    assert error == pytest.approx(0)


def test_weights_count_in_a_bin() -> None:
    table, error = calibration.reliability([0.75, 0.75], [1, 0], weights=[3, 1])
    assert table["samples"].tolist() == [4]
    assert error == pytest.approx(0)


def test_logits_follow_from_the_form_of_the_scores() -> None:
    scores = np.array([[0.5, 0.25, 0.25]])
    logits = calibration.as_logits(scores, "probabilities")
    assert calibration.probabilities(logits, 1.0) == pytest.approx(scores)
    # A vote count of 2 with the fraction 1/6: its margins sum up to 1.
    votes = np.array([[2 + 1 / 6, 1.0, -1 / 6]])
    assert calibration.as_logits(votes, "votes")[0] == pytest.approx(
        [2 * np.tanh(0.5), 0, -2 * np.tanh(0.5)]
    )
    assert calibration.as_logits(votes, "margins") is votes


def test_a_larger_temperature_is_less_sure_and_a_class_without_samples_stays_impossible() -> None:
    logits = np.array([[2.0, 0.0, -np.inf]])
    assert calibration.probabilities(logits, 1.0)[0] == pytest.approx(
        [1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2)), 0]
    )
    assert calibration.probabilities(logits, 2.0)[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))


def drawn(temperature: float, count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are right as often as their softmax at a temperature says."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (count, 3))
    shares = calibration.probabilities(logits, temperature)
    labels = (rng.random((count, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    assert calibration.fit(*drawn(temperature)) == pytest.approx(temperature, rel=0.08)


def test_few_samples_that_are_all_right_make_no_head_sure_of_everything() -> None:
    logits = np.eye(3)
    shares = calibration.probabilities(logits, calibration.fit(logits, np.arange(3)))
    # The true class of 3 samples of 3 classes counts as (3 + 1) / (3 + 3).
    assert shares.max(axis=1) == pytest.approx([4 / 6] * 3, abs=1e-3)


def test_nobody_has_a_part_in_the_temperature_of_their_own_samples() -> None:
    logits, labels = drawn(2.0, 40)
    persons = [f"p{number % 4}" for number in range(40)]
    before = calibration.cross_fitted(logits, labels, persons)
    changed = labels.copy()
    own = np.array([person == "p1" for person in persons])
    changed[own] = (labels[own] + 1) % 3
    after = calibration.cross_fitted(logits, changed, persons)
    assert np.array_equal(after[own], before[own])
    assert not np.allclose(after[~own], before[~own])


def predictions(logits: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    shares = calibration.probabilities(logits, 1.0)
    columns = {f"softmax_{name}": shares[:, k] for k, name in enumerate(CLASSES)}
    names = np.array(CLASSES)
    return pd.DataFrame(
        {
            "sample_id": [f"made/{number}" for number in range(len(labels))],
            "fold": "one",
            "person": [f"p{number % 20}" for number in range(len(labels))],
            "label": names[labels],
            "softmax": names[shares.argmax(axis=1)],
            **columns,
        }
    )


def test_what_is_too_sure_is_mended_for_others() -> None:
    frame = predictions(*drawn(3.0))
    found = calibration.judge(
        frame, "softmax", CLASSES, {"one": "probabilities"}, "some"
    ).calibration
    assert found.temperature == pytest.approx(3.0, rel=0.08)
    assert (found.samples, found.persons, found.fitted_on) == (3000, 20, "some")
    assert found.error_before > 0.15 and found.error_after < 0.03


def test_a_sample_of_several_folds_counts_once() -> None:
    frame = predictions(*drawn(3.0, 60))
    odd = frame.iloc[::2]
    twice = pd.concat([frame, *[odd.assign(fold="two")] * 3])
    forms = {"one": "probabilities", "two": "probabilities"}
    once = calibration.judge(frame, "softmax", CLASSES, {"one": "probabilities"}, "").calibration
    again = calibration.judge(twice, "softmax", CLASSES, forms, "").calibration
    assert again.samples == 60
    assert again.temperature == pytest.approx(once.temperature, rel=1e-3)


def test_validation_persons_come_before_tested_ones(tmp_path: Path) -> None:
    frame = predictions(*drawn(3.0, 60))
    config = {"labels": {"classes": CLASSES}, "callbacks": {}}
    tested = calibration.judge_run(tmp_path, config, frame)["softmax"].calibration
    assert tested.fitted_on == calibration.TESTED
    folder = tmp_path / "folds" / "one"
    folder.mkdir(parents=True)
    frame.head(40).drop(columns="label").to_parquet(folder / "validation.parquet")
    found = calibration.judge_run(tmp_path, config, frame)["softmax"].calibration
    assert (found.fitted_on, found.samples) == (calibration.VALIDATION, 40)


def test_a_written_calibration_is_read_again(tmp_path: Path) -> None:
    points = (Covered(1.0, 0.3, 0.6), Covered(0.5, 0.8, 0.9))
    found = {"svm": Calibration(1.5, "votes", "some", 9, 3, 0.2, None, points)}
    assert found["svm"].words == "some: 60 % of all were right, 90 % of the surest 50 %"
    assert calibration.read(tmp_path) == {}
    calibration.write(tmp_path, {"selection": "oracle"}, found)
    assert json.loads((tmp_path / "calibration-ORACLE.json").read_text())["svm"]["persons"] == 3
    assert calibration.read(tmp_path) == found


def test_the_surest_samples_are_counted_by_their_weights() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.6])
    right = np.array([True, True, False, True, False])
    weights = np.array([1.0, 1.0, 1.0, 1.0, 1.0])
    assert covered(confidence, right, weights) == (
        Covered(1.0, 0.6, 0.6),  # so are four fifths: the fifth is as sure as the fourth
        Covered(0.6, 0.7, 0.6667),
        Covered(0.4, 0.8, 1.0),
        Covered(0.2, 0.9, 1.0),
    )
    weights = np.array([0.5, 0.5, 1.0, 1.0, 2.0])
    assert covered(confidence, right, weights)[:2] == (
        Covered(1.0, 0.6, 0.4),
        Covered(0.4, 0.7, 0.5),
    )
