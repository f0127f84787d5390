"""Cores, memory, and a process pool that survives its workers' deaths and ends with its parent."""

import logging
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from mer import processes
from mer.errors import MerError

log = logging.getLogger(__name__)

GIB = 2**30


@pytest.fixture(autouse=True)
def no_worker_stays() -> Iterator[None]:
    yield
    processes.end()


def square(number: int) -> tuple[int, int]:
    if number == 2:
        log.info("too low to be told")
        log.warning("in the worker: %s", number)
    return number * number, os.getpid()


def stop_once(folder: Path, number: int) -> int:
    """Kill the worker of piece 1, the first time."""
    if number == 1 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def stop_always(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


class Unsendable(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fail(error: str, number: int) -> int:
    if number == 1:
        raise {"mer": MerError("disk full"), "unsendable": Unsendable(1, 2)}[error]
    return number


def slow(number: int) -> int:
    time.sleep(60)
    return number


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def group(folder: Path, **files: str) -> Path:
    """A control group with some files; `_` in a name is a dot."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    return folder


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job with 1.5 cores and 4 GiB, 3 of them taken, a third of that by files; in a machine."""
    job = group(
        tmp_path / "job",
        cpu_max="150000 100000",
        memory_max=str(4 * GIB),
        memory_current=str(3 * GIB),
        memory_stat=f"anon {2 * GIB}\ninactive_file {GIB}\n",
    )
    machine = group(tmp_path / "machine", cpu_max="max 100000", memory_max="max")
    monkeypatch.setattr(processes, "_control_groups", lambda: [job, machine])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def test_a_container_limits_cores_and_memory(groups: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert processes.cores() == 2  # 1.5, rounded up
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert processes.cores() == 1
    assert processes.free_memory() == 2 * GIB  # 4 - 3 + the files, which are given up


def test_without_a_container_the_machine_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(processes, "_control_groups", list)
    assert processes.cores() == len(os.sched_getaffinity(0))
    assert 0 < processes.free_memory() < 2**50


def test_pieces_are_done_by_workers_that_stay(caplog: pytest.LogCaptureFixture) -> None:
    rounds = [dict(processes.run([square] * 2, range(5))) for _ in range(2)]
    for results in rounds:
        assert {number: result[0] for number, result in results.items()} == {
            number: number**2 for number in range(5)
        }
    pids = [{result[1] for result in results.values()} for results in rounds]
    assert os.getpid() not in pids[0] | pids[1]
    assert len(pids[0] | pids[1]) <= 2
    assert [record.getMessage() for record in caplog.records] == ["in the worker: 2"] * 2


def test_this_process_works_too_if_asked_to_or_alone() -> None:
    alone = dict(processes.run([square], range(3)))
    assert {result[1] for result in alone.values()} == {os.getpid()}
    beside = dict(processes.run([square], range(3), here=square))
    assert os.getpid() in {result[1] for result in beside.values()}
    assert list(processes.run([square] * 2, [])) == []


@pytest.mark.parametrize("beside", [True, False])
def test_a_killed_worker_is_named_and_its_piece_done_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, beside: bool
) -> None:
    work = partial(stop_once, tmp_path)
    if beside:  # this process must not be the one that is killed
        here = partial(pass_on, tmp_path)
        results = processes.run([work], range(4), here=here, name="piece {}".format)
    else:
        results = processes.run([work] * 2, range(4), name="piece {}".format)
    assert sorted(piece for piece, _ in results) == [0, 1, 2, 3]
    assert "piece 1 has ended by SIGKILL (often for want of memory)" in caplog.text


def pass_on(folder: Path, number: int) -> int:
    """What this process does: nothing before a worker has taken piece 1 and died of it."""
    wait_until((folder / "killed").exists)
    return number


def test_a_piece_that_kills_every_worker_is_given_up() -> None:
    results = processes.run([stop_always] * 2, range(3), fewer="with workers=1")
    with pytest.raises(MerError, match=r"of 1 has ended by SIGKILL.*3 times.*with workers=1"):
        list(results)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [("mer", MerError, r"^disk full"), ("unsendable", RuntimeError, r"Unsendable: 1 and 2")],
)
def test_an_error_is_raised_with_its_traceback_and_ends_the_workers(
    error: str, kind: type[Exception], message: str
) -> None:
    others = processes._idle[:-2]  # of earlier tests
    with pytest.raises(kind, match=message) as caught:
        list(processes.run([partial(fail, error)] * 2, range(3)))
    assert "in fail" in "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert processes._idle == others


def test_workers_end_when_the_work_is_left_early() -> None:
    others = processes._idle[:-2]  # of earlier tests
    with closing(processes.run([square, slow], range(8))) as results:
        pid = next(results)[1][1]
    wait_until(lambda: not alive(pid))
    assert processes._idle == others


def test_ctrl_c_ends_the_workers() -> None:
    others = processes._idle[:-2]  # of earlier tests
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the suite may be started without
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        list(processes.run([slow] * 2, range(2)))
    assert processes._idle == others


SCRIPT = """
import os, sys, time
from mer import processes

def work(number):
    if number:
        time.sleep(60)
    return os.getpid()

print("once", flush=True)
for _, pid in processes.run([work] * 2, [0, 1]):
    print(pid, flush=True)
"""


def test_a_script_needs_no_main_guard_and_workers_end_when_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "once\n"
    pid = int(process.stdout.readline())
    assert alive(pid)
    process.kill()
    process.wait()
    wait_until(lambda: not alive(pid))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_freed_memory_returns_to_the_system() -> None:
    script = """
from mer import processes

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

blocks = [bytearray(100_000) for _ in range(1000)]  # 100 MB below the size that is mapped alone
between = blocks[::2]  # live on between those that are freed
del blocks
held = resident()
processes.return_freed_memory()
print(held - resident() > 40e6)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
