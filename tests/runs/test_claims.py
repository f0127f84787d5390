"""Claiming a run directory: what is refused leaves it as it was."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mer.config.settings import Settings
from mer.errors import MerError
from mer.files import write_json
from mer.runs import claims


def fail(run_dir: Path, error: Exception, *more: str, settings: Settings | None = None) -> None:
    """Claim a directory, write a plan and some more files into it, and fail."""
    with claims.claimed(run_dir, settings or Settings()):
        (run_dir / "manifest.parquet").touch()
        (run_dir / "train.log").touch()
        for name in more:
            (run_dir / name).mkdir()
        raise error


def started(where: str) -> dict[str, object]:
    """An entry of `environment.json`."""
    return {"started": where, "data_hash": "0", "distinct": [], "seed": 0}


@pytest.mark.parametrize("there", [False, True])
def test_a_start_that_is_refused_leaves_the_directory_as_it_was(
    tmp_path: Path, there: bool
) -> None:
    run_dir = tmp_path / "run"
    if there:
        run_dir.mkdir()
    with pytest.raises(MerError, match="twins"):
        fail(run_dir, MerError("twins"), ".hydra")
    assert run_dir.exists() == there
    assert not there or not list(run_dir.iterdir())


def test_what_has_computed_something_or_crashed_stays(tmp_path: Path) -> None:
    with pytest.raises(MerError):
        fail(tmp_path / "logged", MerError("late"), "wandb")
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "crashed", ZeroDivisionError())
    assert (tmp_path / "logged" / "config.yaml").exists()
    assert (tmp_path / "crashed" / "config.yaml").exists()


def test_a_directory_that_another_process_started_in_stays(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with pytest.raises(MerError, match="refused"), claims.claimed(run_dir, Settings()):
        write_json([started("here"), started("there")], run_dir / "environment.json")
        raise MerError("refused")
    assert (run_dir / "config.yaml").exists()


def test_what_was_computed_before_a_refusal_stays(tmp_path: Path) -> None:
    with pytest.raises(MerError), claims.claimed(tmp_path / "run", Settings()) as computed:
        computed()
        raise MerError("after hours of pretraining")
    assert (tmp_path / "run" / "config.yaml").exists()


def test_a_refused_start_leaves_the_run_that_has_taken_its_place(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with pytest.raises(MerError, match="refused"), claims.claimed(run_dir, Settings()):
        claims.claim(run_dir, Settings(seed=3))  # by another process
        write_json([started("there")], run_dir / "environment.json")
        raise MerError("refused")
    assert claims.check(run_dir, Settings(seed=3))
    assert (run_dir / "environment.json").exists()


def test_a_start_of_another_process_is_no_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Path.iterdir

    def begun(folder: Path) -> list[Path]:
        """Another process starts just before the files are looked at."""
        monkeypatch.undo()
        claims.claim(folder, Settings())
        (folder / "manifest.parquet").touch()
        return list(listed(folder))

    (tmp_path / "run").mkdir()
    monkeypatch.setattr(Path, "iterdir", begun)
    assert claims.check(tmp_path / "run", Settings())


def test_checking_writes_nothing_and_another_run_is_refused(tmp_path: Path) -> None:
    assert not claims.check(tmp_path / "new", Settings())
    assert not (tmp_path / "new").exists()
    claims.claim(tmp_path / "run", Settings(seed=3))
    assert claims.check(tmp_path / "run", Settings(seed=3))
    assert not claims.check(tmp_path / "run", Settings())  # it has not begun
    claims.claim(tmp_path / "run", Settings(seed=3), replace=False)  # it begins
    with pytest.raises(MerError, match=r"another configuration.*\n  - seed: 3 there, 0 now"):
        fail(tmp_path / "run", MerError("never"))
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").seed == 3
