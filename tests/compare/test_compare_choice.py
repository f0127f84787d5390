"""`mer compare` of runs that are to be chosen from, and of the runs of one W&B group."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from mer.cli import main
from mer.compare.comparison import NO_VALIDATION
from tests.compare.compare_inputs import compared, names, shown, write_run


def sweep(folder: Path, validated: bool = True) -> Path:
    """Two runs of a sweep: the one with the better test score validates worse."""
    for name, test, validation in (("0", 0.9, 0.3), ("1", 0.5, 0.6)):
        more = {"validation": {"svm": {"pooled": {"uf1": validation}}}} if validated else {}
        heads, varied = {"svm": test, "baseline": 0.4}, {"trial": {"varied": ["model.lr"]}}
        write_run(folder / name, heads, more=more, model__lr=test, **varied)
    return folder


def test_a_sweep_is_sorted_by_validation_and_shows_no_test_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sweep(tmp_path / "lr")
    lines = shown(capsys, folder)
    header = next(cells for cells in lines if cells[0] == "run")
    assert not {"UF1", "UAR", "accuracy", "baseline UF1"} & set(header)
    at = header.index("validation UF1")
    assert [row[at] for row in lines if row[0] in ("0", "1")] == ["0.600", "0.300"]
    said = " ".join(cells[0] for cells in lines)
    assert "--test shows them" in said and "separable" not in said and "Guessing" not in said
    assert main(["compare", str(folder), "--csv", "-"]) == 0
    frame = pd.read_csv(io.StringIO(capsys.readouterr().out), dtype={"name": str})
    assert frame["name"].tolist() == ["1", "0"]
    assert frame[["uf1", "uar_low", "accuracy", "baseline"]].isna().all(axis=None)
    assert main(["compare", str(folder), "--markdown", "-"]) == 0
    assert "0.900" not in capsys.readouterr().out


def test_test_scores_of_a_sweep_are_shown_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, sweep(tmp_path / "lr"), "--test", "--no-tests")
    assert [cells[:2] for cells in lines if cells[0] in ("0", "1")] == [
        ["0", "0.900 [0.80, 1.10]"],
        ["1", "0.500 [0.40, 0.70]"],
    ]


def test_the_order_does_not_tell_what_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(sweep(tmp_path / "lr")), "--sort", "uf1"]) == 2
    assert "add --test" in capsys.readouterr().err


def test_a_sweep_without_validation_persons_has_nothing_to_choose_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, sweep(tmp_path / "lr", validated=False))
    assert NO_VALIDATION in " ".join(cells[0] for cells in lines)


def test_the_chosen_run_alone_and_other_runs_show_their_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, other = sweep(tmp_path / "lr"), write_run(tmp_path / "other", {"svm": 0.7})
    lines = shown(capsys, folder / "1", other, "--no-tests")
    assert ["other", "0.700 [0.60, 0.90]"] in [cells[:2] for cells in lines]


def test_a_wandb_group_picks_its_runs_out_of_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, group in (("a", "rates"), ("b", "rates"), ("c", "seeds"), ("d", None)):
        run = write_run(tmp_path / "runs" / name, {"svm": 0.5})
        (run / "wandb.json").write_text(json.dumps({"id": name, "group": group}))
    write_run(tmp_path / "runs" / "e", {"svm": 0.6}, logger={"wandb": {"group": "seeds"}})
    monkeypatch.chdir(tmp_path)
    lines = shown(capsys, "--group", "seeds", "--no-tests")  # of the folder runs/
    assert "All runs: complete, W&B group seeds, head svm" in lines[0][0]
    assert [cells[0] for cells in lines if cells[0] in {*"abcde"}] == ["e", "c"]
    everything = compared([Path("runs")])
    assert everything.frame.set_index("name")["group"].dropna().to_dict() == {
        "e": "seeds",
        "a": "rates",
        "b": "rates",
        "c": "seeds",
    }
    assert names(everything) == ["e", "a", "b", "c", "d"]
    assert main(["compare", "runs", "--group", "rate"]) == 2
    assert "their groups are: rates, seeds" in capsys.readouterr().err
