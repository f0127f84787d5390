"""What a search writes and prints: two files, the terminal."""

import csv
import io
import re
import shlex
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from mer.config.short_names import short_names
from mer.search import study_page, summary, trials
from mer.search.commands import Typed
from tests.search.search_inputs import BOLD, FIXED, Made, one_of_each, with_a_front


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return one_of_each(tmp_path)


@pytest.fixture
def front(tmp_path: Path) -> Made:
    return with_a_front(tmp_path)


def terminal(made: Made, capsys: pytest.CaptureFixture[str]) -> str:
    summary.show(made.study, made.folder, Typed(FIXED))
    return capsys.readouterr().out


# The files


def test_the_table_has_a_row_per_trial_but_none_for_a_surplus_one(made: Made) -> None:
    summary.write(made.study, made.folder, Typed(FIXED))
    lines = (made.folder / "trials.csv").read_text().splitlines()
    at = made.folder
    assert lines == [
        "number,state,outcome,value,seconds,folds,model.optimizer.lr,model.loss,directory",
        f"0,complete,,0.5,90.0,2,0.001,ce,{at}/0",
        f"1,pruned,pruned after 1 of 2 folds,,91.0,1,0.01,ce,{at}/1",
        f"2,complete,,0.75,92.0,2,0.02,{BOLD},{at}/2",
        f"3,failed,raised MerError: no <i>such</i> file,,93.0,0,0.01,ce,{at}/3",
        f"4,failed,not a number,,94.0,0,0.01,ce,{at}/4",
        f"5,failed,killed 3 times,,95.0,0,0.01,ce,{at}/5",
        f"7,failed,no reason recorded,,97.0,0,0.01,ce,{at}/7",
        f"8,running,,,,1,0.01,ce,{at}/8",
        "9,queued,,,,0,,,",
    ]


def test_the_results_name_the_best_trial_and_count_every_fate(made: Made) -> None:
    summary.write(made.study, made.folder, Typed(FIXED, ["protocol.validation=0.2"]))
    assert yaml.safe_load((made.folder / "optimization_results.yaml").read_text()) == {
        "name": "optuna",
        "best_params": {"model.optimizer.lr": 0.02, "model.loss": BOLD},
        "best_value": 0.75,
        "best_trial": 2,
        "directory": str(made.folder / "2"),
        "commands": {
            "repeat": "mer train protocol.validation=0.2 data=synthetic model.epochs=3 "
            f"model.optimizer.lr=0.02 {shlex.quote('model.loss=' + BOLD)} "
            f"run.dir={made.folder}/best-2",
            "export": "mer train protocol=all "
            f"protocol.like={made.folder}/best-2 && mer export {made.folder}/best-2-all",
        },
        "n_trials": 9,
        "counts": {
            "complete": 2,
            "raised an error": 1,
            "gave no number": 1,
            "killed": 1,
            "failed otherwise": 1,
            "pruned": 1,
            "running": 1,
            "queued": 1,
        },
    }


def test_a_pruned_trial_is_never_the_best(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.add([0.99], TrialState.PRUNED, folds=[0.99])
    made.add([0.5])
    summary.write(made.study, tmp_path, Typed(FIXED))
    assert yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())["best_trial"] == 1


def test_minimising_takes_the_smallest(tmp_path: Path) -> None:
    made = Made(tmp_path, "minimize", objective="latency_ms")
    for value in (3.0, 1.0, 2.0):
        made.add([value])
    assert [trial.number for trial in trials.complete(made.study)] == [1, 2, 0]
    assert trials.best(made.study)[0].values == [1.0]


def test_the_pareto_front_is_the_one_worked_out_by_hand(front: Made) -> None:
    summary.write(front.study, front.folder, Typed(FIXED))
    found = yaml.safe_load((front.folder / "optimization_results.yaml").read_text())
    assert "best_params" not in found and "best_trial" not in found
    assert [(s["trial"], s["values"]) for s in found["solutions"]] == [
        (3, [0.70, 20.0]),
        (2, [0.60, 8.0]),
        (0, [0.50, 5.0]),
    ]
    assert found["solutions"][1]["params"] == {"model.optimizer.lr": 0.03, "model.loss": "ce"}
    assert "model.optimizer.lr=0.03" in found["solutions"][1]["command"].split()
    table = csv.DictReader(io.StringIO((front.folder / "trials.csv").read_text()))
    assert [row["value_latency_ms"] for row in table] == ["5.0", "9.0", "8.0", "20.0", "30.0"]


def test_without_a_complete_trial_there_is_no_best(tmp_path: Path) -> None:
    made = Made(tmp_path)
    summary.write(made.study, tmp_path, Typed(FIXED))
    assert (tmp_path / "trials.csv").read_text() == "number\n"
    made.add(None, TrialState.FAIL, outcome="not a number")
    summary.write(made.study, tmp_path, Typed(FIXED))
    found = yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())
    assert set(found) == {"name", "n_trials", "counts"} and found["n_trials"] == 1
    several = Made(tmp_path, "maximize", "minimize")
    summary.write(several.study, tmp_path, Typed(FIXED))
    found = yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())
    assert found["solutions"] == []


def test_reports_leave_the_study_as_it_was(made: Made) -> None:
    before = made.study.get_trials()
    summary.write(made.study, made.folder, Typed(FIXED))
    study_page.write(made.study, made.folder, Typed(FIXED))
    assert made.study.get_trials() == before


# The terminal


def test_the_terminal_lists_each_fate_apart_with_reason_and_directory(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    out = terminal(made, capsys)
    assert "9 trials: 2 complete, 1 pruned, 4 failed, 1 running, 1 queued." in out
    at = made.folder
    for heading, line in [
        ("Raised an error (1):", f"trial 3: raised MerError: no <i>such</i> file  ({at}/3)"),
        ("Gave no number (1):", f"trial 4: not a number  ({at}/4)"),
        ("Killed (1):", f"trial 5: 3 times  ({at}/5)"),
        ("Failed otherwise (1):", f"trial 7: no reason recorded  ({at}/7)"),
        ("Pruned (1):", f"trial 1: after 1 of 2 folds  ({at}/1)"),
        ("Running (1):", f"trial 8: 1 fold so far  ({at}/8)"),
    ]:
        assert f"{heading}\n  {line}\n" in out
    assert "surplus" not in out and "trial 6" not in out


def test_the_terminal_gives_the_best_trials_command_and_warns_of_its_score(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    out = terminal(made, capsys)
    assert f"Trial 2, the best, is in {made.folder / '2'}" in out
    command = "mer train data=synthetic model.epochs=3 model.optimizer.lr=0.02"
    assert f"{command} {shlex.quote('model.loss=' + BOLD)} run.dir={made.folder}/best-2\n" in out
    assert "the best of 3 trials was chosen, so they are optimistic" in out
    assert "Only the test scores of a run that was fixed beforehand are results." in out


def test_the_terminals_table_has_the_ten_best_and_only_parameters_that_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Made(tmp_path)
    for number in range(12):
        made.add([number / 100], lr=0.01 + number / 1000)
    out = terminal(made, capsys)
    rows = re.findall(r"^ +(\d+) +0\.\d+ +(0\.\d+) ", out, flags=re.MULTILINE)
    assert rows == [(str(n), f"{0.01 + n / 1000:.4g}") for n in range(11, 1, -1)]
    header = next(line for line in out.splitlines() if "uf1, max." in line)
    assert header.split() == ["trial", "uf1,", "max.", "lr", "seconds", "directory"]


def test_the_terminal_shows_the_pareto_front_of_several_objectives(
    front: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    out = terminal(front, capsys)
    rows = re.findall(r"^ +(\d+) +(0\.\d+) +(\d+) ", out, flags=re.MULTILINE)
    assert rows == [("3", "0.7", "20"), ("2", "0.6", "8"), ("0", "0.5", "5")]
    assert "Trial 3, the best in uf1" in out
    assert "Importances of parameters need at least 20 complete trials" in out


def test_the_terminal_says_that_nothing_is_complete_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Made(tmp_path)
    made.add(None, TrialState.RUNNING)
    out = terminal(made, capsys)
    assert "1 trial: 0 complete, 0 pruned, 0 failed, 1 running, 0 queued." in out
    assert "No trial is complete yet, so there is no best one." in out
    assert "mer train" not in out and "optimistic" not in out


def test_a_list_of_values_is_no_markup_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Made(tmp_path)
    made.add(None, TrialState.FAIL, outcome="raised ValueError: [bold]")
    space: dict[str, BaseDistribution] = {"model.widths": CategoricalDistribution(["[a]", "[b]"])}
    for value, widths in ((0.1, "[a]"), (0.2, "[b]")):
        made.study.add_trial(
            create_trial(value=value, params={"model.widths": widths}, distributions=space)
        )
    out = terminal(made, capsys)
    assert "raised ValueError: [bold]" in out
    assert re.search(r"^ +2 +0\.2 +\[b\] ", out, flags=re.MULTILINE)


def test_importances_find_the_parameter_that_decides() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    space: dict[str, BaseDistribution] = {key: FloatDistribution(0, 1) for key in ("a.x", "a.y")}
    for i in range(5):
        for j in range(5):
            study.add_trial(
                create_trial(
                    values=[i, j], params={"a.x": i / 4, "a.y": j / 4}, distributions=space
                )
            )
    first, second = trials.importances(study, 0), trials.importances(study, 1)
    assert isinstance(first, dict) and first["a.x"] > 0.95
    assert isinstance(second, dict) and second["a.y"] > 0.95


def test_importances_need_enough_trials_with_different_values(tmp_path: Path) -> None:
    made = Made(tmp_path)
    for number in range(20):
        assert isinstance(trials.importances(made.study), str)
        made.add([0.5], lr=0.01 + number / 1000)
    assert isinstance(trials.importances(made.study), str)
    made.add([0.6])
    assert isinstance(trials.importances(made.study), dict)


def test_finished_folds_are_counted_where_fewer_are_reported(front: Made) -> None:
    front.add([0.5, 6.0], folds=[0.4, 0.5])
    for fold in "abc":
        (front.folder / "5" / "folds" / fold).mkdir(parents=True)
        (front.folder / "5" / "folds" / fold / "predictions.parquet").touch()
    for seed, fold in (("seed-0", "a"), ("seed-0", "b"), ("seed-1", "a")):
        folder = front.folder / "2" / seed / "folds" / fold
        folder.mkdir(parents=True)
        (folder / "predictions.parquet").touch()
    (front.folder / "2" / "seed-0" / "predictions.parquet").touch()
    assert [trials.folds(trial) for trial in front.study.trials] == [0, 0, 3, 0, 0, 3]


def test_short_names_are_unique_and_say_enough() -> None:
    keys = ["model.epochs", "macro.epochs", "model.optimizer.lr", "macro.enabled", "seed", "x.y.k"]
    assert short_names(keys) == {key: key for key in keys} | {"model.optimizer.lr": "lr"}
