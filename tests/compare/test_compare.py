"""`mer compare`: run directories with known numbers give the right cells, order and warnings."""

import io
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf
from rich.console import Console

from mer import compare
from mer.cli import main
from mer.compare.tables import lay_out, to_markdown
from mer.errors import MerError
from tests.compare.compare_inputs import SAMPLES, compared, names, score, shown, write_run


def test_a_row_holds_scores_with_intervals_cost_and_the_settings_that_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "low", {"svm": 0.5, "majority": 0.2}, macro__enabled=False)
    validation = {"svm": {"pooled": score(0.71)}}
    write_run(tmp_path / "high", {"svm": 0.6, "majority": 0.2}, more={"validation": validation})
    lines = shown(capsys, tmp_path / "low", tmp_path / "high")
    assert lines[0] == [
        "Pooled scores, 95 % intervals over persons. All runs: complete, head svm, 3 samples, "
        "3 persons, 1,234,567 parameters."
    ]
    scores = ["UF1", "UAR", "accuracy", "validation UF1"]
    assert lines[2] == ["run", *scores, "seconds", "latency ms", "macro.enabled"]
    assert lines[4:6] == [
        "high|0.600 [0.50, 0.80]|0.610 [0.51, 0.81]|0.620 [0.52, 0.82]|0.710|61|9.1|true".split(
            "|"
        ),
        "low|0.500 [0.40, 0.70]|0.510 [0.41, 0.71]|0.520 [0.42, 0.72]|–|61|9.1|false".split("|"),
    ]


def test_the_svm_is_taken_where_there_is_one_and_the_row_says_so(tmp_path: Path) -> None:
    both = write_run(tmp_path / "both", {"svm": 0.5, "softmax": 0.9})
    alone = write_run(tmp_path / "alone", {"softmax": 0.6})
    frame = compared([both, alone]).frame
    assert frame[["name", "head", "uf1"]].values.tolist() == [
        ["alone", "softmax", 0.6],
        ["both", "svm", 0.5],
    ]
    assert compared([both, alone], head="softmax").frame["uf1"].tolist() == [0.9, 0.6]
    named = compared([both, alone], head="svm")
    assert named.frame["uf1"].tolist()[0] == 0.5
    assert pd.isna(named.frame["uf1"].tolist()[1])
    assert "No score of this head on this part: alone." in named.notes


def test_a_head_or_part_that_no_run_has_is_an_error_with_those_there_are(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"softmax": 0.6})
    message = "head svm, part pooled. There are the heads softmax, majority and the parts pooled"
    with pytest.raises(MerError, match=re.escape(message)):
        compared([run], head="svm")
    with pytest.raises(MerError, match="part smic"):
        compared([run], part="smic")


def test_a_part_gives_the_scores_of_that_dataset(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"svm": 0.8})
    row = compared([run], part="casme2").frame.iloc[0]
    assert [row["uf1"], row["samples"]] == [pytest.approx(0.5), 2]


def test_rows_are_sorted_and_runs_without_a_value_come_last(tmp_path: Path) -> None:
    slow = {"seconds": 900, "cost": {"parameters": 10, "latency_ms": 4.0}}
    fast = {"seconds": 100, "cost": {"parameters": 20, "latency_ms": 2.0}}
    write_run(tmp_path / "10", {"svm": 0.5}, more=slow | {"validation": {"svm": {}}})
    write_run(tmp_path / "2", {"svm": 0.7}, more=fast)
    validation = {"validation": {"svm": {"pooled": {"uf1": 0.4}}}, "seconds": 500, "cost": {}}
    write_run(tmp_path / "1", {"svm": 0.5}, more=validation)
    write_run(tmp_path / "3", done=1)
    orders = {
        "uf1": ["2", "1", "10", "3"],  # 1 and 10 are equal and stay in the order of their names
        "validation": ["1", "2", "3", "10"],
        "seconds": ["2", "1", "10", "3"],
        "parameters": ["10", "2", "1", "3"],
        "latency_ms": ["2", "10", "1", "3"],
        "name": ["1", "2", "3", "10"],
    }
    assert {sort: names(compared([tmp_path], sort=sort)) for sort in orders} == orders


def test_only_settings_that_decide_something_are_columns(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"svm": 0.5}, model__epochs=5, trainer__devices=1)
    write_run(tmp_path / "b", {"svm": 0.4}, model__epochs=7, trainer__devices=2, seed=1)
    write_run(tmp_path / "c", {"svm": 0.3}, model__head__dropout=None)
    comparison = compared([tmp_path])
    assert comparison.keys == {
        "seed": "seed",
        "model.epochs": "epochs",
        "model.head.dropout": "model.head.dropout",
    }
    assert comparison.frame["model.epochs"].tolist() == [5, 7, 5]
    assert comparison.frame["model.head.dropout"].tolist() == ["absent", "absent", "null"]


def test_a_value_that_most_runs_do_not_have_is_marked(tmp_path: Path) -> None:
    for place, (epochs, rate) in enumerate([(5, 0.1), (5, 0.2), (9, 0.3)]):
        heads = {"svm": 0.9 - place / 10}
        write_run(tmp_path / str(place), heads, model__epochs=epochs, model__lr=rate)
    (grid,) = lay_out(compared([tmp_path]))
    assert grid.marked == {(2, grid.header.index("epochs"))}  # no rate is that of most runs
    assert "| **9** | 0.3 |" in to_markdown(compared([tmp_path]))


@pytest.mark.parametrize(
    ("rates", "cells"),
    [
        ([0.0019942770520123216, 1.0], ["0.001994", "1"]),
        ([0.12341, 0.12342], ["0.12341", "0.12342"]),  # four digits would make them equal
    ],
)
def test_fractions_have_four_digits_where_these_tell_them_apart(
    tmp_path: Path, rates: list[float], cells: list[str]
) -> None:
    for place, rate in enumerate(rates):
        write_run(tmp_path / str(place), {"svm": 0.9 - place / 10}, model__lr=rate)
    (grid,) = lay_out(compared([tmp_path]))
    assert [row[-1] for row in grid.rows] == cells


def test_settings_of_macro_pretraining_count_where_there_is_one(tmp_path: Path) -> None:
    off: dict[str, Any] = {"macro__enabled": False}
    write_run(tmp_path / "0", {"svm": 0.9}, macro__epochs=1, **off)
    write_run(tmp_path / "1", {"svm": 0.8}, macro__epochs=2, seed=1, **off)
    comparison = compared([tmp_path])
    assert comparison.keys == {"seed": "seed"}
    assert "0, 1: seeds 0, 1: UF1 mean 0.850 (min 0.800, max 0.900)." in comparison.notes
    write_run(tmp_path / "2", {"svm": 0.7}, macro__epochs=25)
    assert list(compared([tmp_path]).keys) == ["seed", "macro.enabled"]
    write_run(tmp_path / "3", {"svm": 0.6}, macro__epochs=15)
    (grid,) = lay_out(compared([tmp_path]))
    assert grid.header[-2:] == ["macro.epochs", "macro.enabled"]
    assert [row[-2] for row in grid.rows] == ["–", "–", "25", "15"]


def test_what_runs_with_a_score_share_is_said_once_beside_an_unfinished_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (0, 1):
        write_run(tmp_path / str(place), {"svm": 0.5 - place / 10}, seed=place)
    write_run(tmp_path / "2", done=1, seed=2)
    lines = shown(capsys, tmp_path, "--no-tests")
    assert "All runs with a score: head svm, 3 samples, 3 persons" in lines[0][0]
    (header,) = (cells for cells in lines if cells[0] == "run")
    assert header[:3] == ["run", "status", "UF1"] and "samples" not in header


def test_many_differences_get_a_table_of_their_own_and_long_values_are_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, sign in (("a", 1), ("b", -1)):
        many: dict[str, Any] = {f"model__k{n}": sign * (n + 1) for n in range(6)}
        write_run(tmp_path / name, {"svm": 0.4 + sign / 10}, **many)
    assert len(lay_out(compared([tmp_path]))) == 1
    write_run(tmp_path / "c", {"svm": 0.3}, model__name="x" * 30)
    scores, settings = lay_out(compared([tmp_path]))
    assert scores.header == ["run", "UF1", "UAR", "accuracy", "seconds", "latency ms"]
    assert settings.header == ["setting", "a", "b", "c"]
    assert settings.rows[1] == ["k1", "2", "-2", "absent"]
    assert settings.rows[-1] == ["name", "absent", "absent", "x" * 23 + "…"]
    assert (len(settings.rows) - 1, 3) in settings.marked
    assert ["k1", "2", "-2", "absent"] in shown(capsys, tmp_path)


def test_a_narrow_terminal_shows_settings_below_the_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "a", {"svm": 0.5}, model__name="x" * 20)
    write_run(tmp_path / "b", {"svm": 0.4}, model__name="y" * 20)
    for width, tables in ((120, 1), (90, 2)):
        text = io.StringIO()
        terminal = Console(force_terminal=True, no_color=True, width=width, file=text)
        monkeypatch.setattr("mer.runs.terminal.console", lambda terminal=terminal: terminal)
        compare.show([tmp_path])
        lines = text.getvalue().splitlines()
        assert sum("0.500 [0.40, 0.70]" in line for line in lines) == 1
        assert sum("───" in line for line in lines) == tables
        assert sum("x" * 20 in line for line in lines) == 1


def test_settings_of_more_runs_than_fit_are_a_line_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in range(20):
        own: dict[str, Any] = {f"model__k{n}": n for n in range(7 if place else 1)}
        many = {**own, "model__name": "x" * 20, "model__rate": place / 100}
        write_run(tmp_path / str(place), {"svm": 0.9 - place / 100}, **many)
    assert main(["compare", str(tmp_path), "--no-tests"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Most runs have k1=1 k2=2 k3=3 k4=4 k5=5 k6=6" in lines
    assert "  7: rate=0.07" in lines
    absent = " ".join(f"k{n}=absent" for n in range(1, 7))
    assert sorted(next(line for line in lines if line.startswith("  0: ")).split()) == sorted(
        ["0:", "rate=0", *absent.split()]
    )
    assert max(map(len, lines)) <= 120


def test_an_incomplete_run_is_listed_with_its_folds_and_without_a_score(tmp_path: Path) -> None:
    write_run(tmp_path / "done", {"svm": 0.5})
    write_run(tmp_path / "part", done=2)
    write_run(tmp_path / "unpooled", done=3)
    (tmp_path / "unpooled" / "metrics.json").unlink()
    write_run(tmp_path / "search" / "7" / "seed-1", done=3)
    (tmp_path / "search" / "7" / "seed-1" / "metrics.json").unlink()
    (tmp_path / "search" / "trials.csv").write_text("number,state\n0,complete\n7,pruned\n")
    begun = write_run(tmp_path / "begun")
    for name in ("manifest.parquet", "environment.json", "metrics.json"):
        (begun / name).unlink()
    comparison = compared([tmp_path])
    assert dict(zip(comparison.frame["name"], comparison.frame["status"], strict=True)) == {
        "done": "complete",
        "begun": "incomplete: no fold yet",
        "part": "incomplete: 2 of 3 folds",
        "seed-1": "pruned trial: 3 of 3 folds",
        "unpooled": "incomplete: 3 of 3 folds, not pooled",
    }
    assert comparison.frame["uf1"].isna().tolist() == [False, True, True, True, True]
    assert comparison.notes == []


def test_incomplete_runs_alone_are_listed_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", done=1)
    write_run(tmp_path / "b", done=2)
    lines = shown(capsys, tmp_path)
    assert lines[2] == ["run", "status"]
    assert lines[4:6] == [["a", "incomplete: 1 of 3 folds"], ["b", "incomplete: 2 of 3 folds"]]


def test_other_protocols_classes_and_samples_are_not_comparable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write_run(tmp_path / "a", {"svm": 0.5})
    b = write_run(tmp_path / "b", {"svm": 0.5}, protocol__name="group_kfold", protocol__n_splits=5)
    assert compared([a, b]).notes == [
        "Not comparable, different protocol: loso in a; group_kfold (n_splits=5) in b."
    ]
    inner = write_run(tmp_path / "inner", {"svm": 0.5}, protocol__inner__n_splits=3)
    assert compared([a, inner]).notes == []  # who is tested is the same
    c = write_run(tmp_path / "c", {"svm": 0.5}, labels__classes=["negative", "others"])
    assert compared([a, c]).notes == [
        "Not comparable, different classes: [negative, positive, surprise] in a; "
        "[negative, others] in c."
    ]
    d = write_run(tmp_path / "d", {"svm": 0.5}, samples=SAMPLES[:2], data_hash="bbbb")
    note = "Not comparable, different samples, persons or labels: 3 in a; 2 in d; 2 in every run."
    assert compared([a, d]).notes == [note]
    assert [note] in shown(capsys, a, d)
    relabelled = [(*SAMPLES[0][:3], "surprise"), *SAMPLES[1:]]
    e = write_run(tmp_path / "e", {"svm": 0.5}, samples=relabelled)
    assert "3 in a; 3 in e; 2 in every run." in compared([a, e]).notes[0]


def test_a_dataset_can_be_compared_where_the_other_samples_differ(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", {"svm": 0.5})
    b = write_run(tmp_path / "b", {"svm": 0.5}, samples=SAMPLES[:2], data_hash="bbbb")
    assert compared([a, b], part="casme2").notes == []


def test_more_validation_persons_are_a_setting_and_not_another_protocol(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", {"svm": 0.5})
    b = write_run(tmp_path / "b", {"svm": 0.4}, protocol__validation=0.3)
    comparison = compared([a, b])
    assert comparison.keys == {"protocol.validation": "protocol.validation"}
    assert comparison.notes == []


def test_changed_pictures_of_the_same_samples_are_noticed(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", {"svm": 0.5})
    b = write_run(tmp_path / "b", {"svm": 0.5}, data_hash="bbbb", model__epochs=7)
    assert compared([a, b]).notes == [
        "Not comparable, the data changed between the runs, though no setting did (data hash): "
        "aaaa in a; bbbb in b."
    ]
    c = write_run(tmp_path / "c", {"svm": 0.5}, data_hash="cccc", prepare__flow__method="tvl1")
    assert compared([a, c]).notes == [
        "The same samples, from other data or prepare settings (data hash): aaaa in a; cccc in c."
    ]


def test_latencies_of_different_or_busy_machines_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"svm": 0.5})
    cost = {"parameters": 5, "latency_ms": 1.0, "device": "gpu", "threads": 8, "other_cores": 2.0}
    write_run(tmp_path / "b", {"svm": 0.5}, more={"cost": cost})
    assert compared([tmp_path]).notes == [
        "Latencies are of different machines: cpu with 2 threads in a; gpu with 8 threads in b.",
        "Latencies measured while other processes were busy: b.",
    ]


def test_seeds_of_one_configuration_are_summed_up(tmp_path: Path) -> None:
    for seed, uf1 in enumerate([0.5, 0.6, 0.73]):
        write_run(tmp_path / f"x{seed}", {"svm": uf1}, seed=seed)
    write_run(tmp_path / "other", {"svm": 0.9}, seed=3, model__epochs=9)
    write_run(tmp_path / "stopped", seed=4)
    assert compared([tmp_path]).notes == [
        "x0, x1, x2: seeds 0, 1, 2: UF1 mean 0.610 (min 0.500, max 0.730)."
    ]


def test_a_run_repeated_with_one_seed_is_no_group_of_seeds(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"svm": 0.5})
    write_run(tmp_path / "b", {"svm": 0.5})
    assert compared([tmp_path]).notes == []


def test_long_lists_of_runs_are_shortened(tmp_path: Path) -> None:
    for seed in range(7):
        write_run(tmp_path / str(seed), {"svm": 0.5}, seed=seed)
    assert compared([tmp_path]).notes[0].startswith("0, 1, 2, 3 and 3 more: seeds 0, 1, 2, 3, 4, 5")


def test_an_ensemble_has_no_settings_to_differ_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write_run(tmp_path / "a", {"svm": 0.5}, model__epochs=5)
    b = write_run(tmp_path / "b", {"svm": 0.6}, model__epochs=9)
    members = [{"run": f"../{name}", "head": "svm", "checksums": "0" * 64} for name in "ab"]
    both = write_run(tmp_path / "both", {"ensemble": 0.7}, ensemble=members)
    config: Any = OmegaConf.load(both / "config.yaml")
    for key in ("model", "macro", "trainer"):
        del config[key]
    OmegaConf.save(config, both / "config.yaml")
    comparison = compared([a, b, both])
    assert comparison.keys == {"model.epochs": "epochs"}
    assert comparison.frame["head"].tolist() == ["ensemble", "svm", "svm"]
    assert "both is the mean of a:svm, b:svm." in comparison.notes
    assert not [note for note in comparison.notes if note.startswith("Not comparable")]
