"""Searches of real runs by real processes: killed, continued, and shared by two workers."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pandas as pd
import pytest
from omegaconf import OmegaConf

from mer.search.study import open_storage

pytestmark = pytest.mark.slow

TOTAL = 5


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of an empty database on a server of its own, on loopback."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'mer[postgres]'")
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    initdb = shutil.which("initdb") or next((str(h / "initdb") for h in homes), None)
    if initdb is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    binaries = Path(initdb).resolve().parent
    as_user: list[str] = []
    # Not below pytest's folder, which the server's user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="mer-postgres-"))
    if os.geteuid() == 0:  # the server refuses to run as root
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no runuser")
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    port = str(20000 + os.getpid() % 20000)

    def command(name: str, *words: str) -> None:
        done = subprocess.run(
            [*as_user, str(binaries / name), *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    data = str(folder / "data")
    command("initdb", "-D", data, "-U", "mer", "-A", "trust")
    options = f"-p {port} -h 127.0.0.1 -k {folder}"
    command("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        command("createdb", "-h", "127.0.0.1", "-p", port, "-U", "mer", "searches")
        yield f"postgresql://mer@127.0.0.1:{port}/searches"
    finally:
        command("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else request.getfixturevalue("postgres")


@pytest.fixture
def start(
    tiny_words: list[str], tmp_path: Path, storage: str | None
) -> Iterator[Callable[[], subprocess.Popen]]:
    """Start a worker of one and the same search, as typed on the command line."""
    workers: list[subprocess.Popen] = []
    words = [
        "search=mobilevit_tpe",
        f"search.dir={tmp_path / 'search'}",
        f"search.n_trials={TOTAL}",
        f"hydra.sweeper.study_name={tmp_path.name}",
        f"hydra.sweeper.storage={storage or 'null'}",
        *tiny_words,
        "protocol.n_splits=3",
        "model.epochs=4",
        "macro.epochs=1",
        "model.transfer.blocks=all",
    ]

    def begin() -> subprocess.Popen:
        log = (tmp_path / f"worker-{len(workers)}.log").open("w")
        worker = subprocess.Popen(
            [sys.executable, "-m", "mer.cli", "train", "-m", *words],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        workers.append(worker)
        return worker

    yield begin
    for worker in workers:
        worker.kill()
        worker.wait()


def kill_in_the_middle_of_a_trial(worker: subprocess.Popen, home: Path) -> tuple[Path, Path]:
    """Kill -9 when a trial after the first has some folds but not all; give it and a done fold."""
    limit = time.time() + 300
    while time.time() < limit:
        assert worker.poll() is None, "the search ended before it could be killed"
        for trial in sorted(home.glob("[1-9]*")):
            done = sorted(trial.glob("folds/*/predictions.parquet"))
            if 0 < len(done) < 3:
                worker.send_signal(signal.SIGKILL)
                worker.wait()
                return trial, done[0]
        time.sleep(0.01)
    raise AssertionError("no trial got to its first fold")


def check_result(home: Path, storage: str | None, name: str) -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name=name, storage=open_storage(storage, home))
    finished = [t for t in study.trials if t.state.name in ("COMPLETE", "PRUNED")]
    assert len(finished) == TOTAL
    assert all(trial.state.name != "RUNNING" for trial in study.trials)
    folders = {path.name for path in home.glob("[0-9]*")}
    assert folders == {str(t.number) for t in study.trials if "directory" in t.user_attrs}
    results = OmegaConf.load(home / "optimization_results.yaml")
    assert results.best_value == pytest.approx(study.best_value)
    assert Path(results.directory) == home / str(study.best_trial.number)
    return study.trials


def test_a_killed_search_goes_on_where_it_stopped(
    start: Callable[[], subprocess.Popen], tmp_path: Path, storage: str | None
) -> None:
    home = tmp_path / "search"
    trial, done = kill_in_the_middle_of_a_trial(start(), home)
    first = home / "0" / "metrics.json"
    before = (done.stat().st_mtime_ns, first.stat().st_mtime_ns)
    assert start().wait(600) == 0
    trials = check_result(home, storage, tmp_path.name)
    # Neither the finished trial nor the finished fold of the killed one was done again.
    assert (done.stat().st_mtime_ns, first.stat().st_mtime_ns) == before
    assert len(trials) == TOTAL
    assert trials[int(trial.name)].user_attrs["attempts"] == 2
    if storage is None:
        the_printed_commands_say_what_the_best_trial_said(home, tmp_path / "elsewhere")


def the_printed_commands_say_what_the_best_trial_said(home: Path, elsewhere: Path) -> None:
    results = OmegaConf.load(home / "optimization_results.yaml")
    elsewhere.mkdir()
    lines = [line for step in results.commands.values() for line in step.split(" && ")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MER_")}
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "mer"
        done = subprocess.run(
            [sys.executable, "-m", "mer.cli", *words],
            cwd=elsewhere,
            env=environment | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert not list(elsewhere.iterdir())
    best, number = Path(results.directory), results.best_trial
    runs = (best, home / f"best-{number}")
    pd.testing.assert_frame_equal(*(pd.read_parquet(run / "predictions.parquet") for run in runs))
    assert set(pd.read_parquet(home / f"final-{number}" / "splits.parquet")["side"]) == {
        "train",
        "test",
    }
    assert (home / f"final-{number}-all" / "model.onnx").exists()


def test_four_workers_that_start_at_once_share_a_search(
    start: Callable[[], subprocess.Popen], tmp_path: Path, storage: str | None
) -> None:
    workers = [start() for _ in range(4)]
    assert [worker.wait(900) for worker in workers] == [0] * 4
    trials = check_result(tmp_path / "search", storage, tmp_path.name)
    points = [tuple(trial.params.values()) for trial in trials]
    assert len(set(points)) == len(points) == TOTAL
    assert [trial.number for trial in trials if "default" in trial.user_attrs] == [0]


def test_two_workers_share_a_search_and_one_is_killed(
    start: Callable[[], subprocess.Popen], tmp_path: Path, storage: str | None
) -> None:
    home = tmp_path / "search"
    first, second = start(), start()
    kill_in_the_middle_of_a_trial(first, home)
    third = start()
    assert second.wait(600) == 0
    assert third.wait(600) == 0
    trials = check_result(home, storage, tmp_path.name)
    points = [tuple(trial.params.values()) for trial in trials]
    assert len(set(points)) == len(points)
