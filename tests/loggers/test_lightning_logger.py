"""Loggers of Lightning's: any class with their methods is told of a run by one adapter."""

import signal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mer.errors import MerError
from mer.loggers import logged_rows, make_observers
from mer.loggers.lightning import LightningLogger
from mer.runs import curves
from mer.runs.observers import Observer
from mer.training import runner
from tests.builders import Config


class Notebook:
    """The methods of Lightning's loggers, and no picture."""

    made: ClassVar[list["Notebook"]] = []

    def __init__(self, save_dir: str, run_name: str, mode: str) -> None:
        self.given = (save_dir, run_name, mode)
        self.settings: dict[str, Any] = {}
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.live: list[bool] = []  # of each, whether a fold was trained when it came
        self.experiment: Any = None
        self.status: str | None = None
        Notebook.made.append(self)
        if mode == "broken":
            Path(save_dir, logged_rows.FILE).mkdir()  # can be neither read nor written

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self.settings = params

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        if self.given[2] == "broken":
            raise OSError("the server does not answer")
        self.logged.append((step, metrics))
        begun = [path.parent for path in Path(self.given[0]).glob("folds/*/metrics.csv")]
        self.live.append(any(not (fold / "fold.json").exists() for fold in begun))

    def save(self) -> None:
        pass

    def finalize(self, status: str) -> None:
        self.status = status


@pytest.mark.parametrize("mode", ["sound", "broken"])
def test_a_logger_of_lightnings_is_told_of_the_run(
    tiny_config: Config, tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    node = {"_target_": f"{__name__}.Notebook", "save_dir": None, "run_name": None, "mode": mode}
    observers = make_observers({"mine": node})
    assert isinstance(observers[0], LightningLogger)
    cfg = tiny_config("macro.enabled=false", "model.epochs=1", "protocol.n_splits=2")
    result = runner.run(cfg, tmp_path / "run", observers)
    notebook = Notebook.made.pop()
    assert notebook.given == (str(tmp_path / "run"), "run", mode)
    assert notebook.settings["model.epochs"] == 1
    assert notebook.status == "success"
    if mode == "broken":
        assert "Notebook: scores could not be logged: OSError: the server" in caplog.text
        assert (
            "Notebook: fold_curves/group-01 could not be logged: IsADirectoryError" in caplog.text
        )
        return
    steps = [step for step, _ in notebook.logged]
    # The one epoch of each of two folds and what is known then, the scores, the mean curves.
    assert steps == [0, 1, 0, 2, 2, 0]
    assert notebook.live == [True, False, True, False, False, False]
    assert notebook.logged[2][1].keys() >= {"fold_curves/group-01/train/loss"}
    assert notebook.logged[4][1]["test/svm/uf1"] == result["heads"]["svm"]["pooled"]["uf1"]
    assert notebook.logged[5][1].keys() >= {"curves/train/loss"}


def test_what_is_no_logger_is_refused() -> None:
    with pytest.raises(MerError, match="neither a subclass of mer"):
        make_observers({"mine": {"_target_": "collections.OrderedDict"}})
    assert make_observers({"mine": None}) == []


class Stop(Observer):
    """Stops the run after the second epoch of its second fold."""

    def __init__(self) -> None:
        self.epochs: list[tuple[str, int]] = []

    def epoch(self, fold: str, epoch: int, values: dict[str, float]) -> None:
        self.epochs.append((fold, epoch))
        if len(self.epochs) == 5:
            raise KeyboardInterrupt


def test_a_fold_that_was_stopped_is_logged_once(tiny_config: Config, tmp_path: Path) -> None:
    node = {"_target_": f"{__name__}.Notebook", "save_dir": None, "run_name": None, "mode": "sound"}
    cfg = tiny_config("model.epochs=3", "macro.epochs=1", "protocol.n_splits=2")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        runner.run(cfg, tmp_path, [*make_observers({"mine": node}), stop := Stop()])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a second one stops, too
    runner.run(cfg, tmp_path, make_observers({"mine": node}))
    second, first = Notebook.made.pop(), Notebook.made.pop()
    assert first.status == "failed"
    folds = list(dict(stop.epochs))
    names = [(f"fold_curves/{fold}", step) for fold in folds for step in range(3)]
    logged = [
        (step, key, value)
        for notebook in (first, second)
        for step, row in notebook.logged
        for key, value in row.items()
        if key.endswith("train/loss") and not key.startswith("curves/")
    ]
    said = [(key.removesuffix("/train/loss"), step) for step, key, _ in logged]
    assert said == [("pretrain", 0), *names]
    for fold in folds:
        history = curves.by_epoch(tmp_path / "folds" / fold)
        values = [value for _, key, value in logged if f"/{fold}/" in key]
        assert values == [known["train/loss"] for _, known in history]
