"""`mer compare`: what it reads and writes, and what it says of files that are none of its own."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import DictConfig

from mer import compare
from mer.cli import main
from mer.compare.candidates import shortest_ends
from mer.errors import MerError
from tests.compare.compare_inputs import compared, names, shown, write_run


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
    _, _, problems = capsys.readouterr().err.partition("mer: error: These cannot be compared:\n")
    assert problems.splitlines() == [
        f"  - {tmp_path}/runs/dmeo does not exist (closest: {run})",
        f"  - {run}/folds lies inside a run: type {run}",
        f"  - {tmp_path}/papers/thesis.tex is a file: name the directory of a run, which has a "
        "config.yaml, or predictions as .csv or .parquet",
        f"  - {tmp_path}/far/away does not exist: check its path",
        f"  - {broken}/metrics.json is damaged (no JSON, or cut off): remove it; `mer train` "
        f"with the same words and run.dir={broken} writes it again",
        f"  - {foreign}/config.yaml names no protocol: it is not one of `mer train`",
    ]


def test_folders_without_a_run_are_left_out_unless_none_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.tex").touch()
    paths = [tmp_path / "empty", tmp_path / "papers"]
    assert main(["compare", *map(str, paths)]) == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        f"  - {tmp_path}/empty holds no run (found nothing): name a run directory or a folder "
        "of them",
        f"  - {tmp_path}/papers holds no run (found thesis.tex): name a run directory or a "
        "folder of them",
    ]
    demo = write_run(tmp_path / "demo", {"svm": 0.5})
    assert [run.directory for run in compare.read([*paths, demo])] == [demo]
    assert caplog.messages == [f"left out, since they hold no run: {paths[0]}, {paths[1]}"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", "[]", r"metrics.json is damaged \(no dict in it"),
        ("metrics.json", '{"status": "complete"}', "but there are no scores in it"),
        (
            "metrics.json",
            '{"status": "complete", "heads": {"svm": {"pooled": {}}}}',
            r"\['uf1'\] is NoneType",
        ),
        ("environment.json", "{}", r"environment.json is damaged \(no list in it"),
        ("config.yaml", "a: [1", "config.yaml is damaged"),
        ("manifest.parquet", "no table", "manifest.parquet is damaged .*writes it again"),
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
        "name status group head uf1 uf1_low uf1_high uar uar_low uar_high accuracy accuracy_low "
        "accuracy_high baseline validation samples persons seconds parameters latency_ms warnings "
        "protocol.name macro.enabled"
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
    lines = shown(capsys, tmp_path / "runs", "--no-tests", "--csv", csv, "--markdown", markdown)
    assert lines[4][0] == "b"
    assert pd.read_csv(csv)["uf1"].tolist() == [0.6, 0.5]
    assert markdown.read_text() == (
        "Pooled scores, 95 % intervals over persons. All runs: complete, head svm, 3 samples, "
        "3 persons, 1,234,567 parameters.\n\n"
        "| run | UF1 | UAR | accuracy | seconds | latency ms | name |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        "| b | 0.600 [0.50, 0.80] | 0.610 [0.51, 0.81] | 0.620 [0.52, 0.82] | 61 | 9.1 | z |\n"
        "| a | 0.500 [0.40, 0.70] | 0.510 [0.41, 0.71] | 0.520 [0.42, 0.72] | 61 | 9.1 | x\\|y |\n"
        # A class has 1 of 3 samples. It is guessed once, twice, three times with 12, 6, 1 of 27,
        # and F1 is then 1/3, 4/9, 1/2 on average.
        "\nGuessing by class frequency gives UF1 0.265, UAR 0.333, accuracy 0.333 on average; "
        "always the commonest class UF1 0.167, UAR 0.333, accuracy 0.333.\n"
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
    from mer.training import runner

    # Of three folds some have the same validation persons, who count once.
    words = ["protocol.validation=0.5", "macro.enabled=false", "model.epochs=1"]
    words += ["protocol.n_splits=3"]
    results = [
        runner.run(tiny_config(*words, f"seed={seed}"), tmp_path / str(seed)) for seed in (0, 1)
    ]
    comparison = compared([tmp_path], sort="name")
    assert list(comparison.keys) == ["seed"]
    for row, result in zip(comparison.frame.to_dict("records"), results, strict=True):
        expected = result["heads"]["svm"]["pooled"]
        assert row["uf1"] == expected["uf1"]
        assert [row["uar_low"], row["uar_high"]] == expected["intervals"]["uar"]
        validation = result["validation"]["svm"]["pooled"]
        assert validation["predictions"] > validation["samples"]
        assert row["validation"] == validation["uf1"]
        assert row["parameters"] == result["cost"]["parameters"]
        assert row["samples"] == expected["samples"]
    # A busy machine is noted, too.
    (note,) = [one for one in comparison.notes if not one.startswith("Latencies")]
    mean = sum(result["heads"]["svm"]["pooled"]["uf1"] for result in results) / 2
    assert note.startswith(f"0, 1: seeds 0, 1: UF1 mean {mean:.3f} (min ")
