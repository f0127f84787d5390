import csv
import html
import io
import json
import re
import shlex
import sys
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from mer.errors import MerError
from mer.search import figures, page, summary, trials

FIXED = ["data=synthetic", "search=mobilevit_tpe", "model.epochs=3"]
BOLD = "'<b>bold</b>'"
SPACE = {
    "model.optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True),
    "model.loss": CategoricalDistribution(["ce", BOLD]),
}
STARTED = datetime(2026, 1, 1)


class Made:
    """A study in memory whose trials are made by hand."""

    def __init__(self, folder: Path, *directions: str, objective: Any = "uf1") -> None:
        self.folder = folder
        self.study = optuna.create_study(
            study_name="mobilevit_tpe",
            directions=directions or ["maximize"],
            sampler=optuna.samplers.TPESampler(seed=0),
            pruner=optuna.pruners.NopPruner(),
        )
        noted = {
            "space": dict.fromkeys(SPACE, ""),
            "settings": {"objective": objective, "data.name": "megc2019"},
        }
        self.study.set_user_attr("mer", json.dumps(noted))

    def add(
        self,
        values: list[float] | None = None,
        state: TrialState = TrialState.COMPLETE,
        lr: float = 0.01,
        loss: str = "ce",
        folds: list[float] | None = None,
        **attrs: Any,
    ) -> None:
        number = len(self.study.trials)
        waiting = state == TrialState.WAITING
        trial = create_trial(
            state=state,
            values=values,
            params={} if waiting else {"model.optimizer.lr": lr, "model.loss": loss},
            distributions={} if waiting else SPACE,
            intermediate_values=dict(enumerate(folds or [], start=1)),
            user_attrs=attrs if waiting else {"directory": str(self.folder / str(number)), **attrs},
        )
        if not waiting:
            trial.datetime_start = STARTED
        if state.is_finished():
            trial.datetime_complete = STARTED + timedelta(seconds=90 + number)
        self.study.add_trial(trial)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """One trial of each fate; the best is number 2."""
    made = Made(tmp_path)
    made.add([0.5], lr=0.001, folds=[0.4, 0.5])
    made.add([0.25], TrialState.PRUNED, folds=[0.25], outcome="pruned after 1 of 2 folds")
    made.add([0.75], lr=0.02, loss=BOLD, folds=[0.7, 0.75])
    made.add(None, TrialState.FAIL, outcome="raised MerError: no <i>such</i> file")
    made.add(None, TrialState.FAIL, outcome="not a number")
    made.add(None, TrialState.FAIL, outcome="killed 3 times")
    made.add(None, TrialState.FAIL, outcome="surplus")
    made.add(None, TrialState.FAIL)
    made.add(None, TrialState.RUNNING, folds=[0.6])
    made.add(None, TrialState.WAITING)
    return made


@pytest.fixture
def front(tmp_path: Path) -> Made:
    """UF1 up, latency down: 0, 2 and 3 are the front; 1 is beaten by 2, and 4 by all of them."""
    made = Made(tmp_path, "maximize", "minimize", objective=["uf1", "latency_ms"])
    made.add([0.50, 5.0])
    made.add([0.55, 9.0], lr=0.02)
    made.add([0.60, 8.0], lr=0.03)
    made.add([0.70, 20.0], lr=0.04)
    made.add([0.40, 30.0], lr=0.05)
    return made


def parsed(line: str) -> dict[str, Any]:
    """What a shell, and then Hydra, make of a command."""
    program, verb, *words = shlex.split(line)
    assert (program, verb) == ("mer", "train")
    overrides = OverridesParser.create().parse_overrides(words)
    return {item.get_key_element(): item.value() for item in overrides}


def terminal(made: Made, capsys: pytest.CaptureFixture[str]) -> str:
    summary.show(made.study, made.folder, FIXED)
    return capsys.readouterr().out


def text_of(made: Made) -> str:
    """The page without the scripts."""
    written = page.write(made.study, made.folder, FIXED, ["protocol.validation=0.2"]).read_text()
    return re.sub(r"<script.*?</script>", "", written, flags=re.DOTALL)


# The files


def test_the_table_has_a_row_per_trial_but_none_for_a_surplus_one(made: Made) -> None:
    summary.write(made.study, made.folder, FIXED)
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
    summary.write(made.study, made.folder, FIXED, ["protocol.validation=0.2"])
    assert yaml.safe_load((made.folder / "optimization_results.yaml").read_text()) == {
        "name": "optuna",
        "best_params": {"model.optimizer.lr": 0.02, "model.loss": BOLD},
        "best_value": 0.75,
        "best_trial": 2,
        "directory": str(made.folder / "2"),
        "command": "mer train protocol.validation=0.2 data=synthetic model.epochs=3 "
        f"model.optimizer.lr=0.02 {shlex.quote('model.loss=' + BOLD)}",
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
    summary.write(made.study, tmp_path, FIXED)
    assert yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())["best_trial"] == 1


def test_minimising_takes_the_smallest(tmp_path: Path) -> None:
    made = Made(tmp_path, "minimize", objective="latency_ms")
    for value in (3.0, 1.0, 2.0):
        made.add([value])
    assert [trial.number for trial in trials.complete(made.study)] == [1, 2, 0]
    assert trials.best(made.study)[0].values == [1.0]


def test_the_pareto_front_is_the_one_worked_out_by_hand(front: Made) -> None:
    summary.write(front.study, front.folder, FIXED)
    found = yaml.safe_load((front.folder / "optimization_results.yaml").read_text())
    assert "best_params" not in found and "best_trial" not in found
    assert [(s["trial"], s["values"]) for s in found["solutions"]] == [
        (3, [0.70, 20.0]),
        (2, [0.60, 8.0]),
        (0, [0.50, 5.0]),
    ]
    assert found["solutions"][1]["params"] == {"model.optimizer.lr": 0.03, "model.loss": "ce"}
    assert parsed(found["solutions"][1]["command"])["model.optimizer.lr"] == 0.03
    table = csv.DictReader(io.StringIO((front.folder / "trials.csv").read_text()))
    assert [row["value_latency_ms"] for row in table] == ["5.0", "9.0", "8.0", "20.0", "30.0"]


def test_without_a_complete_trial_there_is_no_best(tmp_path: Path) -> None:
    made = Made(tmp_path)
    summary.write(made.study, tmp_path, FIXED)
    assert (tmp_path / "trials.csv").read_text() == "number\n"
    made.add(None, TrialState.FAIL, outcome="not a number")
    summary.write(made.study, tmp_path, FIXED)
    found = yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())
    assert set(found) == {"name", "n_trials", "counts"} and found["n_trials"] == 1
    several = Made(tmp_path, "maximize", "minimize")
    summary.write(several.study, tmp_path, FIXED)
    found = yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())
    assert found["solutions"] == []


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trials.csv"
    summary.write_text("old", path)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="disk full"):
        summary.write_text("new", path)
    monkeypatch.undo()
    assert path.read_text() == "old"
    summary.write_text("new", path)
    assert [file.name for file in tmp_path.iterdir()] == ["trials.csv"]


def test_reports_leave_the_study_as_it_was(made: Made) -> None:
    before = made.study.get_trials()
    summary.write(made.study, made.folder, FIXED)
    page.write(made.study, made.folder, FIXED)
    assert made.study.get_trials() == before


# The command


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("'a b, c'", "a b, c"),
        ("a b", "a b"),
        ('"it\'s"', "it's"),
        ("'say \\'hi\\' $HOME `x`'", "say 'hi' $HOME `x`"),
        ("[32,'a b',null]", [32, "a b", None]),
        ("{a:1,b:[x]}", {"a": 1, "b": ["x"]}),
        ("null", None),
        ("'null'", "null"),
        ("true", True),
        ("16", 16),
        (16, 16),
        (1e-05, 1e-05),
        (0.1234567890123456, 0.1234567890123456),
    ],
)
def test_a_value_survives_the_shell_and_hydra(typed: Any, value: Any) -> None:
    found = parsed(summary.command(["data=synthetic"], {"model.x": typed}))
    assert found == {"data": "synthetic", "model.x": value}
    assert type(found["model.x"]) is type(value) or isinstance(value, str)


def test_words_that_only_a_search_understands_are_left_out() -> None:
    fixed = [
        "search=mobilevit_tpe",
        "search.n_trials=3",
        "hydra/sweeper=mer_optuna",
        "hydra/sweeper/sampler=tpe",
        "hydra.sweeper.n_jobs=2",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "hydra.sweep.dir=x",
        "+trial.number=3",
        "-m",
        "searching=yes",
        "~data.micro.samm",
        "+data.name='my, data'",
    ]
    words = shlex.split(summary.command(fixed, {}))
    assert words == ["mer", "train", "searching=yes", "~data.micro.samm", "+data.name='my, data'"]


def test_of_a_key_given_twice_the_trial_counts_then_the_user() -> None:
    line = summary.command(
        ["model.epochs=3", "seed=1"],
        {"seed": 2},
        ["model.epochs=9", "+seed=5", "protocol.validation=0.2"],
    )
    assert line == "mer train protocol.validation=0.2 model.epochs=3 seed=2"


def test_text_of_a_custom_search_space_is_quoted_for_hydra(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.study.add_trial(
        create_trial(
            value=0.5,
            params={"model.own": "a, b", "model.loss": "[1,2]", "model.none": None},
            distributions={
                "model.own": CategoricalDistribution(["a, b"]),
                "model.loss": CategoricalDistribution(["[1,2]"]),
                "model.none": CategoricalDistribution([None]),
            },
        )
    )
    found = parsed(summary.repeat(made.study, made.study.trials[0], []))
    assert found == {"model.own": "a, b", "model.loss": [1, 2], "model.none": None}


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
    assert f"{command} {shlex.quote('model.loss=' + BOLD)}\n" in out
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
    assert "for uf1: lr" in out and "for latency_ms: lr" in out


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
    space = {"model.widths": CategoricalDistribution(["[a]", "[b]"])}
    for value, widths in ((0.1, "[a]"), (0.2, "[b]")):
        made.study.add_trial(
            create_trial(value=value, params={"model.widths": widths}, distributions=space)
        )
    out = terminal(made, capsys)
    assert "raised ValueError: [bold]" in out
    assert re.search(r"^ +2 +0\.2 +\[b\] ", out, flags=re.MULTILINE)


def test_importances_find_the_parameter_that_decides() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    space = {"a.x": FloatDistribution(0, 1), "a.y": FloatDistribution(0, 1)}
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


def test_importances_of_equal_values_are_one_sentence(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.add([0.5])
    made.add([0.5], lr=0.02)
    found = trials.importances(made.study)
    assert found == (
        "Parameter importances need at least two complete trials with different values."
    )


def test_short_names_stay_unique() -> None:
    keys = ["model.optimizer.lr", "macro.optimizer.lr", "model.dropout", "seed", "macro.seed", "lr"]
    assert trials.short_names(keys) == {
        "model.optimizer.lr": "model.optimizer.lr",
        "macro.optimizer.lr": "macro.optimizer.lr",
        "model.dropout": "dropout",
        "seed": "seed",
        "macro.seed": "macro.seed",
        "lr": "lr",
    }


# The page


class Tags(HTMLParser):
    """Collects every address that a page would load or lead to, and its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = ("src", "href", "data", "action", "srcset")
        self.addresses += [value or "" for name, value in attrs if name in names]


def test_the_page_asks_for_nothing_from_outside(made: Made) -> None:
    written = page.write(made.study, made.folder, FIXED).read_text()
    tags = Tags()
    tags.feed(written)
    assert tags.addresses == []
    assert not {"link", "iframe", "img", "object"} & set(tags.tags)
    assert "default-src 'none'" in written
    assert "@import" not in page.STYLE and "url(" not in page.STYLE
    assert written.count("plotly.js v") == 1
    drawn = re.findall(r"Plotly\.newPlot\(.*?</script>", written, flags=re.DOTALL)
    assert len(drawn) == 5 and all('"modeBarButtons": [["toImage"' in one for one in drawn)
    assert all("Cloud" not in one for one in drawn)


def test_the_page_escapes_all_text(made: Made) -> None:
    text = text_of(made)
    assert "<b>" not in text and "<i>" not in text
    assert "&#x27;&lt;b&gt;bold&lt;/b&gt;&#x27;" in text
    assert "no &lt;i&gt;such&lt;/i&gt; file" in text
    whole = (made.folder / "search.html").read_text()
    drawn = "".join(re.findall(r"Plotly\.newPlot\(.*?</script>", whole, flags=re.DOTALL))
    assert "bold" in drawn and "<b>bold" not in drawn and r"\u003cb\u003ebold" not in drawn


def test_the_page_says_what_was_searched_and_what_came_out(made: Made) -> None:
    text = text_of(made)
    for fact, value in [
        ("objective", "uf1: maximize"),
        ("parameters", "model.optimizer.lr, model.loss"),
        ("sampler", "TPE"),
        ("pruner", "none"),
        ("data", "megc2019"),
        ("command line", "data=synthetic search=mobilevit_tpe model.epochs=3"),
        ("trial", "2"),
        ("uf1", "0.75"),
    ]:
        assert f"<tr><th>{fact}</th><td>{value}</td></tr>" in text
    for count in ("2 complete", "1 pruned", "4 failed", "1 running", "1 queued"):
        assert f">{count}</span>" in text
    command = re.search(r"<pre>(.*?)</pre>", text)
    assert command is not None
    assert parsed(html.unescape(command[1]))["protocol.validation"] == 0.2
    assert "the best of 3 trials was chosen, so they are optimistic" in text


def test_the_pages_table_colours_each_trial_by_its_state(made: Made) -> None:
    table = text_of(made).split("<h2>All trials</h2>")[1]
    states = re.findall(r'<td class=""><span class="state (\w+)">(\w+)</span>', table)
    assert [name for name, _ in states] == [name for _, name in states]
    assert [name for name, _ in states] == [
        "complete", "pruned", "complete", *["failed"] * 4, "running", "queued",
    ]  # fmt: skip
    assert all(f".{name} {{" in page.STYLE for name, _ in states)
    marked = re.findall(r'<tr class="best"><td class="number">(\d+)</td>', table)
    assert marked == ["2"]


def test_the_page_draws_each_figure_of_one_objective(made: Made) -> None:
    drawn = list(figures.figures(trials.copy(made.study)))
    titles = [
        "Optimization history",
        "Parameter importances",
        "Parallel coordinate",
        "Slice",
        "Intermediate values",
    ]
    assert [figure.title for figure in drawn] == titles
    history = drawn[0].drawing
    assert list(history.data[0].y) == [0.5, 0.75] and list(history.data[0].x) == [0, 2]
    assert set(drawn[1].drawing.data[0].y) == {"lr", "loss"}
    assert [len(line.x) for line in drawn[4].drawing.data] == [2, 1, 2, 1]
    text = text_of(made)
    assert all(f"<h2>{title}</h2>" in text for title in titles)


def test_the_page_draws_the_front_and_each_objective(front: Made) -> None:
    drawn = list(figures.figures(trials.copy(front.study)))
    each = ("Optimization history", "Parameter importances", "Parallel coordinate", "Slice")
    titles = [f"{title} of {name}" for name in ("uf1", "latency_ms") for title in each]
    assert [figure.title for figure in drawn] == ["Pareto front", *titles]
    others, best = drawn[0].drawing.data
    assert sorted(zip(best.x, best.y, strict=True)) == [(0.5, 5), (0.6, 8), (0.7, 20)]
    assert sorted(others.x) == [0.4, 0.55]
    latency = next(figure for figure in drawn if figure.title.endswith("history of latency_ms"))
    assert list(latency.drawing.data[0].y) == [5, 9, 8, 20, 30]
    text = text_of(front)
    assert all(f"<h2>{title}</h2>" in text for title in ["Pareto front", *titles])
    commands = map(html.unescape, re.findall("<pre>(.*?)</pre>", text))
    assert [parsed(c)["model.optimizer.lr"] for c in commands] == [0.04, 0.03, 0.01]


def test_a_figure_that_cannot_be_drawn_says_why(tmp_path: Path) -> None:
    made = Made(tmp_path)
    text = text_of(made)
    assert text.count('<p class="why">No trial is complete yet.</p>') == 4
    assert "No trial has started." in text
    assert "No trial has reported a value after a fold." in text
    made.add([0.5])
    text = text_of(made)
    assert "No trial is complete yet." not in text
    assert "Parameter importances need at least two complete trials" in text
    four = Made(tmp_path, *["maximize"] * 4)
    four.add([1, 2, 3, 4])
    assert re.search(
        '<h2>Pareto front</h2>\n<p class="why">Optuna could not draw this: ', text_of(four)
    )


def test_a_grid_is_called_a_grid(made: Made) -> None:
    made.study.set_user_attr("grid", 12)
    assert "<tr><th>sampler</th><td>every point of the grid</td></tr>" in text_of(made)


def test_without_plotly_the_page_says_what_to_type_and_the_terminal_still_works(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(MerError, match=re.escape("pip install 'mer[search]'")):
        page.write(made.study, made.folder, FIXED)
    assert not (made.folder / "search.html").exists()
    assert "Trial 2, the best" in terminal(made, capsys)
