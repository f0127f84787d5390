"""The label access log: the first look is the run's, and later ones are remembered and shown."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from mer.audit import audit
from mer.cli import main
from mer.runs import label_access
from mer.training import runner

Config = Callable[..., DictConfig]


def table(labels: list[str]) -> pd.DataFrame:
    whose = {"sample_id": list("abc"), "dataset": "d", "person": "p"}
    return pd.DataFrame({**whose, "softmax": labels, "softmax_x": 0.5})


def test_other_predictions_are_a_later_look_and_the_same_are_none(tmp_path: Path) -> None:
    first, other = table(["x", "y", "x"]), table(["x", "x", "x"])
    first.to_parquet(tmp_path / "predictions.parquet")
    assert label_access.record(tmp_path, first, "run") == 1
    again = first.iloc[::-1].assign(softmax_x=0.500001)
    assert label_access.record(tmp_path, again, "run") == 1
    assert label_access.state(tmp_path) == {"looks": 1, "warnings": [], "remarks": []}
    assert label_access.record(tmp_path, other, "evaluate C=10") == 2
    remark = "1 later look at the test labels, last by: evaluate C=10"
    assert label_access.state(tmp_path) == {"looks": 2, "warnings": [], "remarks": [remark]}


def test_a_score_that_was_seen_after_another_is_none_to_report(tmp_path: Path) -> None:
    label_access.record(tmp_path, table(["x", "y", "x"]), "run")
    label_access.record(tmp_path, table(["x", "x", "x"]), "run of other settings")
    table(["x", "x", "x"]).to_parquet(tmp_path / "predictions.parquet")
    assert label_access.remarks(tmp_path) == []
    assert label_access.warnings(tmp_path) == [
        "look 2 at the test labels: other predictions were compared with them before (run)"
    ]


@pytest.fixture(scope="module")
def clean(
    tiny_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("clean")
    cfg = tiny_config("macro.enabled=false", "protocol.n_splits=2", "protocol.validation=0.3")
    return folder, runner.run(cfg, folder)


def test_a_run_freezes_its_splits_and_says_who_took_part_in_what(
    clean: tuple[Path, dict[str, object]],
) -> None:
    folder, result = clean
    assert (result["looks"], result["warnings"], result["remarks"]) == (1, [], [])
    splits = pd.read_parquet(folder / "splits.parquet")
    manifest = pd.read_parquet(folder / "manifest.parquet")
    for name, part in splits.groupby("fold"):
        assert sorted(part["sample_id"]) == sorted(manifest["sample_id"])
        side = {key: set(rows["sample_id"]) for key, rows in part.groupby("side")}
        assert side["test"] == set(manifest[manifest["fold"] == name]["sample_id"])
        model = torch.load(folder / "folds" / str(name) / "model.ckpt", weights_only=True)
        assert model["mer"]["selection"] == "last"
        used = json.loads((folder / "folds" / str(name) / "evidence.json").read_text())
        assert set(used["trained"]) <= side["train"]
        assert set(used["validated"]) == side["validation"]
        assert set(used["normalised"]) == set(used["heads"]["svm"]) == side["train"]
        assert set(used["tested"]) == side["test"]


def test_trying_another_head_marks_the_try_and_not_the_score_that_came_first(
    clean: tuple[Path, dict[str, object]],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, result = clean
    assert main(["evaluate", str(folder)]) == 0  # finds the same labels: costs nothing
    assert "later look" not in capfd.readouterr().out
    assert json.loads((folder / "metrics.json").read_text()) == json.loads(json.dumps(result))
    word = "callbacks.svm_head.C=0.001"
    assert main(["evaluate", str(folder), word]) == 0
    assert "the score of the try is none to report" in caplog.text
    written = json.loads((folder / "evaluation-svm_head.C=0.001.json").read_text())
    assert written["different_labels"]["svm"] > 0
    assert written["warnings"] == [label_access.late(["run"])]
    assert f"!! {written['warnings'][0]}" in " ".join(capfd.readouterr().out.split())
    stored = json.loads((folder / "metrics.json").read_text())
    remark = f"1 later look at the test labels, last by: evaluate {word}"
    assert stored == {**stored, "looks": 2, "warnings": [], "remarks": [remark]}
    checks = {check.name: check for check in audit(folder).checks}
    assert checks["label access"].verdict == "pass"
    assert checks["label access"].remark == f"{remark}."
    assert main(["compare", str(folder)]) == 0
    assert remark in " ".join(capfd.readouterr().out.split())


def test_the_oracle_takes_the_best_test_epoch_and_marks_what_it_touches(
    tiny_config: Config, tmp_path: Path, clean: tuple[Path, dict[str, object]]
) -> None:
    words = ["macro.enabled=false", "protocol.n_splits=2", "protocol.validation=0.3"]
    cfg = tiny_config(*words, "selection=oracle", "model.epochs=6", "callbacks=none")
    result = runner.run(cfg, tmp_path)
    assert "chosen on its test persons" in result["warnings"][0]
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"predictions-ORACLE.parquet", "metrics-ORACLE.json"} <= names
    assert not {"predictions.parquet", "metrics.json"} & names
    for record in tmp_path.glob("folds/*/fold.json"):
        best = json.loads(record.read_text())["best_epoch"]
        history = pd.read_csv(record.parent / "metrics.csv")
        values = history.groupby("epoch")["val/uf1"].max()
        assert values[best] == values.max()
        # The monitored score is the test persons': it equals that of the fold's predictions.
        from mer import metrics

        predictions = pd.read_parquet(record.parent / "predictions-ORACLE.parquet")
        manifest = pd.read_parquet(tmp_path / "manifest.parquet").set_index("sample_id")
        classes = list(cfg.labels.classes)
        true = [classes.index(manifest.loc[s, "label"]) for s in predictions["sample_id"]]
        pred = [classes.index(name) for name in predictions["softmax"]]
        scores = metrics.scores(true, pred, len(classes))
        assert scores["uf1"] == pytest.approx(values.max(), abs=1e-6)
