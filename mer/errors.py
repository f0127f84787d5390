"""The one error type for problems that a user can mend.

The command line prints a `MerError` without a traceback and exits with status 2, so its message
must say which file or key is meant, what was found, what was expected and what to type.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator


class MerError(Exception):
    """A problem with the user's files, configuration or machine, with its mend in the message."""


def raise_all(headline: str, problems: Iterable[str]) -> None:
    """Raise one `MerError` that lists every problem, or do nothing when there is none.

    Args:
        headline: First line: the task that failed.
        problems: One sentence each, naming the file or key, what was found and what to type.

    Raises:
        MerError: If `problems` is not empty.
    """
    listed = list(problems)
    if listed:
        raise MerError("\n".join([headline, *(f"  - {problem}" for problem in listed)]))


def interruption(stop: BaseException) -> KeyboardInterrupt | None:
    """The Ctrl-C or SIGTERM behind an exception; during training Lightning exits in its place."""
    interrupt = stop.__context__ if isinstance(stop, SystemExit) else stop
    return interrupt if isinstance(interrupt, KeyboardInterrupt) else None


@contextlib.contextmanager
def when_stopped(kept: str | Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C or SIGTERM inside say what is kept, unless a call further in has said so.

    Args:
        kept: The sentence, or what makes it at that moment.

    Raises:
        KeyboardInterrupt: With the sentence.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        interrupt = interruption(stop)
        if interrupt is None:
            raise
        sentence = str(interrupt) or (kept if isinstance(kept, str) else kept())
        raise KeyboardInterrupt(sentence) from stop


@contextlib.contextmanager
def ctrl_c_restored() -> Iterator[None]:
    """Let Ctrl-C do afterwards what it did before: Lightning ignores it for good after the first.

    A notebook and a program that go on after an interrupted run can be stopped again.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGINT, before)


def one_line(error: Exception) -> str:
    """Return a message on one line, at most 200 characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


#: Class of an error that a library raises for a file -> what it means.
_FLAWS = {
    "ArrowInvalid": "no Parquet file, or cut off",
    "BadZipFile": "no archive, or cut off",
    "EOFError": "cut off",
    "JSONDecodeError": "no JSON, or cut off",
    "RecursionError": "too many levels",
    "UnicodeDecodeError": "no text in UTF-8",
    "UnpicklingError": "no file of tensors, or cut off",
}


def flaw(error: Exception) -> str:
    """What is wrong with a file that a library could not read."""
    if "allow_pickle" in str(error):  # NumPy's advice to run the code that a file may hold
        return "no array of numbers, or cut off"
    return _FLAWS.get(type(error).__name__) or one_line(error)


def printable(text: str) -> str:
    r"""Write control characters, and those that turn the direction of text, as `\x1b`.

    Names of files, persons and classes may come from others; a terminal obeys such characters.

    >>> printable("plain\x1b[2J")
    'plain\\x1b[2J'
    """
    return "".join(
        repr(one)[1:-1] if ord(one) in _UNPRINTABLE and one not in "\n\t" else one for one in text
    )


#: Control characters, and marks and overrides of the direction of text.
_UNPRINTABLE = frozenset(
    [
        *range(0x20),
        *range(0x7F, 0xA0),
        0x200E,
        0x200F,
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    ]
)
