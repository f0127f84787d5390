"""`search.html`: what was searched and what came out, self-contained and escaped."""

import re
import shlex
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from mer.search import nested_page, study_page, study_plots, trials
from mer.search.commands import Typed
from tests.page_reader import Page
from tests.search.search_inputs import BOLD, FIXED, Made, one_of_each, with_a_front


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return one_of_each(tmp_path)


def read(made: Made) -> Page:
    typed = Typed(FIXED, ["protocol.validation=0.2"], search="mer train -m 'a=interval(0, 1)'")
    path = study_page.write(made.study, made.folder, typed)
    return Page(path.read_text())


def chapters(made: Made) -> dict[str, study_plots.Chapter]:
    return {chapter.title: chapter for chapter in study_plots.chapters(trials.copy(made.study))}


def test_the_page_asks_for_nothing_from_outside_and_runs_nothing(made: Made) -> None:
    page = read(made)
    assert not [one for one in page.sources if one.startswith("/") or "://" in one]
    assert not page.tags & {"script", "iframe", "object", "embed", "form", "base"}
    assert page.alternatives and all(page.alternatives)


def test_the_page_escapes_all_text(made: Made) -> None:
    page = read(made)
    assert not page.tags & {"i"}
    assert "raised MerError: no <i>such</i> file" in page.sections["All trials"]


def test_the_page_says_what_was_searched_and_what_came_out(made: Made) -> None:
    page = read(made)
    assert page.facts == {
        "objective": "uf1: maximize",
        "sampler": "TPE",
        "pruner": "none",
        "data": "megc2019",
        "directory": str(made.folder / "2"),
        "trial": "2",
        "uf1": "0.75",
    }
    assert page.table("parameter") == [
        ["model.optimizer.lr", "0.0001 to 0.1, on a log scale", "0.02"],
        ["model.loss", f"ce, {BOLD}", BOLD],
    ]
    assert "2 complete 1 pruned 4 failed 1 running 1 queued" in page.sections[""]
    assert "the best of 3 trials was chosen, so they are optimistic" in page.sections[""]
    assert "larger search.n_trials it adds trials: mer train -m 'a=interval(0, 1)'" in page.text
    words = ["protocol.validation=0.2", "model.epochs=3", f"model.loss={BOLD}"]
    assert all(shlex.quote(word) in page.sections["Best trial"] for word in words)


def test_the_page_says_what_pruning_saved_and_leads_to_the_runs(tmp_path: Path) -> None:
    made = Made(tmp_path)
    for _ in range(99):
        made.add([0.5])
    made.add([0.5], TrialState.PRUNED)
    assert "saved by pruning" not in read(made).facts
    made.study.get_trials(
        deepcopy=False
    )  # seconds of complete trials are 90 to 188, 139 on average
    trial = made.study._storage.get_trial(made.study.trials[99]._trial_id)
    trial.datetime_complete = trial.datetime_start
    assert read(made).facts["saved by pruning"] == "about 2 minutes of 232"
    assert '<a href="98/">98</a>' in (tmp_path / "search.html").read_text()


def test_the_page_says_nothing_of_what_there_is_not(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.add([0.5], folds=[0.4, 0.5])
    page = read(made)
    assert "1 complete" in page.text and "0 pruned" not in page.text
    assert "Trials that were pruned are orange" not in page.text
    made.add([0.25], TrialState.PRUNED, folds=[0.25])
    assert "Trials that were pruned are orange" in read(made).text


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.3, 0.45, [0.3, 0.35, 0.4, 0.45]),
        (0.1, 1, [0.1, 0.2, 0.5, 1]),
        (2e-4, 1e-2, [3e-4, 1e-3, 3e-3, 1e-2]),
    ],
)
def test_a_log_axis_spans_what_was_searched_and_has_ticks(
    low: float, high: float, ticks: list[float]
) -> None:
    study = optuna.create_study(direction="maximize")
    range_ = FloatDistribution(low, high, log=True)
    study.add_trial(create_trial(params={"x": low}, distributions={"x": range_}, value=1.0))
    *_, chapter = study_plots.chapters(study)
    (ax,) = chapter.plots[0].figure.axes
    left, right = ax.get_xlim()
    assert left < low < high < right
    shown = [tick for tick in ax.get_xticks() if left <= tick <= right]
    assert shown == pytest.approx(ticks)


def test_a_grid_is_called_a_grid(made: Made) -> None:
    made.study.set_user_attr("grid", 12)
    assert read(made).facts["sampler"] == "every point of the grid"


def test_the_table_has_every_trial_with_its_state(made: Made) -> None:
    rows = read(made).table("number")
    assert [row[:3] for row in rows] == [
        ["0", "complete", "0.5"],
        ["1", "pruned", ""],
        ["2", "complete", "0.75"],
        *([str(number), "failed", ""] for number in (3, 4, 5, 7)),
        ["8", "running", ""],
        ["9", "queued", ""],
    ]


def test_trials_are_drawn_in_their_order_with_the_best_so_far(tmp_path: Path) -> None:
    made = Made(tmp_path, "minimize", objective="latency_ms")
    for value in (3.0, 5.0, 2.0, 4.0):
        made.add([value])
    (ax,) = chapters(made)["Course of latency_ms"].plots[0].figure.axes
    assert np.asarray(ax.collections[0].get_offsets()).tolist() == [[0, 3], [1, 5], [2, 2], [3, 4]]
    assert np.asarray(ax.lines[0].get_ydata()).tolist() == [3, 3, 2, 2]


def test_scores_after_each_fold_are_drawn_of_trials_that_told_any(made: Made) -> None:
    running = chapters(made)["Course of uf1"].plots[1]
    lines = [np.asarray(line.get_xydata()).tolist() for line in running.figure.axes[0].lines]
    assert lines == [[[1, 0.4], [2, 0.5]], [[1, 0.25]], [[1, 0.7], [2, 0.75]], [[1, 0.6]]]


def test_each_parameter_is_drawn_numbers_by_their_size(made: Made) -> None:
    rate, loss = chapters(made)["uf1 by parameter"].plots
    (ax,) = rate.figure.axes
    assert ax.get_xscale() == "log"
    assert sorted(np.asarray(ax.collections[0].get_offsets()).tolist()) == [
        [0.001, 0.5],
        [0.02, 0.75],
    ]
    assert [label.get_text() for label in loss.figure.axes[0].get_xticklabels()] == ["ce", BOLD]
    assert study_plots._in_order(["64", "8", "1e1"]) == ["8", "1e1", "64"]
    assert study_plots._in_order(["tiny", "64"]) == ["tiny", "64"]


def test_two_objectives_are_drawn_against_each_other_with_the_front(tmp_path: Path) -> None:
    front = with_a_front(tmp_path)
    (plot,) = chapters(front)["One objective against the other"].plots
    (ax,) = plot.figure.axes
    assert np.asarray(ax.lines[0].get_xydata()).tolist() == [[0.5, 5], [0.6, 8], [0.7, 20]]
    assert len(np.asarray(ax.collections[0].get_offsets())) == 5
    page = read(front)
    shown = [(row[0], row[1], row[2]) for row in page.table("number")]
    assert shown == [("0", "0.5", "5"), ("2", "0.6", "8"), ("3", "0.7", "20")]
    rates = re.findall(r"mer train \S+ \S+ \S+ model.optimizer.lr=(\S+)", page.text)
    assert rates == ["0.04", "0.03", "0.01"]  # the best UF1 first


def test_what_cannot_be_drawn_yet_has_its_reason(tmp_path: Path) -> None:
    made = Made(tmp_path)
    page = read(made)
    assert "No trial is complete yet." in page.sections["Best trial"]
    assert "No trial is complete yet." in page.sections["uf1 by parameter"]
    assert page.sections["All trials"].endswith("No trial has started.")
    made.add(None, TrialState.RUNNING)
    assert read(made).table("number")[0][:2] == ["0", "running"]
    made.add([0.5])
    page = read(made)
    assert "No trial is complete yet." not in page.text
    assert "at least 20 complete trials" in page.sections["Course of uf1"]


@pytest.mark.usefixtures("no_figures")
def test_a_nested_search_has_a_page_of_all_folds_and_one_of_each(tmp_path: Path) -> None:
    studies = {}
    for name in ("a/s 1", "b"):
        (tmp_path / name).mkdir(parents=True)
        studies[name] = one_of_each(tmp_path / name).study
    path = nested_page.write(studies, tmp_path, Typed(FIXED), tmp_path / "nested")
    assert path == tmp_path / "search.html"
    page = Page(path.read_text())
    assert page.table("fold") == [
        ["a/s 1", "2", "2", "0.750", "–", "0.02", BOLD],
        ["b", "2", "2", "0.750", "–", "0.02", BOLD],
    ]
    assert 'href="a/s%201/search.html"' in path.read_text()
    assert "Folds are missing" in page.sections["What to do next"]
    of_fold = Page((tmp_path / "a/s 1" / "search.html").read_text())
    assert "mer train" not in of_fold.sections["Best trial"]
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "metrics.json").write_text("{}")
    nested_page.write(studies, tmp_path, Typed(FIXED), tmp_path / "nested")
    assert f"mer report {tmp_path}/nested" in path.read_text()
