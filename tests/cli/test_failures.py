"""Errors of libraries and of the system, and signals, end a command with a sentence."""

import contextlib
import errno
import importlib
import logging
import os
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException
from sqlalchemy.exc import OperationalError

from mer import cli
from mer.cli.failures import explain
from mer.errors import MerError, when_stopped
from mer.files import naming, write_json
from mer.runs.terminal import console


def system_error(number: int, *names: str) -> OSError:
    return OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize(
    ("error", "sentence", "status"),
    [
        (MerError("b.csv has no column y"), "b.csv has no column y", 2),
        (system_error(errno.ENOSPC, "runs/a"), "runs/a: the disk is full. Free some space", 2),
        (system_error(errno.EROFS, "runs/a"), "runs/a: nothing can be written there. Make", 2),
        (system_error(errno.EACCES, "d/x"), "d/x: this user must not use it. Change its perm", 2),
        (system_error(errno.ENAMETOOLONG, "x"), "x: the name is too long for the file system.", 2),
        (system_error(errno.ENOENT, "x"), "x: it is not there. Check the path.", 2),
        (system_error(errno.EFBIG, "x"), "x: a file must not become that large here (see", 2),
        (
            FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
            "the folders for temporary files are full or cannot be written. Free some space",
            2,
        ),
        # Errors of copies name the source first, and it is the target that is full.
        (
            OSError(errno.ENOSPC, "no space", "/tmp/a", None, "runs/model.ckpt"),
            "runs/model.ckpt: the disk is full.",
            2,
        ),
        # PyArrow and PyTorch say it in words of their own.
        (
            OSError("Failed to open 'x'. Detail: [errno 30] Read-only file system"),
            "Failed to open 'x'. Detail: [errno 30] Read-only file system: nothing can be written",
            2,
        ),
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
            "[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534: the disk is fu",
            2,
        ),
        (MemoryError(), "the memory is used up. Set trainer.folds_at_once=1", 2),
        (RuntimeError("CUDA out of memory. Tried"), "the memory is used up.", 2),
        (MissingConfigException("no group search/x"), "no group search/x", 2),
        (
            OperationalError("SELECT", {}, Exception("malformed")),
            "the study of the search cannot be used: (builtins.Exception) malformed",
            2,
        ),
        (ValueError("x"), "ValueError: x (place unknown). This is a fault of mer", 1),
    ],
)
def test_an_error_is_explained(error: Exception, sentence: str, status: int) -> None:
    told = explain(error)
    assert told.sentence.startswith(sentence)
    assert told.status == status


def test_an_unfinished_file_is_named_as_it_would_have_been(tmp_path: Path) -> None:
    name = f".unfinished-{'0' * 32}-fold.json"
    told = explain(system_error(errno.EROFS, str(tmp_path / name)))
    assert told.sentence.startswith(f"{tmp_path / 'fold.json'}: nothing can be written")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").touch()
    with pytest.raises(NotADirectoryError) as caught:
        write_json({}, tmp_path / "a.json" / "b.json")
    assert "b.json: a file is where a folder is expected" in explain(caught.value).sentence


def test_a_write_that_the_disk_does_not_take_names_the_file() -> None:
    with pytest.raises(OSError, match="No space left") as caught, naming(Path("runs/model.ckpt")):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == "runs/model.ckpt"


def test_an_error_that_is_not_the_systems_passes_through() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), naming(Path("runs/model.ckpt")):
        raise RuntimeError("shapes differ")


def test_an_error_in_a_file_of_the_user_names_it_even_if_a_library_raised_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mynet.py").write_text("import json\n\ndef build():\n    json.loads('{')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError) as caught:
        importlib.import_module("mynet").build()
    told = explain(caught.value)
    assert told.status == 1
    assert f"({tmp_path}/mynet.py, line 4). Mend that file, or what it is given; " in told.sentence


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[list[str]], int]], None]:
    """Return a function that puts a given main behind `mer fake`."""

    def install(main: Callable[[list[str]], int]) -> None:
        module = types.ModuleType("mer_fake")
        module.main = main  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "mer_fake", module)
        monkeypatch.setitem(cli.COMMANDS, "fake", cli.Command("mer_fake:main", "", "Kept."))

    monkeypatch.delenv("MER_DEBUG", raising=False)
    return install


@pytest.mark.parametrize(
    ("sent", "status", "word"), [("SIGTERM", 143, "terminated"), ("SIGINT", 130, "stopped")]
)
def test_a_signal_ends_a_command_with_a_sentence(
    command: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    sent: str,
    status: int,
    word: str,
) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def main(argv: list[str]) -> int:
        with when_stopped(lambda: "2 of 3 folds are kept."):
            os.kill(os.getpid(), signal.Signals[sent])
            raise AssertionError("nobody has answered the signal")

    command(main)
    assert cli.main(["fake"]) == status
    assert capsys.readouterr().err == f"\nmer: {word}. 2 of 3 folds are kept.\n"
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize("by", ["print", "rich"])
@pytest.mark.parametrize("count", [1, 10_000])  # held back until the end, and not
def test_a_command_whose_output_nobody_reads_ends_quietly(
    command: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    by: str,
    count: int,
) -> None:
    def main(argv: list[str]) -> int:
        text = "words\n" * count
        print(text) if by == "print" else console().print(text)
        return 0

    command(main)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:  # closing it writes what it holds
        monkeypatch.setattr(sys, "stdout", stdout)
        assert cli.main(["fake"]) == 141
    assert capsys.readouterr().err == ""


def test_a_line_of_a_log_that_nobody_reads_is_no_traceback(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    def main(argv: list[str]) -> int:
        with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "w") as file:
            logging.StreamHandler(file).handle(logging.makeLogRecord({"msg": "words"}))
        return 0

    command(main)
    assert cli.main(["fake"]) == 0
    assert capsys.readouterr().err == ""


def test_a_table_can_be_printed_where_there_is_no_output(
    command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    command(lambda argv: console().print("a table") or 0)
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(["fake"]) == 0


def test_a_broken_pipe_to_another_process_is_an_error(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def main(argv: list[str]) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    command(main)
    assert cli.main(["fake"]) == 2
    assert "Broken pipe" in capsys.readouterr().err


def test_what_is_further_in_says_what_is_kept() -> None:
    with (
        pytest.raises(KeyboardInterrupt, match=r"^inner$"),
        when_stopped("outer"),
        when_stopped("inner"),
    ):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)  # as Lightning does


def test_an_exit_of_its_own_is_no_interrupt() -> None:
    with pytest.raises(SystemExit), when_stopped("kept"):
        sys.exit(3)


def test_a_command_that_was_started_with_sigterm_ignored_ignores_it(
    command: Callable[..., None],
) -> None:
    def main(argv: list[str]) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 7

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        command(main)
        assert cli.main(["fake"]) == 7
    finally:
        signal.signal(signal.SIGTERM, before)
