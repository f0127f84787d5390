"""Folds that train at the same time give what they give one by one, and lose nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from filelock import FileLock

from mer import processes
from mer.errors import MerError
from mer.protocols import Fold
from mer.runs import curves, evidence
from mer.runs.observers import Observer, Progress, RunContext
from mer.training import fold as training_fold
from mer.training import runner
from tests.builders import Config

WORDS = ("macro.enabled=false", "protocol.n_splits=4", "protocol.validation=0.3")
TWO = (*WORDS, "trainer.devices=2")


class History(Observer):
    """Keeps what it is told; ends the run after some folds, if asked to."""

    def __init__(self, limit: int | None = None) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()
        self.epochs: dict[str, list[tuple[int, dict[str, float]]]] = {}
        self.limit = limit

    def epoch(self, fold: str, epoch: int, values: dict[str, float]) -> None:
        self.epochs.setdefault(fold, []).append((epoch, values))

    def fold(self, progress: Progress) -> None:
        self.told.append((progress.fold, progress.done, progress.total, progress.validation))
        self.threads.add(torch.get_num_threads())
        if len(self.told) == self.limit:
            raise RuntimeError("pruned")


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def first_fold_waits(monkeypatch: pytest.MonkeyPatch, until: Callable[[Path], bool]) -> list[str]:
    """Let this process's first fold begin when the run directory fulfils a condition.

    Returns:
        Names of the folds that this process trains.
    """
    run_fold = training_fold.run_fold
    names: list[str] = []

    def wait(run: Any, fold: Fold, **more: bool) -> None:
        if not names:
            wait_until(lambda: until(run.run_dir))
        names.append(fold.name)
        run_fold(run, fold, **more)

    monkeypatch.setattr(training_fold, "run_fold", wait)
    return names


def a_fold_is_done(run_dir: Path) -> bool:
    return any(run_dir.glob("folds/*/predictions.parquet"))


def two_folds_have_begun(run_dir: Path) -> bool:
    return len(list(run_dir.glob("folds/*"))) >= 2


def children(pid: int) -> list[int]:
    """Worker processes of a process."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")  # any thread may have started them
    found = [one for task in tasks for one in task.read_text().split()]
    names = {int(one): Path(f"/proc/{one}/cmdline").read_text() for one in found}
    return [one for one, name in names.items() if "popen_loky" in name]


def predictions(run_dir: Path) -> bytes:
    return (run_dir / "predictions.parquet").read_bytes()


def proofs(run_dir: Path) -> dict[str, Any]:
    """Whose samples took part in what, by fold."""
    files = run_dir.glob(f"folds/*/{evidence.FILE}")
    return {path.parent.name: json.loads(path.read_text()) for path in files}


@pytest.fixture(scope="module")
def plain(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History]:
    """A run whose folds were trained one by one, and what its observer was told."""
    history, run_dir = History(), tmp_path_factory.mktemp("plain") / "run"
    runner.run(tiny_config(*WORDS, "logger=csv"), run_dir, [history])
    return run_dir, history


def test_two_at_once_give_what_one_by_one_gives(
    tiny_config: Config,
    plain: tuple[Path, History],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    pids = []
    try:
        for place in ("first", "second"):
            with monkeypatch.context() as patch:
                here = first_fold_waits(patch, a_fold_is_done)
                history = History()
                runner.run(tiny_config(*TWO, "logger=csv"), tmp_path / place, [history])
            assert 1 <= len(here) <= 3, "both have trained"
            assert predictions(tmp_path / place) == predictions(plain[0])
            assert proofs(tmp_path / place) == proofs(plain[0])
            assert history.told == plain[1].told
            assert history.epochs == plain[1].epochs
            assert history.threads == {1}
            assert torch.get_num_threads() == 2
            pids.append(children(os.getpid()))
    finally:
        torch.set_num_threads(before)
    assert pids[0] == pids[1] != [], "workers stay for the next run"


class Live(History):
    """Tells a fold's training that its first epoch was heard of."""

    def start(self, run: RunContext) -> None:
        self.run_dir = run.run_dir

    def epoch(self, fold: str, epoch: int, values: dict[str, float]) -> None:
        super().epoch(fold, epoch, values)
        (self.run_dir / "folds" / fold / "heard").touch()


WAITING = """
import os, pathlib, time
import pytorch_lightning as pl

class Waiting(pl.Callback):
    def on_train_end(self, trainer, pl_module):
        folder = pathlib.Path(trainer.default_root_dir)
        end = time.monotonic() + 60
        while not (folder / "heard").exists() and time.monotonic() < end:
            time.sleep(0.02)
        (folder / f"{'live' if (folder / 'heard').exists() else 'late'}-{os.getpid()}").touch()
"""


@pytest.mark.slow
def test_epochs_of_workers_are_told_while_their_folds_are_trained(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.end()  # one that is started now finds the module
    (tmp_path / "waiting.py").write_text(WAITING)
    monkeypatch.syspath_prepend(tmp_path)
    here = first_fold_waits(monkeypatch, two_folds_have_begun)
    live, run_dir = Live(), tmp_path / "run"
    cfg = tiny_config(*TWO, "+callbacks.waiting._target_=waiting.Waiting")
    runner.run(cfg, run_dir, [live])
    marks = {path.parent.name: path.name for path in run_dir.glob("folds/*/*-[0-9]*")}
    own = f"live-{os.getpid()}"
    assert {name for name, mark in marks.items() if mark == own} == set(here)
    assert 1 <= len(here) < len(marks) == 4, "both have trained"
    assert all(mark.startswith("live") for mark in marks.values())
    histories = {name: curves.by_epoch(run_dir / "folds" / name) for name in marks}
    assert live.epochs == histories
    assert {len(history) for history in histories.values()} == {2}


def test_history_is_that_of_one_by_one_also_when_continued(
    tiny_config: Config,
    plain: tuple[Path, History],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(RuntimeError, match="pruned"):
        runner.run(tiny_config(*WORDS), tmp_path, [History(1)])
    first_fold_waits(monkeypatch, lambda run_dir: len(list(run_dir.glob("folds/*/p*"))) == 2)
    history = History()
    runner.run(tiny_config(*TWO), tmp_path, [history])
    assert history.told == plain[1].told[1:]
    assert history.epochs == plain[1].epochs  # of the finished fold, too
    assert predictions(tmp_path) == predictions(plain[0])


def test_a_fold_that_another_process_holds_is_left_to_it(
    tiny_config: Config,
    plain: tuple[Path, History],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = [told[0] for told in plain[1].told]
    lock = FileLock(tmp_path / "folds" / names[1] / ".lock")

    class Holder(History):
        def start(self, run: RunContext) -> None:
            Path(lock.lock_file).parent.mkdir(parents=True)
            lock.acquire()

    first_fold_waits(monkeypatch, a_fold_is_done)
    history = Holder()
    with caplog.at_level("INFO"):
        result = runner.run(tiny_config(*TWO), tmp_path, [history])
    lock.release()
    assert result["missing_folds"] == [names[1]]
    assert [told[:2] for told in history.told] == [(names[0], 1), (names[2], 2), (names[3], 3)]
    assert caplog.text.count("is being trained by another process") == 1


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_costs_nothing(
    tiny_config: Config,
    plain: tuple[Path, History],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    sent: signal.Signals,
) -> None:
    def kill(run_dir: Path) -> bool:
        if two_folds_have_begun(run_dir):
            os.kill(children(os.getpid())[0], sent)
            return True
        return False

    here = first_fold_waits(monkeypatch, kill)
    history = History()
    runner.run(tiny_config(*TWO), tmp_path, [history])
    assert len(here) == 4
    assert predictions(tmp_path) == predictions(plain[0])
    assert history.told == plain[1].told
    assert f"has ended by {sent.name}" in caplog.text
    assert "another process" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("interrupted", [True, False])
def test_a_run_that_stops_early_leaves_no_worker(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    started: list[int] = []

    def begun(run_dir: Path) -> bool:
        started[:] = children(os.getpid())
        if interrupted and two_folds_have_begun(run_dir):
            raise KeyboardInterrupt
        return two_folds_have_begun(run_dir)

    first_fold_waits(monkeypatch, begun)
    with pytest.raises(KeyboardInterrupt if interrupted else RuntimeError):
        runner.run(tiny_config(*TWO, "model.epochs=50"), tmp_path, [History(1)])
    assert len(started) == 1
    assert children(os.getpid()) == []


HEAD = """
import os, pathlib, time
from mer.callbacks.svm_head import SVMHead
from mer import processes
from mer.errors import MerError

class Head(SVMHead):
    def __init__(self, parent, marker, error):
        super().__init__()
        self.parent, self.marker = parent, pathlib.Path(marker)
        self.error = {"MerError": MerError, "ValueError": ValueError}[error]

    def on_fit_start(self, trainer, pl_module):
        if os.getpid() != self.parent:
            self.marker.touch()
            raise self.error("the disk is full")
        end = time.monotonic() + 60
        while not self.marker.exists() and time.monotonic() < end:
            time.sleep(0.02)
"""


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ("MerError", MerError, r"^fold group-\d\d: the disk is full"),
        ("ValueError", ValueError, r"(?s)^the disk is full\nTraceback"),
    ],
)
@pytest.mark.slow
def test_an_error_in_a_worker_is_told_and_ends_the_run(
    tiny_config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: str,
    kind: type[Exception],
    message: str,
) -> None:
    processes.end()  # one that is started now finds the module
    (tmp_path / "failing_head.py").write_text(HEAD)
    monkeypatch.syspath_prepend(tmp_path)
    cfg = tiny_config(*TWO)
    cfg.callbacks = {
        "head": {
            "_target_": "failing_head.Head",
            "parent": os.getpid(),
            "marker": str(tmp_path / "marker"),
            "error": error,
        }
    }
    with pytest.raises(kind, match=message):
        runner.run(cfg, tmp_path / "run")
    assert children(os.getpid()) == []


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_command_and_the_run_goes_on_later(
    tiny_words: list[str], tmp_path: Path, sent: signal.Signals
) -> None:
    words = [word for word in tiny_words if "folds_at_once" not in word]
    words += [*TWO, "model.epochs=60", f"run.dir={tmp_path / 'run'}"]
    command = [sys.executable, "-m", "mer.cli", "train", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: two_folds_have_begun(tmp_path / "run"))
    started = children(process.pid)
    assert len(started) == 1
    process.send_signal(sent)
    process.wait(20)
    wait_until(lambda: not any(Path(f"/proc/{one}").exists() for one in started))
    subprocess.run(command, check=True, capture_output=True)
    tested = pd.read_parquet(tmp_path / "run" / "predictions.parquet")["sample_id"]
    assert tested.is_unique
