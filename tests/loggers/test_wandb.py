"""Runs logged to W&B offline, read back from the files that W&B would send."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from sklearn.metrics import f1_score

from mer import __version__
from mer.errors import MerError
from mer.loggers import identity, make_observers
from mer.loggers.wandb import WandbLogger
from mer.training import fold as training_fold
from mer.training import runner

pytest.importorskip("wandb")

Config = Callable[..., DictConfig]
WORDS = ("protocol.validation=0.3", "logger=wandb")


class Log(NamedTuple):
    """What one start of a run has written: the records in order, and the summary they add up to."""

    file: Path
    records: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in self.records if record["type"] == kind]

    @property
    def run(self) -> dict[str, Any]:
        return self.of("run")[-1]

    @property
    def history(self) -> list[dict[str, Any]]:
        return [record["item"] for record in self.of("history")]

    @property
    def summary(self) -> dict[str, Any]:
        return {k: v for record in self.of("summary") for k, v in record["update"].items()}

    @property
    def artifacts(self) -> dict[str, dict[str, Any]]:
        return {artifact["name"]: artifact for artifact in self.of("artifact")}

    @property
    def exit_code(self) -> int:
        return self.of("exit")[0].get("exit_code", 0)

    def media(self, key: str) -> dict[str, Any]:
        """The content of a table that was logged."""
        path = next(self.file.parent.glob(f"files/media/table/{key}_*.table.json"))
        return json.loads(path.read_text())


def read_logs(run_dir: Path) -> list[Log]:
    """Read what each start of a run has written, with the reader that comes with W&B."""
    logs = []
    for file in sorted(
        run_dir.glob("wandb/offline-run-*/*.wandb"), key=lambda f: f.stat().st_mtime
    ):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        logs.append(Log(file, [json.loads(line) for line in lines.splitlines()]))
    return logs


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home directory for W&B, so that the user's is neither read nor written."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "WANDB_DATA_DIR", "WANDB_MODE", "WANDB_BASE_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("WANDB_CACHE_DIR", str(folder / "cache"))
        patch.setenv("WANDB_CONFIG_DIR", str(folder / "config"))
        patch.setenv("NETRC", str(folder / "netrc"))
        yield folder


def loggers(cfg: DictConfig) -> list[Any]:
    return make_observers(cfg.logger)


@pytest.fixture(scope="module")
def finished(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("logged") / "finished"
    cfg = tiny_config(*WORDS)
    runner.run(cfg, run_dir, loggers(cfg))
    return run_dir


@pytest.fixture(scope="module")
def log(finished: Path) -> Log:
    (only,) = read_logs(finished)
    return only


def test_settings_and_origin_are_in_the_config(log: Log, finished: Path) -> None:
    config = log.run["config"]["update"]
    assert config["model"]["epochs"] == 2
    assert config["protocol"]["validation"] == 0.3
    assert config["model"]["transfer"]["blocks"] == "all"
    assert not {"hydra", "paths"} & set(config)
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
    assert [row["_step"] for row in rows] == [1, 2, 3]
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
    assert summary["status"] == "complete"
    assert (summary["folds/total"], summary["folds/missing"]) == (3, 0)
    for head in ("svm", "softmax", "majority"):
        for score in ("uf1", "uar", "accuracy"):
            for side, heads in (("test", metrics["heads"]), ("val", metrics["validation"])):
                pooled = heads[head]["pooled"]
                assert summary[f"{side}/{head}/{score}"] == pooled[score]
                bounds = [summary[f"{side}/{head}/{score}_{end}"] for end in ("low", "high")]
                assert bounds == pooled["intervals"][score]
            for dataset in ("casme2", "samm", "smic"):
                value = metrics["heads"][head][dataset][score]
                assert summary[f"test/{head}/{dataset}/{score}"] == value
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
    rows = [row for row in log.history if "curves/epoch" in row]
    assert [row["curves/epoch"] for row in rows] == [0, 1]
    paths = list(finished.glob("folds/*/metrics.csv"))
    values = [pd.read_csv(path)["val/loss"].dropna().to_numpy() for path in paths]
    assert [row["curves/val/loss"] for row in rows] == pytest.approx(np.mean(values, axis=0))
    low = np.mean(values, axis=0) - np.std(values, axis=0)
    assert [row["curves/val/loss_low"] for row in rows] == pytest.approx(low)
    metric = next(m for m in log.of("metric") if m.get("glob_name") == "curves/*")
    assert metric["step_metric"] == "curves/epoch"


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


def test_a_finished_run_exits_with_0(log: Log) -> None:
    assert log.exit_code == 0


@pytest.fixture(scope="module")
def failed(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has failed in its second fold and was then finished; its last W&B part has too."""
    run_dir = tmp_path_factory.mktemp("logged") / "failed"
    cfg = tiny_config(*WORDS, "logger.wandb.weights=none")
    run_fold, done = training_fold.run_fold, []

    def fail_in_second_fold(*words: Any, **more: Any) -> None:
        if done:
            raise MerError("no memory left")
        run_fold(*words, **more)
        done.append(words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_fold, "run_fold", fail_in_second_fold)
        with pytest.raises(MerError, match="no memory left"):
            runner.run(cfg, run_dir, loggers(cfg))

    def unwritable(*words: object) -> None:
        raise OSError("disk full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mer.loggers.wandb.examples", unwritable)
        result = runner.run(cfg, run_dir, loggers(cfg))
    assert result["status"] == "complete"
    return run_dir


@pytest.fixture(scope="module")
def failed_logs(failed: Path) -> list[Log]:
    return read_logs(failed)


def test_a_failing_run_is_marked_failed_and_has_no_score(failed_logs: list[Log]) -> None:
    first = failed_logs[0]
    assert first.exit_code == 1
    assert first.summary["status"] == "failed: MerError: no memory left"
    assert [row["folds/done"] for row in first.history] == [1]
    assert not [key for key in first.summary if key.startswith(("test/", "val/"))]


def test_a_continued_run_keeps_its_id(failed_logs: list[Log]) -> None:
    first, second = failed_logs
    assert first.run["run_id"] == second.run["run_id"]
    done = [row["folds/done"] for row in second.history if "folds/done" in row]
    assert done == [2, 3]
    assert second.summary["status"] == "complete"
    assert second.exit_code == 0


def test_what_cannot_be_logged_costs_neither_the_result_nor_the_rest(
    failed_logs: list[Log], failed: Path
) -> None:
    summary = failed_logs[1].summary
    metrics = json.loads((failed / "metrics.json").read_text())
    assert summary["test/svm/uf1"] == metrics["heads"]["svm"]["pooled"]["uf1"]
    assert summary["not_logged"] == ["W&B: example pictures"]
    assert failed_logs[1].media("tables/predictions")["data"]


def test_weights_stay_here_when_the_configuration_says_so(failed_logs: list[Log]) -> None:
    assert {a["type"] for a in failed_logs[1].artifacts.values()} == {"run_table"}


@contextlib.contextmanager
def job_of_a_sweep() -> Iterator[None]:
    """Pretend to be job 7 of the sweep `runs/sweeps/rates`."""
    keys = {"mode": RunMode.MULTIRUN, "sweep": {"dir": "runs/sweeps/rates"}, "job": {"num": 7}}
    before = HydraConfig.instance().cfg
    HydraConfig.instance().cfg = OmegaConf.create({"hydra": keys})
    yield
    HydraConfig.instance().cfg = before


class TrialPruned(Exception):
    """Named as Optuna names what ends a hopeless trial."""


@pytest.fixture(scope="module")
def pruned(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of trial 12 of a search, pruned."""
    run_dir = tmp_path_factory.mktemp("logged") / "12"
    cfg = tiny_config(*WORDS, "trial.number=12", "logger.wandb.tags=[rates]")

    def prune(*words: object, **more: object) -> None:
        raise TrialPruned("pruned after 1 of 3 folds")

    with job_of_a_sweep(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_fold, "run_fold", prune)
        with pytest.raises(TrialPruned):
            runner.run(cfg, run_dir, loggers(cfg))
    return run_dir


def test_a_pruned_trial_is_no_failure_and_belongs_to_its_sweep(pruned: Path) -> None:
    (log,) = read_logs(pruned)
    assert log.exit_code == 0
    assert log.summary["status"] == "pruned"
    assert log.summary["pruned"] is True
    assert log.run["tags"] == ["rates", "pruned"]
    assert log.run["display_name"] == "rates trial 12"
    assert log.run["run_group"] == "rates"


def test_three_runs_of_one_process_are_three_wandb_runs(
    finished: Path, failed: Path, pruned: Path
) -> None:
    import wandb

    starts = [read_logs(place)[0] for place in (finished, failed, pruned)]
    assert len({start.run["run_id"] for start in starts}) == 3
    assert ["run_group" in start.run for start in starts] == [False, False, True]
    assert wandb.run is None  # nothing is left open for the next run to log into


def test_name_and_group_say_what_a_run_is_part_of(tiny_config: Config, tmp_path: Path) -> None:
    cfg = tiny_config()
    with job_of_a_sweep():
        assert identity.names(cfg, tmp_path / "7") == ("rates job 7", "rates")
        cfg.protocol.folds = "1/4"
        assert identity.names(cfg, tmp_path / "big") == ("big folds 1/4", "big")
        cfg.protocol.folds = None
        HydraConfig.instance().cfg.hydra.mode = RunMode.RUN
        assert identity.names(cfg, tmp_path / "alone") == ("alone", None)


def test_processes_that_share_the_folds_of_a_run_have_an_id_each(
    tiny_config: Config, tmp_path: Path
) -> None:
    ids = [
        identity.keep(tiny_config(f"protocol.folds={folds}"), tmp_path, "mer")[0]["id"]
        for folds in ("null", "1/2", "2/2", "null", "1/2", "2/2")
    ]
    assert len(set(ids)) == 3
    assert ids[:3] == ids[3:]


def test_online_without_a_login_says_what_to_type(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = WandbLogger(mode="online")
    with pytest.raises(MerError, match=r"Type `wandb login`, or set logger.wandb.mode=offline"):
        online.check()
    monkeypatch.setenv("NETRC", str(home / "other"))
    (home / "other").write_text("machine api.wandb.ai login user password secret-word\n")
    online.check()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    with pytest.raises(MerError, match="no W&B login"):
        online.check()


def test_a_missing_package_and_wrong_settings_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MerError) as error:
        WandbLogger(mode="on", weights="best").check()
    assert "logger.wandb.mode is `on`; set one of offline, online, disabled" in str(error.value)
    assert "logger.wandb.weights is `best`; set one of all, none" in str(error.value)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MerError, match=r"pip install 'mer\[wandb\]'"):
        WandbLogger().check()
    WandbLogger(mode="disabled").check()


class Recorder:
    """Stands in for an open W&B run where a server would be needed."""

    id = "abc"

    def __init__(self) -> None:
        self.summary: dict[str, Any] = {}
        self.used: list[str] = []
        self.logged: list[str] = []
        self.exit_code: int | None = None

    def use_artifact(self, artifact: Any) -> None:
        self.used.append(artifact.name)

    def log_artifact(self, artifact: Any) -> None:
        self.logged.append(artifact.name)

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


def test_macro_weights_are_an_input_of_an_online_run(finished: Path, log: Log) -> None:
    origin = log.run["config"]["update"]["origin"]
    folds = [SimpleNamespace(name=path.name) for path in (finished / "folds").iterdir()]
    logger = WandbLogger(mode="online")
    logger._run, logger._origin = Recorder(), origin
    logger._context = SimpleNamespace(
        run_dir=finished, folds=folds, macro=Path(origin["macro_weights"]["path"])
    )
    logger._weights(json.loads((finished / "metrics.json").read_text()))
    assert logger._run.used == [f"macro-{origin['macro_weights']['name']}"]
    assert logger._run.logged == ["weights-abc"]


def test_a_stopped_run_is_not_a_success() -> None:
    logger, run = WandbLogger(mode="online"), Recorder()
    logger._run = run
    logger.fail(KeyboardInterrupt())
    assert run.exit_code == 255
    logger.fail(KeyboardInterrupt())  # it is closed already


def test_disabled_needs_nothing_and_writes_nothing(tiny_config: Config, tmp_path: Path) -> None:
    cfg = tiny_config("logger=wandb", "logger.wandb.mode=disabled")
    context = SimpleNamespace(settings=cfg, run_dir=tmp_path, macro=None)
    logger = make_observers({"wandb": cfg.logger.wandb})[0]
    logger.start(context)
    logger.fold(None)
    logger.end({"status": "complete"})
    assert not list(tmp_path.iterdir())
