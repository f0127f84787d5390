"""`protocol=all`: one model on everybody, with the settings of a run that a protocol has judged."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mer.audit import audit
from mer.cli import main
from mer.compare.candidates import NO_SCORE, read
from mer.config.composition import typed
from mer.config.settings import Protocol
from mer.errors import MerError
from mer.metrics import SCORES
from mer.models.checkpoints import read_checkpoint
from mer.protocols import Fold, check_folds, make_folds
from mer.runs import calibration, untested
from mer.runs.stored_run import Run
from mer.training import runner
from tests.builders import Config

TABLE = pd.DataFrame(
    {
        "sample_id": ["a", "b", "c", "d"],
        "dataset": "smic",
        "label": ["positive", "surprise"] * 2,
        "person": ["smic/1", "smic/1", "smic/2", "smic/3"],
    }
)


@pytest.fixture(scope="module")
def judged(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose folds chose the number of epochs."""
    run_dir = tmp_path_factory.mktemp("everybody") / "judged"
    words = ("protocol.n_splits=2", "protocol.inner.n_splits=2", "protocol.inner.choose=[epochs]")
    runner.run(tiny_config(*words, "baseline=null"), run_dir)
    return run_dir


@pytest.fixture(scope="module")
def made(judged: Path) -> Path:
    """The model on everybody like it."""
    assert main(["train", "protocol=all", f"protocol.like={judged}"]) == 0
    return judged.with_name("judged-all")


def test_one_fold_trains_on_everybody_and_tests_nobody() -> None:
    assert make_folds(TABLE, "all") == [Fold("all", ("a", "b", "c", "d"), (), ())]
    (kept_apart,) = make_folds(TABLE, "all", validation=0.3)
    assert not kept_apart.test
    assert sorted([*kept_apart.train, *kept_apart.validation]) == ["a", "b", "c", "d"]
    with pytest.raises(MerError, match=r"1 samples not tested never: d \(1 times\)"):
        check_folds([Fold("all", ("a", "b"), (), ("d",))], TABLE, tested=False)


def test_the_model_has_seen_everybody_and_has_no_score(made: Path, judged: Path) -> None:
    metrics = json.loads((made / "metrics.json").read_text())
    assert metrics["status"] == "untested"
    assert metrics["scores"] == "none: trained on everybody"
    assert "heads" not in metrics
    assert pd.read_parquet(made / "folds/all/predictions.parquet").empty
    assert not (made / "predictions.parquet").exists()
    persons = set(pd.read_parquet(judged / "manifest.parquet")["person"])
    assert set(read_checkpoint(made / "folds/all/model.ckpt")["mer"]["persons"]) >= persons
    assert not Run(made).complete


def test_the_scores_of_the_run_that_stands_for_it_are_copied(made: Path, judged: Path) -> None:
    like = json.loads((made / "metrics.json").read_text())["like"]
    assert like["run"] == "../judged"
    assert like["protocol"] == "group_kfold"
    for head, scores in Run(judged).scores.items():
        assert {name: like["heads"][head][name] for name in SCORES} == scores
    assert calibration.read(made) == calibration.read(judged)
    assert set(calibration.read(made)) == {"svm", "softmax"}


def test_the_weights_of_the_pretraining_are_those_that_were_judged(
    made: Path, judged: Path
) -> None:
    first = next((judged / "folds").iterdir()) / "transfer.txt"
    assert (made / "folds/all/transfer.txt").read_text() == first.read_text()


def test_choices_are_made_anew_on_everybody(made: Path) -> None:
    splits = json.loads((made / "folds/all/inner.json").read_text())["splits"]
    everybody = set(pd.read_parquet(made / "manifest.parquet")["person"])
    assert [set(split["train"]) | set(split["validation"]) for split in splits] == [everybody] * 2


def test_the_audit_lists_who_trained_and_names_the_run_that_stands_for_it(made: Path) -> None:
    checked = audit(made)
    assert checked.verdict == "pass"
    untested_check = next(one for one in checked.checks if one.name == "untested")
    for person in pd.read_parquet(made / "manifest.parquet")["person"].unique():
        assert person in untested_check.evidence
    assert checked.sentence.startswith("There is no score to believe")
    assert "judged was trained with the same settings" in checked.sentence


def test_the_audit_sees_another_run_in_its_place_and_scores_where_none_can_be(
    made: Path, judged: Path, tmp_path: Path
) -> None:
    copies = [Path(shutil.copytree(source, tmp_path / source.name)) for source in (made, judged)]
    metrics = json.loads((copies[0] / "metrics.json").read_text())
    metrics["heads"] = metrics["like"]["heads"]
    (copies[0] / "metrics.json").write_text(json.dumps(metrics))
    (copies[1] / "checksums.json").write_text("{}")
    failed = {one.name: one.evidence for one in audit(copies[0]).checks if one.verdict == "fail"}
    assert "scores of persons who train" in failed["untested"]
    assert "is not as it was" in failed["like"]
    shutil.rmtree(copies[1])
    gaps = {one.name for one in audit(copies[0]).checks if one.verdict == "unknown"}
    assert gaps == {"like"}


def test_comparisons_and_reports_show_it_without_a_score(made: Path, judged: Path) -> None:
    status = {run.name: run.status for run in read([made.parent])}
    assert status == {"judged": "complete", "judged-all": NO_SCORE}
    assert main(["report", str(made), "--quick"]) == 0
    page = (made / "report.html").read_text()
    assert "incomplete" not in page
    assert "There is no score to believe" in page


def test_the_same_command_again_trains_nothing(
    made: Path, judged: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = (made / "folds/all/model.ckpt").stat().st_mtime_ns
    assert main(["train", "protocol=all", f"protocol.like={judged}"]) == 0
    assert (made / "folds/all/model.ckpt").stat().st_mtime_ns == before
    assert "Scores: none: trained on everybody." in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["backbone=pixels"], "leave these words out:\n  - backbone=pixels"),
        (["model.epochs=1", "logger=none"], "leave these words out:\n  - model.epochs=1"),
    ],
)
def test_words_that_change_the_settings_are_refused(
    words: list[str], sentence: str, judged: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "protocol=all", f"protocol.like={judged}", *words]) == 2
    assert sentence in capfd.readouterr().err


def test_runs_without_a_score_of_their_own_cannot_stand_for_a_model(
    made: Path, judged: Path, tmp_path: Path
) -> None:
    with pytest.raises(MerError, match=f"trained on everybody.*name {judged}"):
        untested.open_like(made)
    half = Path(shutil.copytree(judged, tmp_path / "half"))
    (half / "metrics.json").unlink()
    with pytest.raises(MerError, match="it is not finished"):
        untested.open_like(half)
    shutil.copytree(judged, half, dirs_exist_ok=True)
    (half / "nested.json").write_text("{}")
    with pytest.raises(MerError, match="by a nested search"):
        untested.open_like(half)


def test_settings_other_than_those_that_were_judged_are_refused(
    judged: Path, tiny_config: Config, tmp_path: Path
) -> None:
    settings = typed(tiny_config("model.epochs=3"))
    settings = replace(settings, protocol=Protocol("all", like=str(judged)))
    with pytest.raises(MerError, match=r"model\.epochs: 2 there, 3 here") as caught:
        runner.run(settings, tmp_path / "run")
    assert "protocol.inner.n_splits: 2 there, None here" in str(caught.value)


def test_a_model_on_everybody_cannot_be_evaluated(
    made: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(made)]) == 2
    assert "nobody to test it on" in capfd.readouterr().err
