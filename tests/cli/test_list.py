"""`mer list` and `--config-dir`: what can be chosen, things of one's own included."""

from pathlib import Path

import pytest

from mer.cli import list_command
from mer.config.catalogue import GROUPS, KINDS, entries, summarise
from mer.config.composition import check_words, compose, conf_dir
from mer.datasets import READERS
from mer.errors import MerError


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for path, text in {
        "input/edges.yaml": "# Edges. A second sentence.\nname: edges\nsize: 48\n",
        "protocol/plain.yaml": "name: loso\nvalidation: 0.0\n",
        "logger/mine.yaml": "mine:\n  _target_: mer.loggers.csv.CsvLogger\n",
        "logger/lost.yaml": "lost:\n  _target_: nolab.Logger\n",
        "experiment/mine.yaml": "# @package _global_\n# Two lines\n# of it.\n\nseed: 5\n",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_everything_of_the_package_is_listed_with_a_sentence() -> None:
    for kind in KINDS:
        listed = entries(kind)
        assert all(entry.summary for entry in listed), kind
        if kind in GROUPS:
            files = (conf_dir() / GROUPS[kind]).glob("*.yaml")
            assert {entry.name for entry in listed} == {path.stem for path in files}
    assert {entry.name for entry in entries("readers")} == set(READERS)


def test_own_files_are_listed_beside_the_others(own: Path) -> None:
    mine = {entry.name: entry for entry in entries("inputs", own) if entry.own}
    assert mine["edges"].choice == "input=edges"
    assert mine["edges"].summary == "Edges"
    assert len(entries("inputs", own)) == len(entries("inputs")) + 1


@pytest.mark.parametrize(
    ("path", "summary"),
    [
        ("protocol/plain.yaml", ""),
        ("logger/mine.yaml", "Adds a line to `history.csv` of the run directory after every fold"),
        ("experiment/mine.yaml", "Two lines of it"),
    ],
)
def test_a_summary_is_the_first_sentence(own: Path, path: str, summary: str) -> None:
    assert summarise(own / path) == summary


def test_a_class_that_is_not_there_does_not_end_the_list(own: Path) -> None:
    assert "there is no package nolab" in summarise(own / "logger/lost.yaml")


def test_the_command_prints_choices(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_command.main(["inputs", "--config-dir", str(own)]) == 0
    shown = capsys.readouterr().out
    assert "input=edges (yours)" in shown
    assert "backbone=" not in shown
    for kind in ("backbone", "callbacks", "heads", "search", "data"):  # one thing, or the group
        assert list_command.main([kind]) == 0
    assert "backbone=pixels" in capsys.readouterr().out
    with pytest.raises(
        MerError, match=r"kind bakbone \(closest: backbones; all: readers, datasets"
    ):
        list_command.main(["bakbone"])
    with pytest.raises(MerError, match="there is no folder nowhere"):
        list_command.main(["--config-dir", "nowhere"])


def test_own_files_are_composed(own: Path) -> None:
    cfg = compose(["input=edges", "experiment=mine"], config_dir=own)
    assert (cfg.input.name, cfg.input.size, cfg.seed) == ("edges", 48, 5)
    for option in (["--config-dir", str(own)], [f"--config-dir={own}"], ["-cd", str(own)]):
        assert check_words(["input=edges", *option]).input.size == 48
    with pytest.raises(MerError, match=r"there is no input/edge \(closest: edges"):
        check_words(["input=edge", "--config-dir", str(own)])
    with pytest.raises(MerError, match="--config-dir: there is no folder"):
        compose([], config_dir=own / "absent")
    with pytest.raises(MerError, match="--config-dir needs the folder"):
        check_words(["--config-dir"])
