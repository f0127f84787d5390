"""Real runs on two devices: alone, as a multirun, started from outside, and broken."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from mer.errors import MerError
from mer.runs.observers import Observer, Progress
from mer.training import distributed, runner
from mer.training.ranks import Child, Place

Config = Callable[..., DictConfig]

TWO = ("trainer.devices=2", "macro.enabled=false", "protocol.n_splits=2", "model.epochs=1")


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """The ranks that a run starts in this process."""
    started = []

    class Recorded(Child):
        def __init__(self, place: Place, folder: Path) -> None:
            super().__init__(place, folder)
            started.append(self)

    monkeypatch.setattr(distributed, "Child", Recorded)
    return started


def predicted_once(run_dir: Path) -> bool:
    """Whether the pooled predictions hold every sample of the manifest exactly once."""
    found = pd.read_parquet(run_dir / "predictions.parquet")["sample_id"]
    return sorted(found) == sorted(pd.read_parquet(run_dir / "manifest.parquet")["sample_id"])


def test_two_devices_train_a_fold_and_leave_nothing_behind(
    tiny_config: Config, tmp_path: Path, children: list[Child], one_thread: None
) -> None:
    before = dict(os.environ)
    cfg = tiny_config(*TWO, "model.batch_size=4")
    assert runner.run(cfg, tmp_path)["status"] == "complete"
    assert predicted_once(tmp_path)
    assert [child.process.returncode for child in children] == [0]
    assert not torch.distributed.is_initialized()
    assert torch.get_num_threads() == 1
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_PORT", "OMP_NUM_THREADS")
    assert [os.environ.get(key) for key in ranks] == [before.get(key) for key in ranks]
    # Both had half of the samples, so there are half as many steps.
    folds = pd.read_csv(tmp_path / "folds.csv").set_index("fold")
    for name, samples in folds["train_samples"].items():
        content = torch.load(tmp_path / "folds" / name / "model.ckpt", weights_only=True)
        assert content["global_step"] == (samples + 1) // 2 // 4
    assert len(json.loads((tmp_path / "environment.json").read_text())) == 1


@pytest.mark.slow
def test_macro_pretraining_on_two_devices_is_scored_on_each_sample_once(
    tiny_config: Config, tmp_path: Path, children: list[Child], one_thread: None
) -> None:
    cfg = tiny_config(*TWO, "macro.enabled=true", "selection=validation", "protocol.validation=0.3")
    cache = tmp_path / "cache"
    cache.mkdir()
    prepared = Path(cfg.paths.cache, "prepared")
    prepared.mkdir(parents=True, exist_ok=True)
    (cache / "prepared").symlink_to(prepared)
    cfg.paths.cache = str(cache)
    runner.run(cfg, tmp_path / "run")
    assert predicted_once(tmp_path / "run")
    folder = next((cache / "macro").iterdir())
    report = json.loads((folder / "pretraining.json").read_text())
    right = report["accuracy"] * report["validation_samples"]
    assert right == pytest.approx(round(right), abs=1e-4)
    assert not (folder / "last.ckpt").exists()
    record = json.loads(next((tmp_path / "run").glob("folds/*/fold.json")).read_text())
    assert record["best_epoch"] == 0
    # Another run finds the weights, and both ranks know.
    made = (folder / "best.ckpt").stat().st_mtime_ns
    runner.run(cfg, tmp_path / "again")
    assert (folder / "best.ckpt").stat().st_mtime_ns == made
    assert [child.process.returncode for child in children] == [0, 0]


@pytest.mark.slow
def test_multirun_on_two_devices_does_every_job_once(tiny_words: list[str], tmp_path: Path) -> None:
    words = ["seed=0,1", "protocol.n_splits=2", *TWO, f"hydra.sweep.dir={tmp_path}"]
    command = [sys.executable, "-m", "mer.cli", "train", "-m", *tiny_words, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Run directory:") == 2
    for job in ("0", "1"):
        assert predicted_once(tmp_path / job)
        assert json.loads((tmp_path / job / "metrics.json").read_text())["seed"] == int(job)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "multirun.yaml"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "rank 1 ended by SIGKILL"),
        ("raise MerError('the disk is full')", "rank 1 failed: the disk is full"),
    ],
)
def test_loss_of_a_rank_ends_the_run_with_its_reason(
    deed: str,
    said: str,
    tiny_config: Config,
    tmp_path: Path,
    children: list[Child],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = f"""
        import os, signal
        import pytorch_lightning as pl
        from mer.errors import MerError

        class Loss(pl.Callback):
            def on_train_epoch_end(self, trainer, pl_module):
                if trainer.global_rank == 1:
                    {deed}
    """
    module = f"loss_of_rank_{len(deed)}"
    (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cfg = tiny_config(*TWO, f"+callbacks.loss._target_={module}.Loss", "model.epochs=50")
    started = time.monotonic()
    with pytest.raises(MerError, match=said):
        runner.run(cfg, tmp_path / "run")
    assert time.monotonic() - started < 90
    assert all(child.process.poll() is not None for child in children)
    assert not torch.distributed.is_initialized()
    assert "LOCAL_RANK" not in os.environ


@pytest.mark.slow
def test_an_observer_that_stops_the_run_stops_all_ranks(
    tiny_config: Config, tmp_path: Path, children: list[Child]
) -> None:
    class Pruner(Observer):
        def fold(self, progress: Progress) -> None:
            raise InterruptedError(progress.fold)

    with pytest.raises(InterruptedError):
        runner.run(tiny_config(*TWO), tmp_path / "run", [Pruner()])
    assert children[0].process.poll() is not None
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_ranks_end_when_the_process_that_started_them_is_killed(
    tiny_words: list[str], tmp_path: Path
) -> None:
    words = [*tiny_words, "protocol.n_splits=2", *TWO[:-1], "model.epochs=100000"]
    command = [sys.executable, "-m", "mer.cli", "train", *words, f"run.dir={tmp_path / 'run'}"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # a killed process leaves its log there
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment)
    history = tmp_path / "run" / "folds"
    try:
        wait_for(lambda: any(history.glob("*")), 120)  # both ranks are about to train
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        others = [int(pid) for pid in listed if b"mer.training.distributed" in cmdline(int(pid))]
        assert len(others) == 1
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait_for(lambda: b"mer.training.distributed" not in cmdline(others[0]), 20)


@pytest.mark.slow
def test_ranks_that_torchrun_has_started_make_one_run(
    tiny_words: list[str], tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from mer import distributed, train\n"
        "words = sys.argv[1:]\n"
        "sys.exit(distributed.lead_or_follow(words, lambda: train.main(words)))\n"
    )
    words = [*tiny_words, "seed=0,1", "protocol.n_splits=2", *TWO, f"hydra.sweep.dir={tmp_path}/m"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    torchrun += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    command = [*torchrun, str(script), "-m", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Run directory:") == 2
    assert predicted_once(tmp_path / "m" / "0")
    assert predicted_once(tmp_path / "m" / "1")


@pytest.mark.slow
def test_a_rank_from_outside_may_call_the_runner_itself(
    tiny_config: Config, tmp_path: Path
) -> None:
    """As tasks of a submitit job do; only rank 0's run directory is made."""
    OmegaConf.save(tiny_config(*TWO), tmp_path / "cfg.yaml", resolve=True)
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from pathlib import Path\n"
        "from omegaconf import OmegaConf\n"
        "from mer import runner\n"
        f"home = Path({str(tmp_path)!r})\n"
        "rank = os.environ['RANK']\n"
        "result = runner.run(OmegaConf.load(home / 'cfg.yaml'), home / f'run{rank}')\n"
        "(home / f'status{rank}').write_text(result['status'])\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    torchrun += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    subprocess.run([*torchrun, str(script)], timeout=300, check=True, capture_output=True)
    assert predicted_once(tmp_path / "run0")
    assert [(tmp_path / f"status{rank}").read_text() for rank in "01"] == ["complete"] * 2
    assert not (tmp_path / "run1").exists()


def cmdline(pid: int) -> bytes:
    """Command line of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_for(reached: Callable[[], bool], seconds: float) -> None:
    """Wait until a state is reached, or fail."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.2)
