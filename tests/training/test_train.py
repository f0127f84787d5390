"""`mer train` as a user types it, and one run for every backbone."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch

from mer import progress
from mer.cache import entries
from mer.cli import main
from mer.config.composition import typed
from mer.data import sources
from mer.models.modules import MacroPretrainModule
from mer.runs import curves
from mer.training import fold as training_fold
from mer.training import runner
from mer.training.pretrain import macro_weights
from tests.builders import NETWORKS, Config

#: Backbones of the fast tests: one with transformer blocks, a plain one, one of the package.
QUICK = ("mobilevit_xxs", "ststnet")


@pytest.fixture
def words(tiny_words: list[str]) -> list[str]:
    """Words after `mer train` for a run of seconds, without its directory."""
    return [*tiny_words, "protocol.n_splits=2", "model.epochs=1", "macro.enabled=false"]


def test_train_prints_the_table_and_evaluate_repeats_it(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    assert main(["train", *words, f"run.dir={run_dir}"]) == 0
    out = capfd.readouterr().out
    scores = json.loads((run_dir / "metrics.json").read_text())["heads"]["svm"]["pooled"]
    for text in ("SVM on embeddings", "majority class", f"{scores['uf1']:.3f}"):
        assert text in out
    assert str(run_dir) in out.replace("\n", "")
    assert main(["evaluate", str(run_dir)]) == 0
    samples = len(pd.read_parquet(run_dir / "predictions.parquet"))
    assert f"{samples} of {samples} predictions equal the stored ones" in capfd.readouterr().out


def test_a_finished_run_started_again_trains_nothing(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*words, f"run.dir={tmp_path / 'run'}"]
    assert main(["train", *words]) == 0
    before = (tmp_path / "run" / "metrics.json").read_text()
    monkeypatch.delattr(training_fold, "run_fold")
    assert main(["train", *words, "trainer.num_workers=1"]) == 0  # how fast may differ, what not
    assert (tmp_path / "run" / "metrics.json").read_text() == before


def test_multirun_gives_each_job_its_directory(words: list[str], tmp_path: Path) -> None:
    assert main(["train", "-m", *words, "seed=0,1", f"hydra.sweep.dir={tmp_path}"]) == 0
    seeds = [
        json.loads((tmp_path / job / "metrics.json").read_text())["seed"] for job in ("0", "1")
    ]
    assert seeds == [0, 1]


def test_wrong_words_are_named_without_a_traceback(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words, "backbone=mobilevit_xss", "model.epoch=3"]) == 2
    error = capfd.readouterr().err
    assert "mobilevit_xxs" in error
    assert "model.epochs" in error
    assert "Traceback" not in error
    assert main(["train", *words, "selection=best", f"run.dir={tmp_path / 'run'}"]) == 2
    assert "selection is best; set last, validation or oracle" in capfd.readouterr().err


def test_prepare_lists_every_store_with_its_contact_sheet(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", *words]) == 0
    out = capfd.readouterr().out
    for name in ("casme2", "samm", "smic", "ckplus", "oulu_casia", "mug", "contact_sheet.png"):
        assert name in out


@pytest.mark.parametrize(
    "backbone",
    [
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
        for name in (path.stem for path in NETWORKS)
    ],
)
def test_every_backbone_is_pretrained_transferred_and_tested(
    backbone: str, tiny_config: Config, tmp_path: Path
) -> None:
    cfg = tiny_config(
        f"backbone={backbone}",
        "protocol.n_splits=2",
        "model.epochs=1",
        "macro.epochs=1",
        "+trainer.limit_train_batches=1",
    )
    assert runner.run(cfg, tmp_path)["status"] == "complete"
    report = next((tmp_path / "folds").glob("*/transfer.txt")).read_text()
    assert f"checkpoint: {cfg.backbone.name}" in report


def test_a_pretraining_that_was_killed_gives_the_weights_of_one_that_was_not(
    tiny_config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cfg = tiny_config(
        "macro.epochs=3",
        "macro.dropout=0.3",
        "trainer.threads=1",
        "trainer.enable_progress_bar=true",
    )
    monkeypatch.setattr(progress, "SECONDS", 0)
    caplog.set_level("INFO")
    corpus = sources.load(typed(cfg), "macro")

    class Killed(Exception):
        pass

    def die(self: pl.LightningModule) -> Any:
        if self.current_epoch == 1:  # the first epoch is over, the second has not begun
            raise Killed

    def weights(folder: Path) -> dict[str, torch.Tensor]:
        cfg.paths.cache = str(folder)
        best = macro_weights(typed(cfg), corpus, [], lambda *epoch: told.append(epoch))
        # The last epoch's weights, which `best.ckpt` need not hold, are looked at as they are made.
        return {**torch.load(best, weights_only=True)["state_dict"], **last}

    told: list[tuple[Any, ...]] = []
    last: dict[str, torch.Tensor] = {}
    end = MacroPretrainModule.on_fit_end

    def keep(self: MacroPretrainModule) -> None:
        end(self)
        last.update({f"last {name}": t.clone() for name, t in self.state_dict().items()})

    monkeypatch.setattr(MacroPretrainModule, "on_fit_end", keep)
    whole = weights(tmp_path / "whole")
    history = curves.by_epoch(told[0][0])
    assert [epoch for epoch, _ in history] == [0, 1, 2]
    assert [(epoch, values) for _, epoch, values, _ in told] == history
    last.clear()
    told.clear()
    with monkeypatch.context() as patch:
        start = MacroPretrainModule.on_train_epoch_start
        patch.setattr(
            MacroPretrainModule, "on_train_epoch_start", lambda self: (die(self), start(self))
        )
        with pytest.raises(Killed):
            weights(tmp_path / "killed")
    assert not last
    [entry] = entries(tmp_path / "killed", "macro")
    assert (entry.path / "last.ckpt").exists()
    resumed = weights(tmp_path / "killed")
    assert list(resumed) == list(whole)
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name
    assert [(epoch, error is None) for _, epoch, _, error in told] == [
        (0, True),
        (0, False),  # it was killed
        (1, True),
        (2, True),
    ]
    assert [(epoch, values) for _, epoch, values, error in told if error is None] == history
    assert curves.by_epoch(entry.path) == history
    counted = [text for text in caplog.messages if "macro-pretraining: " in text]
    # Once without interruption, and once before and after one.
    assert counted == 2 * [f"macro-pretraining: {epoch} of 3 epochs" for epoch in (1, 2, 3)]
