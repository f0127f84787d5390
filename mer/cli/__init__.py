"""The `mer` command: finds the subcommand, runs it and turns user errors into one readable message.

Subcommands are imported only when they are called, so `mer --help` answers at once.
"""

import atexit
import contextlib
import difflib
import gc
import importlib
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple

import mer
from mer import processes
from mer.cli import failures
from mer.errors import MerError, interruption, printable


class Command(NamedTuple):
    """One subcommand.

    Attributes:
        target: `module:function`; the function takes the remaining words, returns the exit status.
        summary: One line for `mer --help`.
        kept: What an interrupted run leaves behind, said after Ctrl-C unless the command itself
            raises `KeyboardInterrupt` with a more exact sentence.
    """

    target: str
    summary: str
    kept: str = "Nothing was written."


COMMANDS: dict[str, Command] = {
    "synth": Command(
        "mer.cli.synth:main",
        "write synthetic corpora in the folder layouts of the real datasets",
        "Finished clips are kept; the same command writes the missing ones.",
    ),
    "prepare": Command(
        "mer.cli.prepare:main",
        "find faces, align, compute flow and store what training reads",
        "Finished samples are kept; the same command goes on with the missing ones.",
    ),
    "train": Command(
        "mer.cli.train:main",
        "pretrain, fine-tune and score one protocol, all folds",
        "Finished folds are kept in the run directory; the same run goes on with the missing ones.",
    ),
    "evaluate": Command(
        "mer.cli.evaluate:main",
        "score a finished run again from its checkpoints",
        "The run directory is as it was.",
    ),
    "spot": Command(
        "mer.cli.spot:main",
        "find expressions in videos: onset, apex and offset; scores on datasets of long videos",
        "Inputs that are finished have their files.",
    ),
    "compare": Command(
        "mer.cli.compare:main",
        "put runs side by side: scores with intervals, cost, and the settings that differ",
        "The run directories are as they were.",
    ),
    "ensemble": Command(
        "mer.cli.ensemble:main",
        "average the scores of several runs into a run of its own",
    ),
    "report": Command(
        "mer.cli.report:main",
        "show a run on one page: scores, data, mistakes, where the network looks, settings",
        "The run directory is as it was.",
    ),
    "wandb": Command(
        "mer.cli.wandb:main",
        "wandb report: arrange logged runs at Weights & Biases, as a file or sent",
        "The run directories are as they were.",
    ),
    "audit": Command(
        "mer.cli.audit:main",
        "check from the files of a run whether anything speaks against its score",
        "Folds that --null has finished are kept; the same command goes on.",
    ),
    "predict": Command(
        "mer.cli.predict:main",
        "label the expressions of a video, a folder of frames, two pictures or a camera",
        "Pictures and tables of finished clips are kept in --out.",
    ),
    "app": Command(
        "mer.cli.app:main",
        "open a page on this machine: drop a clip or use the camera, see what the model says",
        "No clip is kept.",
    ),
    "export": Command(
        "mer.cli.export:main",
        "write a model with all its heads into one ONNX file",
        "The run directory is as it was.",
    ),
    "bench": Command(
        "mer.cli.bench:main",
        "measure latency, throughput of training and start-up on this machine",
        "What was measured is in the JSON file, if one was named.",
    ),
    "cache": Command(
        "mer.cli.cache:main",
        "list or remove what is kept for later runs: stores, inputs, features, weights, networks",
        "What was removed is made again when it is needed.",
    ),
    "weights": Command(
        "mer.cli.weights:main",
        "list the weights that come with the package, or train them anew",
        "Finished epochs are kept below paths.cache; the same command goes on.",
    ),
    "list": Command(
        "mer.cli.list_command:main",
        "list datasets, readers, inputs, backbones, labels, heads, loggers, yours included",
    ),
    "doctor": Command(
        "mer.cli.doctor:main",
        "check Python, packages, device, face model and datasets, with the mend of each problem",
    ),
}

COMPLETION = Command("mer.cli.completion:main", "TAB completion", "")


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: The words after `mer`; by default those of the process.

    Returns:
        0 for success, 1 for a fault of mer, 2 for a problem that the user can mend, 130 after
        Ctrl-C, 141 if nobody reads its output on (`mer list | head`), 143 after SIGTERM, else what
        the subcommand returns. With `MER_DEBUG=1` errors keep their traceback.
    """
    words = (sys.argv[1:] if argv is None else list(argv)) or ["--help"]
    if "--shell-completion" in words:
        words = ["--shell-completion", *words[words.index("--shell-completion") + 1 :]]
    debug = os.environ.get("MER_DEBUG", "") not in ("", "0")
    # Threads that wait should sleep: spinning ones starve each other when the cores are shared. A
    # benchmark has the machine for itself, and a baseline that would not sleep.
    if words[0] != "bench":
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if argv is None:  # ends a second sooner than by a look for garbage among a million objects
        atexit.register(gc.freeze)
    _set_up_logging(debug)
    with _sigterm_interrupts(leaving=argv is None) as terminated:
        try:
            return _carry_out(words)
        except Exception as error:
            if isinstance(error, BrokenPipeError) and _unread():
                return 141
            if debug:
                raise
            failure = failures.explain(error)
            print(f"mer: error: {printable(failure.sentence)}", file=sys.stderr)
            return failure.status
        except (KeyboardInterrupt, SystemExit) as stop:
            if isinstance(stop.__context__, BrokenPipeError):  # Rich exits in its place
                return 141
            interrupt = interruption(stop)
            if interrupt is None:
                raise
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # while the workers are ended
            if debug:
                traceback.print_exc()
            kept = COMMANDS[words[0]].kept if words[0] in COMMANDS else ""
            word, status = ("terminated", 143) if terminated else ("stopped", 130)
            print(f"\nmer: {word}. {printable(str(interrupt) or kept)}", file=sys.stderr)
            return status
        finally:
            processes.end()


def _carry_out(words: list[str]) -> int:
    """Run a subcommand, or say which there are, until all that it prints is out."""
    try:
        if words[0] in ("-h", "--help", "help"):
            print(usage())
            return 0
        if words[0] in ("-V", "--version", "version"):
            print(f"mer {mer.__version__}")
            return 0
        command = COMPLETION if words[0] == "--shell-completion" else _find(words[0])
        module, function = command.target.split(":")
        return int(getattr(importlib.import_module(module), function)(words[1:]))
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()  # else Python does it at its end, where an error is a traceback


def _unread() -> bool:
    """Whether nobody reads standard output any more; what is still held for it goes nowhere."""
    with contextlib.suppress(OSError):  # it is no file, but the output of a notebook
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        if poll.poll(0):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return True
    return False


@contextlib.contextmanager
def _sigterm_interrupts(leaving: bool) -> Iterator[list[int]]:
    """Let SIGTERM stop a command as Ctrl-C does; the list is not empty when one has come.

    A process that was started with SIGTERM ignored, or by a program with a handler of its own,
    keeps to that.

    Args:
        leaving: Whether the process ends with the command: Ctrl-C, once ignored, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends what hangs
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if before[signal.SIGTERM] == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield received
    finally:
        ends = leaving and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        for number, handler in before.items():
            if handler is not None and not ends:  # None is not Python's
                signal.signal(number, handler)


class Printable(logging.Formatter):
    """Writes control characters out, since messages hold names from files; also in `conf/`."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a message."""
        return printable(super().format(record))


def usage() -> str:
    """Return the text of `mer --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            f"mer {mer.__version__}: micro-expression recognition",
            "",
            "usage: mer COMMAND [ARGUMENT ...]",
            "",
            *lines,
            "",
            "`mer COMMAND --help` explains a command; `mer train` without an argument trains on",
            "synthetic data. MER_DATA names the folder of your datasets, MER_DEBUG=1 shows the",
            "traceback of an error. Exit status: 0 done, 1 a fault of mer, 2 something to mend,",
            "130 after Ctrl-C, 143 after SIGTERM; others are explained by the commands.",
            "",
            'TAB completes words after: eval "$(mer --shell-completion install=bash)" (zsh, fish).',
        ]
    )


def _find(name: str) -> Command:
    """Return the command of that name, or raise `MerError` with the closest ones."""
    if name in COMMANDS:
        return COMMANDS[name]
    close = difflib.get_close_matches(name, COMMANDS, n=2)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there is {', '.join(COMMANDS)}."
    raise MerError(f"unknown command '{name}'; {hint} `mer --help` explains them.")


def _set_up_logging(debug: bool) -> None:
    """Log the package's progress to stderr in short lines; other libraries only from WARNING on."""
    handler = logging.StreamHandler()
    handler.setFormatter(Printable("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.raiseExceptions = debug  # no traceback for each line that nobody reads: `| head`
    logging.getLogger("mer").setLevel(logging.DEBUG if debug else logging.INFO)
