"""`mer` commands in processes of their own, with a fault at a chosen moment.

A command runs in a child of a fork server that has imported mer's libraries already, so it starts
at once. The fault comes when a function of mer is called for the n-th time.
"""

import contextlib
import importlib
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["mer.cli.train", "mer.training.runner", "mer.report.run_page", "mer.deploy.model_files"]
)


@dataclass(frozen=True)
class Signals:
    """The process sends itself a signal, and perhaps another one soon after."""

    first: signal.Signals
    second: signal.Signals | None = None

    def strike(self) -> None:
        if self.second is not None:
            threading.Timer(0.02, os.kill, (os.getpid(), self.second)).start()
        os.kill(os.getpid(), self.first)
        time.sleep(1)  # a signal that nobody answers must not go unnoticed


@dataclass(frozen=True)
class FullDisk:
    """Somebody else fills the disk."""

    folder: Path

    def strike(self) -> None:
        fill(self.folder)


@dataclass(frozen=True)
class Moment:
    """When a function is called for the n-th time.

    Args:
        target: `module:function` or `module:Class.method`.
        call: Number of the call, from 1.
    """

    target: str
    call: int = 1

    def plant(self, strike: Callable[[], None]) -> None:
        """Let the fault come at this moment."""
        module, _, path = self.target.partition(":")
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for one in owners:
            owner = getattr(owner, one)
        function, calls = getattr(owner, name), 0

        def wrapper(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == self.call:
                strike()
            return function(*arguments, **options)

        setattr(owner, name, wrapper)


@dataclass(frozen=True)
class Ended:
    """A command that has ended.

    Args:
        status: Exit status; negative after a signal.
        output: What it has printed.
        left: Command lines of processes that it has left behind.
    """

    status: int
    output: str
    left: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What it says of its end; not more than one sentence of `mer:`."""
        lines = [line for line in self.output.splitlines() if line.startswith("mer: ")]
        assert len(lines) <= 1, self.output
        return lines[0] if lines else ""


def run(
    words: Sequence[str],
    folder: Path,
    moment: Moment | None = None,
    fault: Signals | FullDisk | None = None,
) -> Ended:
    """Run `mer WORDS` in a folder until it ends."""
    output = folder.parent / f"{folder.name}-output.txt"
    arguments = (list(words), str(folder), str(output), moment, fault)
    child = _CONTEXT.Process(target=_run, args=arguments)
    child.start()
    child.join(300)
    assert child.exitcode is not None, f"{words} does not end:\n{output.read_text()}"
    return Ended(child.exitcode, output.read_text(errors="replace"), _left(child.pid or 0))


def fill(folder: Path) -> None:
    """Fill the disk of a folder with a file, to the last byte."""
    with (folder / "filler").open("ab", buffering=0) as stream, contextlib.suppress(OSError):
        for size in (2**20, 2**12, 1):
            with contextlib.suppress(OSError):
                while True:
                    stream.write(b"\0" * size)


def unfinished(folder: Path) -> list[str]:
    """Temporary files and folders below a folder."""
    pattern = re.compile(r"\.unfinished-.*|\..*\.partial|\..*\.tmp|.*\.dropped\.csv\.\d+|tmp.*")
    found = (path for path in folder.rglob("*") if pattern.fullmatch(path.name))
    return sorted(str(path.relative_to(folder)) for path in found)


def _run(words: list[str], folder: str, output: str, moment: Moment | None, fault: Any) -> None:
    os.setsid()
    os.chdir(folder)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    multiprocessing.process._parent_process = None  # type: ignore[attr-defined]
    from mer import cli

    if moment is not None:
        moment.plant(fault.strike)
    sys.argv = ["mer", *words]
    status = cli.main()
    sys.stdout.flush()
    sys.exit(status)


def _left(session: int) -> tuple[str, ...]:
    """Command lines of the processes of a session, once they have had time to end."""
    end = time.monotonic() + 10
    while (left := _members(session)) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def _members(session: int) -> tuple[str, ...]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            state, _, _, member = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(member) == session and state != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return tuple(found)
