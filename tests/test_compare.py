"""`mer compare`: run directories with known numbers give the right cells, order and warnings."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from mer import compare
from mer.cli import main
from mer.compare.layout import lay_out, to_markdown
from mer.compare.runs import shortest_ends
from mer.errors import MerError

#: sample, dataset, person, label
SAMPLES = (
    ("casme2/sub01/EP01", "casme2", "casme2/sub01", "negative"),
    ("casme2/sub02/EP02", "casme2", "casme2/sub02", "positive"),
    ("samm/006/006_1", "samm", "samm/006", "surprise"),
)


def score(uf1: float, samples: int = 3) -> dict[str, Any]:
    """UF1 as given, UAR .01 and accuracy .02 above it; intervals from -.1 to +.2 around each."""
    values = {"uf1": uf1, "uar": uf1 + 0.01, "accuracy": uf1 + 0.02}
    intervals = {name: [value - 0.1, value + 0.2] for name, value in values.items()}
    return {**values, "intervals": intervals, "samples": samples, "persons": samples}


def write_run(
    directory: Path,
    heads: dict[str, float] | None = None,
    *,
    samples: Sequence[tuple[str, ...]] = SAMPLES,
    data_hash: str = "aaaa",
    done: int = 0,
    more: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Write a run directory: complete with `heads`, else with `done` of its folds finished.

    A double underscore in a setting's name stands for the dot.
    """
    config = OmegaConf.create(
        {
            "seed": 0,
            "paths": {"cache": str(directory)},
            "data": {"name": "synthetic"},
            "labels": {"classes": ["negative", "positive", "surprise"]},
            "protocol": {"name": "loso", "validation": 0.0, "folds": None},
            "model": {"epochs": 5, "lr": 0.001},
            "macro": {"epochs": 15, "enabled": True},
            "trainer": {"devices": 1},
        }
    )
    for key, value in settings.items():
        OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
    directory.mkdir(parents=True)
    OmegaConf.save(config, directory / "config.yaml")
    manifest = pd.DataFrame(samples, columns=["sample_id", "dataset", "person", "label"])
    manifest["fold"] = [f"fold-{place}" for place in range(len(samples))]
    manifest.to_parquet(directory / "manifest.parquet")
    (directory / "environment.json").write_text(json.dumps([{"data_hash": data_hash}]))
    for place in range(done):
        (directory / "folds" / f"fold-{place}").mkdir(parents=True)
        (directory / "folds" / f"fold-{place}" / "predictions.parquet").touch()
    result: dict[str, Any] = {"status": "incomplete"}
    if heads is not None:
        result = {
            "status": "complete",
            "seconds": 61.4,
            "heads": {
                head: {"pooled": score(uf1), "casme2": score(uf1 - 0.3, 2)}
                for head, uf1 in heads.items()
            },
            "cost": {"parameters": 1234567, "latency_ms": 9.06, "device": "cpu", "threads": 2},
        } | (more or {})
    (directory / "metrics.json").write_text(json.dumps(result))
    return directory


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> list[list[str]]:
    """Lines of the terminal output, cut into cells."""
    assert main(["compare", *map(str, words)]) == 0
    return [re.split(r" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]


def compared(paths: Sequence[Path], **options: Any) -> compare.Comparison:
    return compare.side_by_side(compare.read(paths), **options)


def names(comparison: compare.Comparison) -> list[str]:
    return comparison.frame["name"].tolist()


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
    message = "head svm, part pooled. There are the heads softmax and the parts pooled, casme2"
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
        "model.epochs": "model.epochs",  # macro.epochs is there as well
        "model.head.dropout": "head.dropout",
    }
    assert comparison.frame["model.epochs"].tolist() == [5, 7, 5]
    assert comparison.frame["model.head.dropout"].tolist() == ["absent", "absent", "null"]


def test_a_value_that_most_runs_do_not_have_is_marked(tmp_path: Path) -> None:
    for place, (epochs, rate) in enumerate([(5, 0.1), (5, 0.2), (9, 0.3)]):
        heads = {"svm": 0.9 - place / 10}
        write_run(tmp_path / str(place), heads, model__epochs=epochs, model__lr=rate)
    (grid,) = lay_out(compared([tmp_path]))
    assert grid.marked == {(2, grid.header.index("model.epochs"))}  # no rate is that of most runs
    assert "| **9** | 0.3 |" in to_markdown(compared([tmp_path]))


def test_many_differences_get_a_table_of_their_own_and_long_values_are_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", {"svm": 0.5}, **{f"model__k{n}": n for n in range(6)})
    write_run(tmp_path / "b", {"svm": 0.4}, **{f"model__k{n}": -n - 1 for n in range(6)})
    assert len(lay_out(compared([tmp_path]))) == 1
    write_run(tmp_path / "c", {"svm": 0.3}, model__name="x" * 30)
    scores, settings = lay_out(compared([tmp_path]))
    assert scores.header == ["run", "UF1", "UAR", "accuracy", "seconds", "latency ms"]
    assert settings.header == ["setting", "a", "b", "c"]
    assert settings.rows[1] == ["model.k1", "1", "-2", "absent"]
    assert settings.rows[-1] == ["model.name", "absent", "absent", "x" * 23 + "…"]
    assert (len(settings.rows) - 1, 3) in settings.marked
    assert ["model.k1", "1", "-2", "absent"] in shown(capsys, tmp_path)


def test_a_narrow_terminal_shows_settings_below_the_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "a", {"svm": 0.5}, model__name="x" * 20)
    write_run(tmp_path / "b", {"svm": 0.4}, model__name="y" * 20)
    for width, tables in ((120, 1), (90, 2)):
        terminal = Console(force_terminal=True, no_color=True, width=width, file=io.StringIO())
        monkeypatch.setattr("mer.results.console", lambda terminal=terminal: terminal)
        compare.show([tmp_path])
        lines = terminal.file.getvalue().splitlines()
        assert sum("0.500 [0.40, 0.70]" in line for line in lines) == 1
        assert sum("───" in line for line in lines) == tables
        assert sum("x" * 20 in line for line in lines) == 1


def test_an_incomplete_run_is_listed_with_its_folds_and_without_a_score(tmp_path: Path) -> None:
    write_run(tmp_path / "done", {"svm": 0.5})
    write_run(tmp_path / "part", done=2)
    write_run(tmp_path / "unpooled", done=3)
    (tmp_path / "unpooled" / "metrics.json").unlink()
    begun = write_run(tmp_path / "begun")
    for name in ("manifest.parquet", "environment.json", "metrics.json"):
        (begun / name).unlink()
    comparison = compared([tmp_path])
    assert dict(zip(comparison.frame["name"], comparison.frame["status"], strict=True)) == {
        "done": "complete",
        "begun": "incomplete: no fold yet",
        "part": "incomplete: 2 of 3 folds",
        "unpooled": "incomplete: 3 of 3 folds, not pooled",
    }
    assert comparison.frame["uf1"].isna().tolist() == [False, True, True, True]
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


def test_latencies_of_different_machines_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"svm": 0.5})
    cost = {"parameters": 5, "latency_ms": 1.0, "device": "gpu", "threads": 8}
    write_run(tmp_path / "b", {"svm": 0.5}, more={"cost": cost})
    assert compared([tmp_path]).notes == [
        "Latencies are of different machines: cpu with 2 threads in a; gpu with 8 threads in b."
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


def test_a_folder_stands_for_the_runs_in_it_and_names_are_as_short_as_they_can_be(
    tmp_path: Path,
) -> None:
    write_run(tmp_path / "sweep" / "0", {"svm": 0.5})
    write_run(tmp_path / "sweep" / "1", {"svm": 0.4})
    write_run(tmp_path / "deep" / "inner" / "1", {"svm": 0.3})
    write_run(tmp_path / "sweep" / "0" / "folds" / "not-a-run", {"svm": 0.2})
    for foreign in (".hydra", "wandb"):
        (tmp_path / "sweep" / foreign).mkdir()
        (tmp_path / "sweep" / foreign / "config.yaml").write_text("a: 1")
    paths = [tmp_path / "sweep", tmp_path / "sweep" / "0", tmp_path / "deep"]
    assert names(compared(paths)) == ["0", "sweep/1", "inner/1"]


def test_an_end_of_another_path_stays_whole() -> None:
    paths = [("seed",), ("data", "seed"), ("a", "b", "epochs"), ("c", "lr")]
    assert list(shortest_ends(paths).values()) == [
        ("seed",),
        ("data", "seed"),
        ("epochs",),
        ("lr",),
    ]
    assert shortest_ends(paths, least=2)["a", "b", "epochs"] == ("b", "epochs")


def test_all_bad_paths_are_named_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "runs" / "demo", {"svm": 0.5})
    (run / "folds").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.tex").touch()
    broken = write_run(tmp_path / "runs" / "broken", {"svm": 0.5})
    (broken / "metrics.json").write_text('{"status": ')
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.yaml").write_text("a: 1")
    words = ["runs/demo", "runs/dmeo", "runs/demo/folds", "empty", "papers", "papers/thesis.tex"]
    words += ["runs/broken", "foreign", "far/away"]
    assert main(["compare", *(str(tmp_path / word) for word in words)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "mer: error: These cannot be compared:",
        f"  - {tmp_path}/runs/dmeo does not exist: did you mean {run}?",
        f"  - {run}/folds lies inside a run: type {run}",
        f"  - {tmp_path}/empty holds no run (found nothing): name a run directory or a folder "
        "of them",
        f"  - {tmp_path}/papers holds no run (found thesis.tex): name a run directory or a "
        "folder of them",
        f"  - {tmp_path}/papers/thesis.tex is a file: name the directory of a run, which has a "
        "config.yaml",
        f"  - {tmp_path}/far/away does not exist: check its path",
        f"  - {broken}/metrics.json cannot be read (JSONDecodeError: Expecting value: line 1 "
        f"column 12 (char 11)): `mer train` with the same words and run.dir={broken} writes it "
        "again",
        f"  - {foreign}/config.yaml names no protocol: it is not one of `mer train`",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", "[]", r"metrics.json cannot be read \(TypeError"),
        ("metrics.json", '{"status": "complete"}', "but there are no scores in it"),
        ("metrics.json", '{"status": "complete", "heads": {"svm": {"pooled": {}}}}', "KeyError"),
        ("environment.json", "{}", "environment.json cannot be read"),
        ("config.yaml", "a: [1", "config.yaml cannot be read"),
        ("manifest.parquet", "no table", "manifest.parquet cannot be read .*copy it again"),
        ("manifest.parquet", None, "says complete, but manifest.parquet is missing"),
    ],
)
def test_a_damaged_file_is_named_with_its_mend(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    run = write_run(tmp_path / "run", {"svm": 0.5})
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_text(content)
    with pytest.raises(MerError, match=message):
        compare.read([run])


def test_csv_has_plain_columns_and_stdout_holds_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", {"svm": 0.5}, macro__enabled=False)
    write_run(tmp_path / "b", {"svm": 0.75}, protocol__name="holdout_dataset")
    write_run(tmp_path / "c", done=1)
    assert main(["compare", str(tmp_path), "--csv", "-"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("Not comparable, different protocol: loso in a, c; holdout")
    frame = pd.read_csv(io.StringIO(captured.out), dtype=str, keep_default_na=False)
    assert list(frame) == (
        "name status head uf1 uf1_low uf1_high uar uar_low uar_high accuracy accuracy_low "
        "accuracy_high validation samples persons seconds parameters latency_ms protocol.name "
        "macro.enabled"
    ).split(" ")
    best, last = frame.iloc[0], frame.iloc[2]
    assert best[["name", "uf1", "uf1_low", "uf1_high"]].tolist() == ["b", "0.75", "0.65", "0.95"]
    assert best[["samples", "parameters", "macro.enabled"]].tolist() == ["3", "1234567", "true"]
    assert last[["status", "uf1", "samples"]].tolist() == ["incomplete: 1 of 3 folds", "", ""]


def test_files_are_written_beside_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "runs" / "a", {"svm": 0.5}, model__name="x|y", seed=0)
    write_run(tmp_path / "runs" / "b", {"svm": 0.6}, model__name="z", seed=0)
    csv, markdown = tmp_path / "out" / "t.csv", tmp_path / "other" / "t.md"
    lines = shown(capsys, tmp_path / "runs", "--csv", csv, "--markdown", markdown)
    assert lines[4][0] == "b"
    assert pd.read_csv(csv)["uf1"].tolist() == [0.6, 0.5]
    assert markdown.read_text() == (
        "Pooled scores, 95 % intervals over persons. All runs: complete, head svm, 3 samples, "
        "3 persons, 1,234,567 parameters.\n\n"
        "| run | UF1 | UAR | accuracy | seconds | latency ms | model.name |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        "| b | 0.600 [0.50, 0.80] | 0.610 [0.51, 0.81] | 0.620 [0.52, 0.82] | 61 | 9.1 | z |\n"
        "| a | 0.500 [0.40, 0.70] | 0.510 [0.41, 0.71] | 0.520 [0.42, 0.72] | 61 | 9.1 | x\\|y |\n"
    )


def test_comparing_imports_no_torch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"svm": 0.5})
    program = (
        f"import sys; from mer.cli import main; main(['compare', {str(run)!r}]);"
        "print([m for m in ('torch', 'wandb', 'optuna', 'cv2', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.usefixtures("one_thread")
def test_real_runs_are_read_as_they_were_written(
    tiny_config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    from mer import runner

    words = ["protocol.validation=0.3", "macro.enabled=false", "model.epochs=1"]
    words += ["protocol.n_splits=2"]
    results = [
        runner.run(tiny_config(*words, f"seed={seed}"), tmp_path / str(seed)) for seed in (0, 1)
    ]
    comparison = compared([tmp_path], sort="name")
    assert list(comparison.keys) == ["seed"]
    for row, result in zip(comparison.frame.to_dict("records"), results, strict=True):
        expected = result["heads"]["svm"]["pooled"]
        assert row["uf1"] == expected["uf1"]
        assert [row["uar_low"], row["uar_high"]] == expected["intervals"]["uar"]
        assert row["validation"] == result["validation"]["svm"]["pooled"]["uf1"]
        assert row["parameters"] == result["cost"]["parameters"]
        assert row["samples"] == expected["samples"]
    (note,) = comparison.notes
    mean = sum(result["heads"]["svm"]["pooled"]["uf1"] for result in results) / 2
    assert note.startswith(f"0, 1: seeds 0, 1: UF1 mean {mean:.3f} (min ")
