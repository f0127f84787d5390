"""Run directories as they are typed, and folders without a run beside them."""

from pathlib import Path

import pytest

from mer.cli import main
from mer.errors import MerError
from mer.runs.run_folders import is_rest_of_run, require_runs, with_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in ("a", "b", "sweep/0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    return tmp_path


def test_folders_without_a_run_are_left_out_of_a_glob(
    runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert with_run(sorted(runs.iterdir())) == [runs / "a", runs / "b", runs / "notes.txt"]
    assert caplog.messages == [
        f"left out, since they hold no run: {runs / 'empty'}, {runs / 'sweep'}"
    ]
    assert with_run([f"{runs}/a:svm", f"{runs}/empty"]) == [f"{runs}/a:svm"]
    assert with_run([runs / "empty"]) == [runs / "empty"]  # there would be none


def test_all_that_are_no_run_directories_are_named(runs: Path) -> None:
    require_runs([runs / "a", runs / "b"], writes=True)
    (runs / "gone").symlink_to("nowhere")
    (runs / "empty" / "metrics-NULL.json").touch()
    require_runs([runs / "empty"], is_rest_of_run)
    with pytest.raises(MerError) as error:
        require_runs([runs / name for name in ("a", "empty", "sweep", "notes.txt", "gone", "swep")])
    assert str(error.value).splitlines() == [
        "this is asked of run directories:",
        f"  - {runs}/empty is no run directory: it has no config.yaml. Name one, such as runs/demo",
        f"  - {runs}/sweep is no run directory: it has no config.yaml; in it are 0. Name one, such "
        f"as {runs}/sweep/0",
        f"  - {runs}/notes.txt is a file; name the directory of a run",
        f"  - {runs}/gone does not exist: check its path",
        f"  - {runs}/swep does not exist (closest: {runs}/sweep)",
    ]


@pytest.mark.parametrize("command", ["report", "audit", "evaluate"])
def test_commands_say_so_before_anything_is_read(
    runs: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(runs / "sweep")]) == 2
    assert f"Name one, such as {runs}/sweep/0" in capsys.readouterr().err
    assert list((runs / "sweep").iterdir()) == [runs / "sweep" / "0"]
