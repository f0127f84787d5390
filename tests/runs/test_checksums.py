"""Files of a finished run that were edited, lost or added show wherever the run is read."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mer.cli import main
from mer.errors import MerError
from mer.runs import checksums
from tests.report import report_inputs


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A finished run of one fold, with checksums."""
    made = report_inputs.write_run(tmp_path / "run")
    folder = made / "folds" / "s1"
    folder.mkdir(parents=True)
    for name in ("evidence.json", "predictions.parquet", "model.ckpt", ".lock"):
        (folder / name).write_text(name)
    checksums.write(made, metrics(made))
    return made


def metrics(run_dir: Path) -> dict[str, object]:
    return dict(json.loads((run_dir / "metrics.json").read_text()))


def append(path: Path) -> None:
    path.write_text(path.read_text() + " ")


def edit_predictions(run_dir: Path) -> None:
    path = run_dir / "predictions.parquet"
    table = pd.read_parquet(path)
    table.assign(svm=table["label"]).to_parquet(path)


def edit_scores(run_dir: Path) -> None:
    content = metrics(run_dir)
    content["heads"]["svm"]["pooled"]["uf1"] = 0.99  # type: ignore[index]
    (run_dir / "metrics.json").write_text(json.dumps(content))


def look_again(run_dir: Path) -> None:
    """What `mer evaluate` may change of a run."""
    (run_dir / "metrics.json").write_text(json.dumps({**metrics(run_dir), "looks": 2}))
    (run_dir / "evaluation-C=1.json").write_text("{}")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "predictions": (edit_predictions, "predictions.parquet is changed"),
    "settings": (lambda run: append(run / "config.yaml"), "config.yaml is changed"),
    "evidence": (
        lambda run: append(run / "folds/s1/evidence.json"),
        "folds/s1/evidence.json is changed",
    ),
    "a fold's files": (
        lambda run: (run / "folds/s1/predictions.parquet").unlink(),
        "folds/s1/predictions.parquet is missing",
    ),
    "a fold more": (
        lambda run: (run / "folds/s1/validation.parquet").write_text(""),
        "folds/s1/validation.parquet is new",
    ),
    "scores": (edit_scores, "scores of metrics.json is changed"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_named_in_a_comparison(
    kind: str, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, expected = CHANGES[kind]
    change(run_dir)
    assert main(["compare", str(run_dir), "--no-tests"]) == 0
    assert f"{expected} since the run was finished" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("no_figures")
def test_a_change_is_named_above_a_report(run_dir: Path) -> None:
    edit_predictions(run_dir)
    top = report_inputs.read(run_dir, quick=True).sections[""]
    assert "predictions.parquet is changed since the run was finished" in top


def test_a_fold_named_like_a_folder_outside_is_refused_by_table_and_page(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_dir / "manifest.parquet"
    pd.read_parquet(path).assign(fold="../../x").to_parquet(path)
    for command in (["compare", str(run_dir)], ["report", "--quick", str(run_dir)]):
        assert main(command) == 2
        assert "has a fold named '../../x', which is no folder inside" in capsys.readouterr().err


def test_a_run_as_it_was_finished_has_no_changes(run_dir: Path) -> None:
    assert checksums.changes(run_dir, metrics(run_dir), networks=True) == []
    look_again(run_dir)
    assert checksums.changes(run_dir, metrics(run_dir), networks=True) == []


def test_checkpoints_are_read_when_asked_for(run_dir: Path) -> None:
    append(run_dir / "folds/s1/model.ckpt")
    assert checksums.changes(run_dir, metrics(run_dir)) == []
    [sentence] = checksums.changes(run_dir, metrics(run_dir), networks=True)
    assert sentence == "folds/s1/model.ckpt is changed since the run was finished"


def test_only_files_of_the_run_are_read_whatever_the_checksums_name(run_dir: Path) -> None:
    path = run_dir / checksums.FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "../../secret": "0" * 64}))
    [sentence] = checksums.changes(run_dir, metrics(run_dir))
    assert sentence == "../../secret is missing since the run was finished"
    path.write_text("[1]")
    with pytest.raises(MerError, match=r"checksums.json is damaged"):
        checksums.changes(run_dir, metrics(run_dir))


def test_a_run_without_checksums_is_of_an_earlier_version(run_dir: Path) -> None:
    (run_dir / checksums.FILE).unlink()
    append(run_dir / "config.yaml")
    assert checksums.changes(run_dir, metrics(run_dir)) == []
