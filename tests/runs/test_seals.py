"""Test labels are opened once; whatever else happens to them leaves a mark."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from mer.cli import main
from mer.runs import label_access
from mer.training import runner
from mer.training.evaluate import evaluate

Config = Callable[..., DictConfig]


def table(labels: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"sample_id": list("abc"), "softmax": labels, "softmax_x": 0.5})


def test_other_predictions_are_another_opening_and_the_same_are_none(tmp_path: Path) -> None:
    assert label_access.record(tmp_path, table(["x", "y", "x"]), "run") == 1
    again = table(["x", "y", "x"]).iloc[::-1].assign(softmax_x=0.500001)
    assert label_access.record(tmp_path, again, "run") == 1
    assert label_access.stains(tmp_path) == []
    assert label_access.record(tmp_path, table(["x", "x", "x"]), "evaluate C=10") == 2
    assert label_access.stains(tmp_path) == [
        "peek 2: the test labels were opened 2 times, last by: evaluate C=10"
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
    assert (result["openings"], result["stains"]) == (1, [])
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


def test_trying_another_head_on_the_test_persons_is_a_peek_that_every_table_shows(
    clean: tuple[Path, dict[str, object]], capfd: pytest.CaptureFixture
) -> None:
    folder, _ = clean
    assert evaluate(folder)["stains"] == []
    changed = evaluate(folder, ["callbacks.svm_head.C=0.001"])
    assert changed["different_labels"]["svm"] > 0
    assert "peek 2" in changed["stains"][0]
    stored = json.loads((folder / "metrics.json").read_text())
    assert stored["openings"] == 2 and "peek 2" in stored["stains"][0]
    main(["evaluate", str(folder)])
    assert "peek 2" in capfd.readouterr().out


def test_the_oracle_takes_the_best_test_epoch_and_marks_what_it_touches(
    tiny_config: Config, tmp_path: Path, clean: tuple[Path, dict[str, object]]
) -> None:
    words = ["macro.enabled=false", "protocol.n_splits=2", "protocol.validation=0.3"]
    cfg = tiny_config(*words, "selection=oracle", "model.epochs=6", "callbacks=none")
    result = runner.run(cfg, tmp_path)
    assert "chosen on its test persons" in result["stains"][0]
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
