"""The audit's checks of choices: epochs, looks at the test labels, searches, completeness."""

import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from mer.audit import audit
from mer.audit.artefacts import Artefacts
from mer.audit.check_choices import check_search
from mer.audit.check_nested import check_svm
from mer.audit.check_predictions import count, scores
from mer.audit.findings import Findings
from mer.cli import main
from mer.training import runner
from tests.audit.tampering import (
    failures,
    first_fold,
    forge,
    in_fold,
    manifest,
    pooled,
    set_config,
)
from tests.builders import Config


def test_an_oracle_fails_and_its_marks_must_agree_with_the_configuration(
    tiny_config: Config, tmp_path: Path
) -> None:
    cfg = tiny_config("selection=oracle", "macro.enabled=false", "protocol.n_splits=2")
    runner.run(cfg, tmp_path / "oracle")
    evidence = failures(tmp_path / "oracle")
    assert list(evidence) == ["selection"]
    assert evidence["selection"].startswith("selection=oracle")
    assert "are named as if" not in evidence["selection"]
    set_config(tmp_path / "oracle", "selection", "validation")
    evidence = failures(tmp_path / "oracle")
    assert "4 files are named as if selection were not validation" in evidence["selection"]
    assert "no validation persons, but values of some" in evidence["selection"]


def test_an_oracle_that_calls_itself_validation_is_unmasked_by_its_history(run_dir: Path) -> None:
    """The validation values of the kept epoch are replaced with those of the test persons."""
    table = pd.read_parquet(in_fold(run_dir, "predictions.parquet"))
    labels = manifest(run_dir).set_index("sample_id")["label"]
    classes = ["negative", "positive", "surprise"]
    table["label"] = table["sample_id"].map(labels)
    tested = scores(count(table, "softmax", classes))["uf1"]
    path = in_fold(run_dir, "metrics.csv")
    history = pd.read_csv(path)
    own = history["val/uf1"].max()
    assert abs(tested - own) > 1e-3  # or there would be nothing to see
    rows = history["val/uf1"].notna()
    history.loc[rows, "val/uf1"] += tested - own
    history.to_csv(path, index=False)
    assert "is the test persons' score" in failures(run_dir)["selection"]


def test_an_epoch_other_than_the_best_of_the_validation_persons_is_seen(run_dir: Path) -> None:
    path = in_fold(run_dir, "fold.json")
    record = json.loads(path.read_text())
    csv = in_fold(run_dir, "metrics.csv")
    history = pd.read_csv(csv)
    other = 1 - record["best_epoch"]
    best = (history["epoch"] == other) & history["val/uf1"].notna()
    history.loc[best, "val/uf1"] = 0.999
    history.to_csv(csv, index=False)
    fold = first_fold(run_dir)
    expected = f"fold {fold} keeps epoch {record['best_epoch']}, the best of the validation"
    assert expected in failures(run_dir)["selection"]
    path.write_text(json.dumps({**record, "best_epoch": 2}))
    assert f"fold {fold}: the best epoch is 2, of 2" in failures(run_dir)["selection"]


def test_later_looks_are_a_remark_and_earlier_ones_a_failure(run_dir: Path) -> None:
    path, metrics = run_dir / "label_access.json", run_dir / "metrics.json"
    (first,) = json.loads(path.read_text())
    other = {"at": "", "how": "evaluate C=10", "sha256": "0"}
    metrics.write_text(json.dumps({**json.loads(metrics.read_text()), "looks": 2}))
    path.write_text(json.dumps([first, other]))
    (check,) = [check for check in audit(run_dir).checks if check.name == "label access"]
    assert audit(run_dir).verdict == "pass"
    assert check.remark == "1 later look at the test labels, last by: evaluate C=10."
    path.write_text(json.dumps([other, first]))
    evidence = failures(run_dir)
    assert list(evidence) == ["label access"]
    assert "look 2 at the test labels: other predictions" in evidence["label access"]
    path.write_text(json.dumps([first]))
    assert "counts 2 looks at the test labels" in failures(run_dir)["label access"]


def write_study(path: Path, value: float, directory: Path) -> None:
    """What Optuna's SQLite storage holds of a study with one complete trial."""
    with sqlite3.connect(path) as database:
        database.executescript(
            "CREATE TABLE trials (trial_id, number, study_id, state);"
            "CREATE TABLE trial_values (trial_id, objective, value);"
            "CREATE TABLE trial_user_attributes (trial_id, key, value_json);"
            "INSERT INTO trials VALUES (1, 0, 1, 'COMPLETE');"
        )
        database.execute("INSERT INTO trial_values VALUES (1, 0, ?)", (value,))
        attribute = (1, "directory", json.dumps(str(directory)))
        database.execute("INSERT INTO trial_user_attributes VALUES (?, ?, ?)", attribute)
    database.close()


def test_a_pruned_trial_is_called_so(run_dir: Path) -> None:
    (run_dir / "metrics.json").unlink()
    (run_dir.parent / "trials.csv").write_text(f"number,state\n{run_dir.name},pruned\n")
    assert audit(run_dir).sentence.endswith("no headline score: a search pruned this trial.")


def test_a_search_must_store_the_score_of_the_validation_persons(run_dir: Path) -> None:
    set_config(run_dir, "trial.number", 0)
    assert "study.db" in {c.name: c.evidence for c in audit(forge(run_dir)).checks}["search"]
    assert audit(run_dir).verdict == "unknown"
    metrics = json.loads((run_dir / "metrics.json").read_text())
    study = run_dir.parent / "study.db"
    write_study(study, metrics["validation"]["svm"]["pooled"]["uf1"], run_dir)
    assert audit(run_dir).verdict == "pass"
    study.unlink()
    write_study(study, metrics["heads"]["svm"]["pooled"]["uf1"], run_dir)
    assert "which is the score of the test persons" in failures(run_dir)["search"]
    study.write_bytes(b"no database at all")
    assert "cannot be read" in failures(run_dir)["search"]


def test_an_incomplete_run_has_no_headline_score(run_dir: Path) -> None:
    in_fold(run_dir, "predictions.parquet").unlink()
    pooled(run_dir).unlink()
    (run_dir / "label_access.json").unlink()
    metrics = json.loads((run_dir / "metrics.json").read_text())
    stripped = {key: metrics[key] for key in ("classes", "folds")} | {"status": "incomplete"}
    (run_dir / "metrics.json").write_text(json.dumps(stripped))
    found = audit(run_dir)
    assert found.verdict == "unknown"
    assert found.sentence == (
        "There is nothing to believe yet: no headline score: 1 of 3 folds are missing."
    )
    assert main(["audit", str(run_dir)]) == 4


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        ({}, []),
        ({"gamma": "scale", "C": 1}, []),
        ({"C": 2.0}, ["fold a: the head b was fitted with C=1.0; 2.0 was set"]),
    ],
)
def test_settings_that_a_head_leaves_out_are_its_defaults(
    tmp_path: Path, words: dict[str, Any], problems: list[str]
) -> None:
    fitted = {"kernel": "rbf", "C": 1.0, "gamma_set": "scale", "gamma": 0.1, "decision": "votes"}
    node = {"_target_": "mer.callbacks.svm_head.SVMHead", "name": "b", **words}
    run: Any = SimpleNamespace(
        run_dir=tmp_path,
        fold_config=lambda _: {"callbacks": {"mine": node}},
        heads=lambda _: {"b": {"settings": {**fitted, "sources": ["embedding"]}}},
    )
    findings = Findings()
    check_svm(run, "a", findings)
    assert findings.problems == problems


def test_a_run_of_a_sweep_or_beside_a_search_is_remarked(run_dir: Path) -> None:
    def remark() -> str:
        check = check_search(Artefacts(run_dir))
        assert check.verdict == "pass"
        return check.remark

    assert remark() == ""
    (run_dir.parent / "optimization_results.yaml").touch()
    assert remark().startswith("this run lies in the folder of a search")
    set_config(run_dir, "trial.varied", ["model.optimizer.lr"])
    assert remark().startswith("this run is one of a sweep over model.optimizer.lr: ")
