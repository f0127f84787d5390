"""Whether the best trial beats the default setting: intervals over validation persons, by hand."""

from pathlib import Path

import pandas as pd
import pytest
from optuna.trial import TrialState

from mer.search import gain
from tests.search.search_inputs import Made

#: Two persons with a sample of each class.
TRUE = {"p/1": "a", "p/2": "b", "q/1": "a", "q/2": "b"}


def write_run(run: Path, said: dict[str, str]) -> None:
    """A run whose second fold validates both persons, and its first one of them again."""
    samples = pd.DataFrame({"sample_id": TRUE.keys(), "label": TRUE.values()})
    samples["person"] = samples["sample_id"].str[0]
    samples["svm"] = samples["sample_id"].map(said)
    for name, of in (("svm_a", "a"), ("svm_b", "b")):
        samples[name] = (samples["svm"] == of).astype(float)
    samples[["softmax", "softmax_a", "softmax_b"]] = samples[["svm", "svm_a", "svm_b"]]
    columns = ["sample_id", *(c for c in samples if c.startswith(("svm", "softmax")))]
    for fold, part in (("x", samples[samples["person"] == "p"]), ("y", samples)):
        (run / "folds" / fold).mkdir(parents=True)
        part[columns].to_parquet(run / "folds" / fold / "validation.parquet")
    manifest = samples[["sample_id", "label", "person"]].assign(dataset="made", fold="x")
    manifest.to_parquet(run / "manifest.parquet")
    (run / "config.yaml").write_text("labels: {classes: [a, b]}\n")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Trial 0 is the default setting, which says `a` of all that q shows; trial 1 is right."""
    made = Made(tmp_path)
    made.add([11 / 15], default="inside")
    write_run(tmp_path / "0", TRUE | {"q/2": "a"})
    made.add([1.0])
    write_run(tmp_path / "1", TRUE)
    return made


def test_the_best_is_held_against_the_default_over_the_same_persons(made: Made) -> None:
    # F1 of a is 4/5, of b 2/3; it is 1 where p is drawn twice, and 2/3 and 0 where q is.
    first, second = gain.sentences(made.study)
    assert first == (
        "Trial 1 has uf1 1.000 [1.000, 1.000], the default setting (trial 0) 0.733 [0.333, 1.000]: "
        "+0.267 [+0.000, +0.667]. That may be chance, the more so as it is the best of "
        "2 complete trials."
    )
    assert second == (
        "Intervals are 95 % when the 2 validation persons are drawn again; with so few persons "
        "they are rough."
    )


def test_scores_of_several_seeds_are_averaged(made: Made) -> None:
    drawn = gain.draw([made.folder / "0", made.folder / "1"], "uf1")
    assert drawn is not None and drawn.persons == ["p", "q"]
    assert drawn.score == pytest.approx((11 / 15 + 1) / 2)
    assert {round(one, 4) for one in drawn.again} == {1, round((11 / 15 + 1) / 2, 4), 0.6667}


def test_a_default_setting_that_is_the_best_has_its_interval(made: Made) -> None:
    alone = Made(made.folder)
    alone.add([11 / 15], default="inside")
    first, _ = gain.sentences(alone.study)
    assert first == (
        "No trial is better than the default setting (trial 0), uf1 0.733 [0.333, 1.000]."
    )


def test_without_predictions_or_with_a_cost_there_is_no_interval(tmp_path: Path) -> None:
    made = Made(tmp_path, "minimize", objective="latency_ms")
    made.add([4.5], default="inside")
    made.add([3.25])
    assert gain.sentences(made.study) == [
        "Trial 1 has latency_ms 3.25, the default setting (trial 0) 4.5: -1.25; there is no "
        "interval."
    ]
    assert gain.draw([tmp_path / "0"], "uf1") is None


def test_a_default_setting_without_a_value_is_no_reference(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.add(None, TrialState.FAIL, outcome="killed 3 times", default="inside")
    made.add([0.5])
    assert gain.sentences(made.study) == [
        "There is nothing to compare the best with: the default setting (trial 0) has no value "
        "(killed 3 times)."
    ]
