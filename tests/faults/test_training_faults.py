"""Faults inside a training, in this process: a signal, a loss that is no number, odd folds."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from mer import cli
from mer.models.modules import MicroFinetuneModule
from tests.faults.conftest import words, write_samples
from tests.faults.stages import predictions

STEP = MicroFinetuneModule.training_step


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MER_DEBUG", raising=False)
    return tmp_path


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, act: Any) -> None:
    """Replace what a training step gives, from the n-th of a process on."""
    calls = 0

    def step(self: MicroFinetuneModule, batch: Any, batch_idx: int) -> torch.Tensor:
        nonlocal calls
        calls += 1
        loss = STEP(self, batch, batch_idx)
        return act(loss) if calls >= number else loss

    monkeypatch.setattr(MicroFinetuneModule, "training_step", step)


def test_sigterm_in_a_training_ends_it_with_143_and_loses_nothing(
    samples: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    one_thread: None,
) -> None:
    command = ["train", *words(samples, pretrained=False)]
    assert cli.main([*command, "run.dir=other"]) == 0
    (home / "other").rename(home / "expected")
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda loss: os.kill(os.getpid(), signal.SIGTERM))
        assert cli.main(command) == 143
    shown = capsys.readouterr().err
    assert (
        "\nmer: terminated. 1 of 3 folds are done and kept; the same command with run.dir=" in shown
    )
    assert "Traceback" not in shown
    assert cli.main(command) == 0
    (home / "whole").mkdir()
    (home / "expected").rename(home / "whole" / "run")
    assert predictions(home) == predictions(home / "whole")


def test_a_fold_that_diverges_is_named(
    samples: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    one_thread: None,
) -> None:
    at_step(monkeypatch, 3, lambda loss: loss * float("nan"))
    assert cli.main(["train", *words(samples, pretrained=False)]) == 2
    done = {path.parent.name for path in home.glob("run/folds/*/predictions.parquet")}
    begun = {path.name for path in home.glob("run/folds/*")}
    (name,) = begun - done
    assert len(done) == 1
    shown = capsys.readouterr().err
    assert f"mer: error: fold {name}: Training diverged" in shown
    assert "Lower model.optimizer.lr (now" in shown


def test_one_training_sample_is_a_sentence(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_samples(home / "micro.npz", "smic", 0, "0", "1", "2")
    command = [word for word in words(home, pretrained=False) if "n_splits" not in word]
    assert cli.main(["train", *command, "protocol=loso", "protocol.validation=0.5"]) == 2
    shown = capsys.readouterr().err
    assert "Folds of this protocol cannot be trained:" in shown
    assert shown.count("a single sample to train on") == 3


def test_groups_of_classes_with_fewer_samples_than_groups_are_a_sentence(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_samples(home / "micro.npz", "smic", 0, "0", "1", "2")
    assert cli.main(["train", *words(home, pretrained=False)]) == 2
    assert "protocol.n_splits is 3, and no class has as many samples" in capsys.readouterr().err


def test_selection_without_validation_persons_is_a_sentence(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_samples(home / "micro.npz", "smic", 0, "012", "012")
    command = ["train", *words(home, pretrained=False), "protocol.n_splits=2"]
    assert cli.main([*command, "protocol.validation=0.5", "selection=validation"]) == 2
    assert "nobody validates, and selection=validation needs somebody" in capsys.readouterr().err


def test_a_fold_that_is_not_there_is_refused_before_anything_is_written(
    samples: Path, home: Path, one_thread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", *words(samples, pretrained=False)]
    assert cli.main([*command, "protocol.folds=nobody"]) == 2
    assert not (home / "run").exists()
    assert cli.main([*command, "model.epochs=1"]) == 0
    assert cli.main([*command, "model.epochs=2"]) == 2
    assert "holds a run with another configuration" in capsys.readouterr().err
