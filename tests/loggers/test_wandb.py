"""A run logged to W&B offline, read back from the files that W&B would send."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from mer import __version__, cli
from mer.config import stored
from mer.config.composition import typed
from mer.loggers import make_observers
from mer.loggers.wandb import WandbLogger
from mer.loggers.wandb_pretraining import PretrainingRun
from mer.metrics import SCORES
from mer.training import runner
from tests.builders import Config, OwnCache
from tests.loggers.written_logs import Log, read_logs
from tests.loggers.written_logs import home as home

pytest.importorskip("wandb")


@pytest.fixture(scope="module")
def finished(
    tiny_config: Config, own_cache: OwnCache, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    run_dir = tmp_path_factory.mktemp("logged") / "finished"
    # Its own cache: macro-pretraining is logged by the run that trains it.
    cache = own_cache(tmp_path_factory.mktemp("wandb-cache"))
    words = ("protocol.validation=0.3", "logger=wandb", "logger.wandb.weights=all", cache)
    cfg = tiny_config(*words)
    runner.run(cfg, run_dir, make_observers(cfg.logger))
    return run_dir


@pytest.fixture(scope="module")
def log(finished: Path) -> Log:
    (only,) = read_logs(finished)
    return only


def test_settings_and_origin_are_in_the_config(log: Log, finished: Path) -> None:
    config = log.run["config"]["update"]
    first = {"data": "synthetic", "labels": "megc2019", "protocol": "group_kfold"}
    first |= {"input": "flow", "backbone": "test_efficientnet", "seed": 0, "epochs": 2}
    first |= {"macro": "ckplus+mug+oulu_casia", "run_dir": str(finished)}
    assert {key: config[key] for key in first} == first
    settings = config["settings"]
    assert settings["model"]["transfer"]["blocks"] == "all"
    assert settings["protocol"]["validation"] == 0.3
    # No tables of emotion names, and one hash in place of the preparation's details.
    assert set(settings["labels"]) == {"name", "version", "classes", "hash"}
    assert set(settings["macro"]["labels"]) == {"name", "version", "classes", "hash"}
    assert set(settings["prepare"]) == {"faces", "apex", "flow", "hash"}
    assert not {"hydra", "paths", "logger", "run"} & {*config, *settings}
    entry = json.loads((finished / "environment.json").read_text())[-1]
    origin = config["origin"]
    assert (origin["mer"], origin["git"]) == (__version__, entry["git"])
    assert origin["data_hash"] == entry["data_hash"]
    macro = Path(origin["macro_weights"]["path"])
    assert macro.name == "best.ckpt"
    assert macro.parent.name.endswith(origin["macro_weights"]["digest"])
    assert len(origin["macro_weights"]["digest"]) == 12


def test_one_wandb_run_per_run_with_the_name_of_its_directory(log: Log, finished: Path) -> None:
    assert log.run["display_name"] == "finished"
    assert log.run["project"] == "mer"
    assert "run_group" not in log.run
    kept = json.loads((finished / "wandb.json").read_text())
    assert log.run["run_id"] == kept["id"]
    assert kept["project"] == "mer"


def test_history_holds_the_scores_of_the_validation_persons(log: Log, finished: Path) -> None:
    rows = [row for row in log.history if "folds/done" in row]
    assert [row["folds/done"] for row in rows] == [1, 2, 3]
    assert [row["_step"] for row in rows] == [2, 5, 8]  # after two epochs of each fold
    labels = pd.read_parquet(finished / "manifest.parquet").set_index("sample_id")["label"]
    order = pd.read_csv(finished / "history.csv")["fold"]
    seen = []
    for row, fold in zip(rows, order, strict=True):
        folder = finished / "folds" / fold
        seen.append(pd.read_parquet(folder / "validation.parquet"))
        pooled = pd.concat(seen)
        true = pooled["sample_id"].map(labels)
        for head in ("svm", "softmax"):
            uf1 = f1_score(true, pooled[head], labels=sorted(true.unique()), average="macro")
            assert row[f"val/{head}/uf1"] == pytest.approx(uf1)
            assert row[f"val/{head}/accuracy"] == pytest.approx((true == pooled[head]).mean())
        record = json.loads((folder / "fold.json").read_text())
        assert (row["fold/seconds"], row["fold/epochs"]) == (record["seconds"], 2)
        losses = pd.read_csv(folder / "metrics.csv")["train/loss"].dropna()
        assert row["fold/train_loss"] == pytest.approx(losses.iloc[-1])


def test_no_test_score_before_all_folds_are_done(log: Log) -> None:
    last = [
        i for i, r in enumerate(log.records) if "folds/done" in r.get("history", {}).get("item", {})
    ]
    assert "test/" not in json.dumps(log.records[: last[2] + 1])
    assert not [key for row in log.history for key in row if key.startswith("test/")]


def test_summary_equals_metrics_json(log: Log, finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    summary = log.summary
    assert (summary["status"], log.exit_code) == ("complete", 0)
    assert (summary["folds/total"], summary["folds/missing"]) == (3, 0)
    assert "baseline" not in metrics["validation"]  # it is fitted for the tested samples alone
    for head in ("svm", "softmax"):
        for score in ("uf1", "uar", "accuracy", "weighted_f1", "kappa"):
            for side, heads in (("test", metrics["heads"]), ("val", metrics["validation"])):
                pooled = heads[head]["pooled"]
                assert summary[f"{side}/{head}/{score}"] == pooled[score]
                if bounds := pooled["intervals"].get(score):
                    keys = [f"{side}/{head}/{score}_{end}" for end in ("low", "high")]
                    assert [summary[key] for key in keys] == bounds
            for dataset in ("casme2", "samm", "smic") if score in SCORES else ():
                value = metrics["heads"][head][dataset][score]
                assert summary[f"test/{head}/{dataset}/{score}"] == value
        for name, values in metrics["heads"][head]["pooled"]["classes"].items():
            assert summary[f"test/{head}/recall/{name}"] == values["recall"]
    baseline = {key for key in summary if key.startswith(("test/baseline/", "test/majority/"))}
    assert len(baseline) == 3 * 3 + 3  # intervals of the baseline, three numbers of the majority
    assert summary["seconds"] == metrics["seconds"]
    assert summary["parameters"] == metrics["cost"]["parameters"]
    assert summary["latency_ms"] == metrics["cost"]["latency_ms"]
    assert "not_logged" not in summary


def test_tables_hold_folds_and_predictions(log: Log, finished: Path) -> None:
    stored = pd.read_parquet(finished / "predictions.parquet")
    content = log.media("tables/predictions")
    table = pd.DataFrame(content["data"], columns=content["columns"])
    for column in ("sample_id", "dataset", "person", "label", "svm", "softmax"):
        assert table[column].tolist() == stored[column].tolist()
    assert table["softmax_negative"].to_numpy() == pytest.approx(stored["softmax_negative"])
    assert table["svm_correct"].tolist() == (stored["svm"] == stored["label"]).tolist()
    folds = log.media("tables/folds")
    place = folds["columns"].index("test_samples")
    assert sum(row[place] for row in folds["data"]) == len(stored)


def test_confusion_matrices_are_the_pooled_ones(log: Log, finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    for head in ("svm", "softmax"):
        content = log.media(f"confusion/{head}")
        assert content["columns"] == ["Actual", "Predicted", "nPredictions"]
        counts = np.reshape([row[2] for row in content["data"]], (3, 3))
        assert counts.tolist() == metrics["heads"][head]["pooled"]["confusion"]
        assert [row[0] for row in content["data"][::3]] == metrics["classes"]


def test_learning_curves_are_means_over_the_folds(log: Log, finished: Path) -> None:
    rows = [row for row in log.history if "curves/val/loss" in row]
    assert [row["curves/epoch"] for row in rows] == [0, 1]
    paths = list(finished.glob("folds/*/metrics.csv"))
    values = [pd.read_csv(path)["val/loss"].dropna().to_numpy() for path in paths]
    assert [row["curves/val/loss"] for row in rows] == pytest.approx(np.mean(values, axis=0))
    low = np.mean(values, axis=0) - np.std(values, axis=0)
    assert [row["curves/val/loss_low"] for row in rows] == pytest.approx(low)
    metric = next(m for m in log.of("metric") if m.get("glob_name") == "curves/*")
    assert metric["step_metric"] == "curves/epoch"


def test_curves_of_a_fold_are_logged_while_it_is_trained(log: Log, finished: Path) -> None:
    kinds = [
        "fold" if "folds/done" in row else "epoch"
        for row in log.history
        if "folds/done" in row or any(key.startswith("fold_curves/") for key in row)
    ]
    assert kinds == ["epoch", "epoch", "fold"] * 3
    for folder in (finished / "folds").iterdir():
        history = (
            pd.read_csv(folder / "metrics.csv").groupby("epoch").last().head(2)
        )  # then it is judged
        for name in ("train/loss", "val/uf1"):
            key = f"fold_curves/{folder.name}/{name}"
            rows = [row for row in log.history if key in row]
            assert [row[key] for row in rows] == pytest.approx(history[name].tolist())
            done = (folder / "predictions.parquet").stat().st_mtime
            assert max(row["_timestamp"] for row in rows) < done


def test_macro_pretraining_is_a_run_of_its_own_with_live_curves(log: Log) -> None:
    config = log.run["config"]["update"]
    folder = Path(config["origin"]["macro_weights"]["path"]).parent
    (macro,) = read_logs(folder)
    assert macro.run["run_id"] == config["macro_run"] == f"macro-{folder.name.split('-')[-1]}"
    assert (macro.run["job_type"], log.run["job_type"]) == ("pretrain", "train")
    history = (
        pd.read_csv(folder / "metrics.csv").groupby("epoch").last().head(2)
    )  # then it is judged
    rows = [row for row in macro.history if "pretrain/epoch" in row]
    assert [row["pretrain/epoch"] for row in rows] == [0, 1]
    for name in ("train/loss", "val/loss", "val/uf1"):
        logged = [row[f"pretrain/{name}"] for row in rows]
        assert logged == pytest.approx(history[name].tolist())
    first = next(i for i, one in enumerate(macro.records) if one["type"] == "history")
    written = [i for i, one in enumerate(macro.records) if one["type"] == "artifact"]
    assert first < written[0]  # an epoch was there before the training was over
    report = json.loads((folder / "pretraining.json").read_text())
    assert macro.summary["pretrain/uf1"] == report["uf1"]
    # What the one has made, the other uses.
    (made,) = macro.artifacts.values()
    used = log.artifacts[made["name"]]
    assert used["digest"] == made["digest"]
    assert used["use_after_commit"] is True


def test_kept_macro_weights_are_logged_once(finished: Path, log: Log, tmp_path: Path) -> None:
    weights = Path(log.run["config"]["update"]["origin"]["macro_weights"]["path"])
    settings = typed(stored.read(finished / "config.yaml"))
    opened: dict[str, Recorder] = {}

    def open_run(**what: Any) -> Recorder:
        opened[f"{what['id']} {len(opened)}"] = Recorder()
        return list(opened.values())[-1]

    folder = tmp_path / weights.parent.name
    shutil.copytree(weights.parent, folder)
    for project in ("mer", "mer", "other", "other"):
        run = PretrainingRun(open_run, True, (project, None), False, None)
        run.end(settings, folder / weights.name)
    name = f"macro-{folder.name.split('-')[-1]}"
    assert list(opened) == [f"{name} 0", f"{name} 1"]  # once for each project
    assert [row["pretrain/epoch"] for row in opened[f"{name} 0"].rows] == [0, 1]


def test_example_pictures_are_logged(log: Log) -> None:
    pictures = list(log.file.parent.glob("files/media/images/*.png"))
    assert len(pictures) == 8
    keys = {key for row in log.history for key in row}
    assert any(key.split(".")[0] == "examples" for key in keys)


def test_weights_are_an_artifact_of_the_files_where_they_lie(log: Log, finished: Path) -> None:
    artifact = log.artifacts[f"weights-{log.run['run_id']}"]
    assert artifact["type"] == "model"
    found = {entry["path"]: Path(entry["local_path"]) for entry in artifact["manifest"]["contents"]}
    files = ("model.ckpt", "heads.pt")
    assert found == {
        f"{folder.name}/{name}": folder / name
        for folder in (finished / "folds").iterdir()
        for name in files
    }
    metadata = json.loads(artifact["metadata"])
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metadata["test/svm/uf1"] == metrics["heads"]["svm"]["pooled"]["uf1"]
    origin = log.run["config"]["update"]["origin"]
    assert metadata["data_hash"] == origin["data_hash"]
    macro = log.artifacts[f"macro-{origin['macro_weights']['name']}"]
    assert metadata["macro_weights"]["digest"] in macro["name"]
    paths = [entry["path"] for entry in macro["manifest"]["contents"]]
    assert sorted(paths) == ["best.ckpt", "pretraining.json"]


def test_all_files_lie_in_the_run_directory(log: Log, finished: Path, home: Path) -> None:
    tables = [a for name, a in log.artifacts.items() if name.startswith("run-")]
    assert len(tables) == 4
    for table in tables:
        for entry in table["manifest"]["contents"]:
            assert finished in Path(entry["local_path"]).parents
    assert not (home / "data").exists()


class Recorder:
    """Stands in for an open W&B run where a server would be needed."""

    def __init__(self) -> None:
        self.summary: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.exit_code: int | None = None

    def log(self, row: dict[str, Any], step: int, commit: bool) -> None:
        self.rows.append(row)

    def log_artifact(self, artifact: Any) -> None:
        pass

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


def test_a_stopped_run_is_not_a_success() -> None:
    logger, run = WandbLogger(mode="online"), Recorder()
    logger._run = run
    logger.fail(KeyboardInterrupt())
    assert run.exit_code == 255
    logger.fail(KeyboardInterrupt())  # it is closed already


def test_every_panel_of_a_report_shows_what_was_logged(
    log: Log, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = pytest.importorskip("wandb_workspaces.reports.v2")
    path = tmp_path / "report.json"
    assert cli.main(["wandb", "report", str(finished), "--output", str(path)]) == 0
    said = capsys.readouterr().out
    folder = Path(log.run["config"]["update"]["origin"]["macro_weights"]["path"]).parent
    (macro,) = read_logs(folder)
    places = [str(one.file.parent) for one in (macro, log)]
    assert f"wandb sync {' '.join(places)}\n" in said  # the artifact's maker before its user
    content = json.loads(path.read_text())
    assert content["runs"] == {log.run["run_id"]: str(finished)}
    grids = [b["metadata"] for b in content["spec"]["blocks"] if b["type"] == "panel-grid"]
    logs = [[log], [macro]]
    ids = [[f["value"] for f in g["runSets"][0]["filters"]["filters"]] for g in grids]
    assert ids == [[[one.run["run_id"]] for one in group] for group in logs]
    kinds = set()
    for grid, (source,) in zip(grids, logs, strict=True):
        known = {*source.summary, *(key for row in source.history for key in row)}
        tables = {key.split("._type")[0].split(".")[0] for key in known}
        for panel in grid["panelBankSectionConfig"]["panels"]:
            config = panel["config"]
            kinds.add(panel["viewType"])
            named = [*config.get("metrics", []), *([config["xAxis"]] if "xAxis" in config else [])]
            assert set(named) <= known, config
            if pattern := config.get("metricRegex"):
                assert any(re.fullmatch(pattern, key) for key in known)
            assert set(config.get("mediaKeys", [])) <= tables
            if "userQuery" in config:
                keys = re.findall(r'"tableKey", "value": "([^"]+)"', json.dumps(config))
                assert keys and set(keys) <= tables
    expected = {"Bar Chart", "Run History Line Plot", "Vega2", "Media Browser", "Weave"}
    assert expected <= kinds
    scores = json.loads((finished / "metrics.json").read_text())["heads"]["svm"]["pooled"]
    low, high = scores["intervals"]["uf1"]
    assert f"{scores['uf1']:.3f} [{low:.3f}, {high:.3f}]" in path.read_text()
    model = reports.internal.Spec.model_validate(content["spec"])
    assert len(model.blocks) == len(content["spec"]["blocks"])  # W&B's own package reads it
