"""The folds of one run, carried out by Hydra's launchers, give what one process gives."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from mer.cli import main

SLURM = ("slurmctld", "slurmd", "srun", "sbatch")


@pytest.fixture
def words(tiny_words: list[str]) -> list[str]:
    """Words after `mer train` for a run of seconds, without its directory."""
    return [*tiny_words, "protocol.n_splits=2", "model.epochs=1", "macro.enabled=false"]


def train(*words: str, cwd: Path) -> str:
    """Run `mer train` as a command, with one thread; return what it and its jobs print."""
    done = subprocess.run(
        [sys.executable, "-m", "mer.cli", "train", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def predictions(run_dir: Path) -> pd.DataFrame:
    frame = pd.read_parquet(run_dir / "predictions.parquet")
    return frame.sort_values("sample_id", ignore_index=True)


def starts(run_dir: Path) -> int:
    return len(json.loads((run_dir / "environment.json").read_text()))


@pytest.fixture
def plain(words: list[str], tmp_path: Path, one_thread: None) -> pd.DataFrame:
    """Predictions of the run as one process carries it out."""
    assert main(["train", *words, f"run.dir={tmp_path / 'plain'}"]) == 0
    return predictions(tmp_path / "plain")


@pytest.mark.slow
def test_two_processes_of_joblib_share_one_run_in_its_default_directory(
    words: list[str], plain: pd.DataFrame, tmp_path: Path
) -> None:
    jobs = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "protocol.folds=split(2)"]
    out = train(*jobs, *words, cwd=tmp_path)
    # The directory's name holds the time, to the microsecond, and is the same in both jobs.
    (run_dir,) = tmp_path.glob("runs/synthetic-*/*")
    assert starts(run_dir) == 2
    pd.testing.assert_frame_equal(predictions(run_dir), plain, check_exact=True)
    assert out.count("majority class") == 1, "one table, of the whole run"


@pytest.mark.slow
def test_two_tasks_of_ray_share_one_run(
    words: list[str], plain: pd.DataFrame, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'mer[ray]'")
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="pip install 'mer[ray]'")
    run_dir = tmp_path / "run"
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # a short name: sockets lie in it
        options = {"num_cpus": 2, "include_dashboard": "false", "_temp_dir": folder}
        jobs = ["-m", "hydra/launcher=ray", "protocol.folds=split(2)", f"run.dir={run_dir}"]
        jobs += [f"+hydra.launcher.ray.init.{key}={value}" for key, value in options.items()]
        train(*jobs, *words, f"hydra.sweep.dir={tmp_path / 'jobs'}", cwd=tmp_path)
    assert starts(run_dir) == 2
    pd.testing.assert_frame_equal(predictions(run_dir), plain, check_exact=True)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: slurmd starts jobs as their users")
def test_four_jobs_of_slurm_share_one_run(words: list[str]) -> None:
    pytest.importorskip("submitit", reason="needs submitit: pip install 'mer[cluster]'")
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = [name for name in SLURM if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"Slurm is not installed: no {', '.join(missing)}")
    script = Path(__file__).parent / "slurm_one_node.sh"
    done = subprocess.run(
        [str(script), *words, "protocol.n_splits=4"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {"PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^OK: \d+ predictions of 4 Slurm jobs equal", done.stdout, re.MULTILINE)
