"""Searches from the command line; a formula stands for training where only the search counts."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mer.cli import main, train
from mer.config.composition import compose
from tests.page_reader import Page
from tests.search.search_inputs import LR, lr, stored_trials


def test_total_directories_and_results_of_a_search_in_two_parts(
    search: Callable[..., int], home: Path
) -> None:
    typed = []

    def toy(cfg: DictConfig) -> float:
        typed.append(list(HydraConfig.get().overrides.task))
        return lr(cfg)

    named = "hydra.sweeper.study_name=mine"
    assert search(toy, LR, "search.n_trials=2", named) == 0
    assert search(toy, LR, "search.n_trials=5", named) == 0
    found = stored_trials(home)
    assert [t.state.name for t in found] == ["COMPLETE"] * 5
    assert len({t.params["model.optimizer.lr"] for t in found}) == 5  # no point is drawn again
    for trial, words in zip(found, typed, strict=True):
        assert f"model.optimizer.lr={trial.params['model.optimizer.lr']}" in words
        assert f"trial.number={trial.number}" in words
    best = max(found, key=lambda trial: trial.values[0])
    results = OmegaConf.load(home / "optimization_results.yaml")
    assert results.best_trial == best.number
    assert results.best_value == pytest.approx(best.values[0])
    assert len(list(csv.DictReader((home / "trials.csv").open()))) == 5
    assert (home / "multirun.yaml").exists()
    page = Page((home / "search.html").read_text())
    said = page.sections["What was searched"]
    assert f"mer train -m {named} search=optuna search.dir={home}" in said and f"'{LR}'" in said
    assert "Search mine" in page.sections[""]
    assert [row[:2] for row in page.table("number")] == [[str(n), "complete"] for n in range(5)]


def test_the_first_trial_is_the_default_setting(
    search: Callable[..., int], home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rates = []

    def toy(cfg: DictConfig) -> float:
        rates.append(lr(cfg))
        return 1 - lr(cfg)

    inside = ["model.optimizer.lr=interval(0.001, 0.1)", "model.batch_size=choice(16, 32)"]
    assert search(toy, *inside, "search.n_trials=2") == 0
    first, _ = stored_trials(home)
    assert first.params == {"model.optimizer.lr": 0.001, "model.batch_size": 32}
    assert type(first.params["model.batch_size"]) is int
    out = " ".join(capfd.readouterr().out.split())
    assert "No trial is better than the default setting (trial 0), uf1 0.999." in out
    results = OmegaConf.load(home / "optimization_results.yaml")
    assert results.default == {"trial": 0, "values": [0.999]}


def test_a_default_outside_the_space_is_tried_too_but_never_learnt_from(
    search: Callable[..., int], home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["model.optimizer.lr=interval(0.01, 0.1)", "search.n_trials=2"]
    assert search(lr, *words) == 0
    first, *others = stored_trials(home)
    assert (first.state.name, first.params, first.user_attrs["values"]) == ("FAIL", {}, [0.001])
    assert [trial.state.name for trial in others] == ["COMPLETE"] * 2
    out = " ".join(capfd.readouterr().out.split())
    assert "3 trials: 3 complete, 0 pruned, 0 failed" in out
    best = max(others, key=lambda trial: trial.values[0])
    gained = (
        f"the default setting (trial 0) 0.001: +{best.values[0] - 0.001:.4g}; there is no interval."
    )
    assert f"Trial {best.number} has uf1 {best.values[0]:.4g}, {gained}" in out
    rows = Page((home / "search.html").read_text()).table("number")
    assert rows[0][:3] == ["0", "complete", "0.001"]
    assert rows[0][5] == "0.001", "the value that the space lacks"


def test_raised_not_a_number_and_pruned_are_told_apart(
    search: Callable[..., int], home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def toy(cfg: DictConfig) -> float:
        if cfg.trial.number == 2:
            raise ValueError("lost a tensor")
        if cfg.trial.number == 3:
            return math.nan
        if cfg.trial.number == 4:
            raise optuna.TrialPruned("pruned after 3 of 9 folds")
        return lr(cfg)

    assert search(toy, LR, "search.n_trials=5") == 0
    found = [(t.state.name, t.user_attrs.get("outcome")) for t in stored_trials(home)]
    complete = ("COMPLETE", None)
    assert found == [
        complete,
        complete,
        ("FAIL", "raised ValueError: lost a tensor"),
        ("FAIL", "not a number"),
        ("PRUNED", "pruned after 3 of 9 folds"),
        complete,
        complete,
    ]
    said = " ".join(capfd.readouterr().out.split())
    for listed in (
        "Raised an error (1): trial 2: raised ValueError: lost a tensor",
        "Gave no number (1): trial 3: not a number",
        "Pruned (1): trial 4: after 3 of 9 folds",
    ):
        assert listed in said
    text = (home / "2" / "train.log").read_text()
    assert "lost a tensor" in text and "Traceback" in text
    assert (home / "4" / "train.log").read_text().endswith("pruned after 3 of 9 folds\n")


@pytest.mark.slow
def test_failures_in_a_row_end_the_search_and_the_same_command_goes_on(
    search: Callable[..., int], home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(cfg: DictConfig) -> float:
        raise ValueError("no such disk")

    assert search(broken, LR, "search.n_trials=4") == 2
    error = capfd.readouterr().err
    assert "3 trials in a row have failed" in error and str(home / "2") in error
    assert "Traceback" not in error
    assert search(lr, LR, "search.n_trials=4") == 0
    assert [t.state.name for t in stored_trials(home)] == ["FAIL"] * 3 + ["COMPLETE"] * 4


def test_ctrl_c_puts_the_trial_back_under_its_number(
    search: Callable[..., int], home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def stopped(cfg: DictConfig) -> float:
        if cfg.trial.number == 1:
            raise KeyboardInterrupt
        return lr(cfg)

    assert search(stopped, LR, "search.n_trials=3") == 130
    assert "Trial 1 is queued again" in capfd.readouterr().err
    waiting = stored_trials(home)[1]
    assert waiting.state.name == "WAITING"
    assert search(lr, LR, "search.n_trials=3") == 0
    found = stored_trials(home)
    assert [t.state.name for t in found] == ["COMPLETE"] * 3
    assert found[1].params == waiting.params


@pytest.mark.slow
def test_a_launcher_that_fails_loses_no_trial(
    search: Callable[..., int], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra.core.plugins import Plugins

    Plugins.instance()  # which imports the module anew
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    launch, calls = BasicLauncher.launch, []

    def break_once(self: BasicLauncher, *args: Any, **more: Any) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError("a worker process was killed")
        return launch(self, *args, **more)

    monkeypatch.setattr(BasicLauncher, "launch", break_once)
    assert search(lr, LR, "search.n_trials=3") == 0
    assert [t.state.name for t in stored_trials(home)] == ["COMPLETE"] * 3
    assert len(calls) == 4


@pytest.mark.slow
def test_two_objectives_give_a_front(search: Callable[..., int], home: Path) -> None:
    assert (
        search(
            lambda cfg: [lr(cfg), lr(cfg) * 1000],
            LR,
            "search.n_trials=4",
            "objective=[uf1,parameters]",
            "hydra.sweeper.direction=[maximize,minimize]",
            "hydra.sweeper.pruner=null",
        )
        == 0
    )
    results = OmegaConf.load(home / "optimization_results.yaml")
    assert len(results.solutions) == 4  # better in one is worse in the other, so all stay


@pytest.mark.slow
def test_the_grid_of_the_paper_is_gone_through_once(search: Callable[..., int], home: Path) -> None:
    seen = []

    def toy(cfg: DictConfig) -> float:
        seen.append(
            (
                cfg.model.optimizer.lr,
                cfg.model.transfer.lr_scale,
                cfg.model.batch_size,
                cfg.model.dropout,
            )
        )
        return lr(cfg)

    assert search(toy, name="paper_grid") == 0
    assert len(seen) == len(set(seen)) == 3 * 2 * 2 * 2


def test_few_combinations_are_gone_through_once_and_failed_ones_again(
    search: Callable[..., int], home: Path
) -> None:
    def broken(cfg: DictConfig) -> float:
        if cfg.model.batch_size == 64:
            raise ValueError("no such disk")
        return 1 / cfg.model.batch_size

    assert search(broken, "model.batch_size=16,32,64") == 0
    assert search(lr, "model.batch_size=16,32,64") == 0
    assert search(lr, "model.batch_size=16,32,64") == 0
    tried = [(trial.params["model.batch_size"], trial.state.name) for trial in stored_trials(home)]
    assert tried[0] == (32, "COMPLETE")  # the default setting
    assert sorted(tried[1:3]) == [(16, "COMPLETE"), (64, "FAIL")]
    assert tried[3:] == [(64, "COMPLETE")]


@pytest.mark.slow
def test_conditional_parameters_come_from_a_function(
    search: Callable[..., int],
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "conditional.py").write_text(
        "def space(cfg, trial):\n"
        "    if trial.params['callbacks.svm_head.kernel'] == 'poly':\n"
        "        trial.suggest_int('callbacks.svm_head.degree', 2, 4)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    degrees = {}

    def toy(cfg: DictConfig) -> float:
        degrees[cfg.trial.number] = (cfg.callbacks.svm_head.kernel, cfg.callbacks.svm_head.degree)
        return 0.5

    words = ["callbacks.svm_head.kernel=rbf,poly", "callbacks.svm_head.degree=7"]
    hook = "hydra.sweeper.custom_search_space=conditional.space"
    assert search(toy, *words, hook, "search.n_trials=8") == 0
    assert {kernel for kernel, _ in degrees.values()} == {"rbf", "poly"}
    assert all((degree == 7) == (kernel == "rbf") for kernel, degree in degrees.values())


def test_a_trial_averages_over_its_seeds(
    tmp_path: Path, tiny_words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def run(
        cfg: DictConfig, folder: Path, alone: bool, words: object, earlier: list[list[float]]
    ) -> list[float]:
        begun.append((cfg.seed, folder, [values[0] for values in earlier]))
        return [cfg.seed / 10]

    monkeypatch.setattr(train, "_run", run)
    cfg = compose([*tiny_words, "search=optuna", "search.seeds=3", "trial.number=0", "seed=4"])
    assert train.train(cfg, tmp_path) == pytest.approx(0.5)
    assert begun == [
        (4, tmp_path / "seed-4", []),
        (5, tmp_path / "seed-5", [0.4]),
        (6, tmp_path / "seed-6", [0.4, 0.5]),
    ]
    begun.clear()
    cfg.trial.number = None
    assert train.train(cfg, tmp_path) == pytest.approx(0.4)
    assert begun == [(4, tmp_path, [])]


def test_the_objective_is_the_validation_score_and_the_test_table_stays_hidden(
    home: Path, tiny_words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["protocol.n_splits=2", "model.epochs=1", "macro.enabled=false", "search.n_trials=1"]
    head = ["train", "-m", "search=optuna", f"search.dir={home}", *tiny_words, *words]
    assert main([*head, "seed=0,1"]) == 0
    (trial,) = stored_trials(home)
    result = json.loads((home / "0" / "metrics.json").read_text())
    validation = result["validation"]["svm"]["pooled"]["uf1"]
    assert trial.value == pytest.approx(validation)
    # One report for each fold, the last of which is the pooled score.
    assert list(trial.intermediate_values) == [1, 2]
    assert trial.intermediate_values[2] == pytest.approx(validation)
    said = capfd.readouterr()
    assert "pooled scores and 95 %" not in said.out


def test_a_pruner_ends_a_trial_between_folds(
    home: Path, tiny_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strict.py").write_text(
        "from optuna.pruners import BasePruner\n"
        "class Hopeless(BasePruner):\n"
        "    def prune(self, study, trial):\n"
        "        return True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ["protocol.n_splits=3", "model.epochs=1", "macro.enabled=false", "search.n_trials=1"]
    head = ["train", "-m", "search=optuna", f"search.dir={home}", *tiny_words, *words]
    assert main([*head, "hydra.sweeper.pruner=strict.Hopeless", "seed=1,2"]) == 0
    default, trial = stored_trials(home)
    assert default.user_attrs["default"] == "outside" and "values" in default.user_attrs
    assert (trial.state.name, trial.user_attrs["outcome"]) == (
        "PRUNED",
        "pruned after 1 of 3 folds",
    )
    assert len(list((home / "1" / "folds").glob("*/predictions.parquet"))) == 1
