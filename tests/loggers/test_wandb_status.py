"""Runs that fail, are pruned or are part of a sweep, as W&B sees them; what W&B needs first."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from mer.config.composition import typed
from mer.data.inputs import INPUTS
from mer.errors import MerError
from mer.loggers import identity, make_observers
from mer.loggers.typed_words import Typed
from mer.loggers.wandb import WandbLogger
from mer.runs.pictures import may_be_shown
from mer.training import fold as training_fold
from mer.training import runner
from tests.builders import PIXELS, Config, fails_after_one_fold
from tests.loggers.wandb_server import Server, serve
from tests.loggers.written_logs import Log, events, read_logs
from tests.loggers.written_logs import home as home

pytest.importorskip("wandb")

WORDS = ("protocol.validation=0.3", "logger=wandb")


@pytest.fixture(scope="module")
def failed(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has failed in its second fold and was then finished; its last W&B part has too."""
    run_dir = tmp_path_factory.mktemp("logged") / "failed"
    cfg = tiny_config(*WORDS)
    with (
        fails_after_one_fold(MerError("no memory left")),
        pytest.raises(MerError, match="no memory left"),
    ):
        runner.run(cfg, run_dir, make_observers(cfg.logger))

    def unwritable(*words: object) -> None:
        raise OSError("disk full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mer.loggers.wandb_contents.examples", unwritable)
        result = runner.run(cfg, run_dir, make_observers(cfg.logger))
    assert result["status"] == "complete"
    return run_dir


@pytest.fixture(scope="module")
def failed_logs(failed: Path) -> list[Log]:
    return read_logs(failed)


def test_a_failing_run_is_marked_failed_and_has_no_score(failed_logs: list[Log]) -> None:
    first = failed_logs[0]
    assert first.exit_code == 1
    assert first.summary["status"] == "failed: MerError: fold group-01: no memory left"
    assert [row["folds/done"] for row in first.history if "folds/done" in row] == [1]
    assert not [key for key in first.summary if key.startswith(("test/", "val/"))]


def test_a_continued_run_keeps_its_id(failed_logs: list[Log]) -> None:
    first, second = failed_logs
    assert first.run["run_id"] == second.run["run_id"]
    done = [row["folds/done"] for row in second.history if "folds/done" in row]
    assert done == [2, 3]
    epochs = [row for log in failed_logs for row in log.history if "curves/epoch" in row][:6]
    folds = [next(key.split("/")[1] for key in row if "fold_curves" in key) for row in epochs]
    pairs = [(fold, row["curves/epoch"]) for fold, row in zip(folds, epochs, strict=True)]
    assert pairs == [(fold, epoch) for fold in dict.fromkeys(folds) for epoch in (0, 1)]
    assert [row["_step"] for row in epochs] == [0, 1, 3, 4, 6, 7]  # and a row after each fold
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


def test_weights_stay_here_unless_the_configuration_says_so(failed_logs: list[Log]) -> None:
    files = [
        entry["path"]
        for artifact in failed_logs[1].artifacts.values()
        for entry in artifact["manifest"]["contents"]
        if artifact["type"] == "model"
    ]
    assert files == ["pretraining.json"]


@contextlib.contextmanager
def job_of_a_sweep() -> Iterator[None]:
    """Pretend to be job 7 of the sweep `runs/sweeps/rates`."""
    keys = {
        "mode": RunMode.MULTIRUN,
        "sweep": {"dir": "runs/sweeps/rates"},
        "job": {"num": 7},
        "runtime": {"cwd": "/", "choices": {}, "config_sources": []},
        "sweeper": {"params": {"model.optimizer.lr": "choice(0.1,0.2)"}},
        "overrides": {"task": ["model.optimizer.lr=0.1", "seed=1"], "hydra": []},
    }
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
            runner.run(cfg, run_dir, make_observers(cfg.logger))
    return run_dir


def test_a_pruned_trial_is_no_failure_and_belongs_to_its_sweep(pruned: Path) -> None:
    (log,) = read_logs(pruned)
    assert log.exit_code == 0
    assert log.summary["status"] == "pruned"
    assert log.summary["pruned"] is True
    tags = {"rates", "synthetic", "megc2019", "group_kfold", "flow", "pruned"}
    assert tags <= set(log.run["tags"])
    assert log.run["display_name"] == "trial 12 lr=0.1"
    assert (log.run["run_group"], log.run["job_type"]) == ("rates", "trial")


def test_two_runs_of_one_process_are_two_wandb_runs(failed: Path, pruned: Path) -> None:
    import wandb

    starts = [read_logs(place)[0] for place in (failed, pruned)]
    assert len({start.run["run_id"] for start in starts}) == 2
    assert ["run_group" in start.run for start in starts] == [False, True]
    assert wandb.run is None  # nothing is left open for the next run to log into


def test_processes_that_share_the_folds_of_a_run_have_an_id_each(
    tiny_config: Config, tmp_path: Path
) -> None:
    ids = [
        identity.keep(typed(tiny_config(f"protocol.folds={folds}")), tmp_path, "mer", Typed())[0][
            "id"
        ]
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
    key = "a" * 40
    with serve(Server()) as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        (home / "other").write_text(f"machine {url.rpartition('/')[2]} login user password {key}\n")
        online.check()
    with pytest.raises(MerError, match=f"{url} does not answer .*logger.wandb.mode=offline"):
        online.check()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    with pytest.raises(MerError, match="no W&B login"):
        online.check()
    monkeypatch.delenv("WANDB_BASE_URL")
    for host in ("api.wandb.ai", urlsplit(identity.server()).hostname):
        (home / "other").write_text(f"machine {host} login user password {key}\n")
        assert identity.logged_in()  # wherever this version of W&B has its server
    (home / "other").write_text(f"machine {host} login user password short\n")
    with pytest.raises(MerError, match=r"W&B cannot use its login: .*wandb login --relogin"):
        online.check()


def test_a_missing_package_and_wrong_settings_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MerError) as error:
        WandbLogger("on", "lab/mer", weights="best", tags=["", "x" * 65]).check()
    assert "logger.wandb.mode is `on`; set one of offline, online, disabled" in str(error.value)
    assert "logger.wandb.weights is `best`; set one of all, none" in str(error.value)
    assert "logger.wandb.project is `lab/mer`; set 1 to 128 characters" in str(error.value)
    assert str(error.value).count("a tag has 1 to 64 characters") == 2
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MerError, match=r"pip install 'mer\[wandb\]'"):
        WandbLogger().check()
    WandbLogger(mode="disabled").check()


def test_disabled_needs_nothing_and_writes_nothing(tiny_config: Config, tmp_path: Path) -> None:
    cfg = tiny_config("logger=wandb", "logger.wandb.mode=disabled")
    context = SimpleNamespace(settings=cfg, run_dir=tmp_path, macro=None)
    logger = make_observers({"wandb": cfg.logger.wandb})[0]
    logger.start(context)
    logger.fold(None)
    logger.end({"status": "complete"})
    assert not list(tmp_path.iterdir())


def test_nothing_of_the_test_persons_is_logged_while_something_is_chosen(
    tiny_config: Config, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    words = ("protocol.validation=0.3", "logger=many", "trial.varied=[callbacks.svm_head.C]")
    cfg = tiny_config(*PIXELS, *words, "protocol.n_splits=2")
    result = runner.run(cfg, tmp_path / "candidate", make_observers(cfg.logger))
    assert "heads" in result  # the run directory has them all the same
    (log,) = read_logs(tmp_path / "candidate")
    assert "val/svm/uf1" in log.summary and log.summary["status"] == "complete"
    written = json.dumps(log.records)
    for what in ('"test/', "tables/predictions", "confusion/", '"examples'):
        assert what not in written
    assert [path.name for path in log.file.parent.glob("files/media/*")] == ["table"]
    board = events(tmp_path / "candidate").Tags()
    shown = [*board["scalars"], *board["images"], *board["tensors"]]
    assert any(tag.startswith("val/svm/") for tag in shown)
    assert not [tag for tag in shown if tag.startswith(("test/", "confusion/", "examples/"))]


def test_faces_of_real_persons_stay_here_unless_asked_for() -> None:
    generated, real = (SimpleNamespace(data=SimpleNamespace(generate=one)) for one in (True, False))
    flow, apex = (SimpleNamespace(kind=INPUTS[name](8).kind) for name in ("flow", "apex_flow"))
    assert may_be_shown(real, flow, faces=False)
    assert may_be_shown(generated, apex, faces=False)
    assert not may_be_shown(real, apex, faces=False)
    assert may_be_shown(real, apex, faces=True)
    assert not WandbLogger().faces and WandbLogger().weights == "none"
