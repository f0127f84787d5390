"""Searches that cannot work, or belong elsewhere, say so before their first trial."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from mer.cli import main
from mer.data import sources
from tests.search.search_inputs import LR, lr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to search"),
        ([LR, "protocol.validation=0"], "protocol.validation"),
        ([LR, "search.n_trials=0"], "hydra.sweeper.n_trials is 0"),
        ([LR, "hydra.sweeper.direction=up"], "hydra.sweeper.direction"),
        ([LR, "objective=[uf1,latency_ms]"], "one direction for each objective"),
        ([LR, "hydra.sweeper.sampler._target_=optuna.samplers.TPE"], "optuna.samplers.TPE"),
        ([LR, "hydra.sweeper.pruner._target_=optuna.pruners.Median"], "optuna.pruners.Median"),
        ([LR, "hydra.sweeper.storage=nowhere"], "hydra.sweeper.storage"),
        ([LR, "hydra.sweeper.custom_search_space=nowhere.space"], "nowhere.space"),
        ([LR, "selection=best"], "selection is best; set last, validation or oracle"),
        ([LR, "model.optimizer.lrr=1,2"], "model.optimizer.lr"),
        (["model.optimizer.lr=interval(0,"], "model.optimizer.lr"),
        ([LR, "search.seeds=0"], "search.seeds is 0; set 1 or more"),
        (["seed=1,2", "search.seeds=2"], "neither with a search over the seed nor"),
        ([LR, "labels=casme2-5"], "no sample has a class in the label scheme"),
        ([LR, "protocol.n_splits=99"], "protocol.n_splits is 99; with"),
        (["labels=choice(megc2019, casme2-5)"], "labels=casme2-5: no sample has a class"),
        ([LR, "~hydra.sweeper.params.model.dropout"], "model.dropout is none of them"),
    ],
)
def test_a_search_that_cannot_work_says_so_before_the_first_trial(
    search: Callable[..., int],
    home: Path,
    words: list[str],
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def never(cfg: DictConfig) -> float:
        raise AssertionError("a trial was started")

    assert search(never, *words) == 2
    error = capfd.readouterr().err
    assert said in error
    assert "Traceback" not in error and "a trial was started" not in error
    assert not [path for path in home.glob("*") if path.name[0] != "."]


def test_the_ranges_of_a_file_are_checked_before_torch_is_loaded(
    home: Path,
    tiny_words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "conf" / "search" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "# @package _global_\ndefaults: [optuna]\nsearch: {name: mine}\nhydra: {sweeper: {params: "
        "{model.epochs: 'range(1, 4)', model.dropout: 'interval(0, 1.5)'}}}\n"
    )
    monkeypatch.setitem(sys.modules, "mer.training.runner", None)  # which imports torch
    words = ["search=mine", f"search.dir={home}", f"--config-dir={file.parent.parent}", *tiny_words]
    assert main(["train", "-m", *words]) == 2
    assert "model.dropout is 1.5; set a number below 1" in capfd.readouterr().err


def test_a_search_in_anothers_directory_is_refused(
    search: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert search(lr, LR, "search.n_trials=1") == 0
    capfd.readouterr()
    labelled = sources.labelled
    monkeypatch.setattr(sources, "labelled", lambda *given: labelled(*given).iloc[1:])
    other = LR.replace("0.1", "0.2")
    assert search(lr, other, "search.n_trials=2", "model.epochs=7") == 2
    error = capfd.readouterr().err
    assert "search.name=optuna-2" in error
    assert "model.optimizer.lr: 0.001 to 0.1 there, 0.001 to 0.2 now" in error
    assert "model.epochs: 30 there, 7 now" in error
    assert re.search(r"samples: 45 of 9 persons .* there, 44 of 9 persons .* now", error)
    assert search(lr, LR, name="svm_head") == 2
    assert "holds the search optuna, and this is the search svm_head" in capfd.readouterr().err


def test_a_search_without_m_is_refused(
    tiny_words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "search=mobilevit_tpe", *tiny_words]) == 2
    assert "mer train -m search=mobilevit_tpe" in capfd.readouterr().err
