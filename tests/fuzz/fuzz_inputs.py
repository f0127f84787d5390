"""What all fuzz tests share: mutated text and bytes, and the watch over a check.

Only a `MerError` may come of an input, within seconds, without that any of its content is run.
"""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mer.errors import MerError

#: Longest time of one input, in seconds; a loaded machine needs some.
SECONDS = 60

#: Audit events of a process that runs something or unpickles.
RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork")
RUNS += ("pickle.find_class", "socket.connect")

#: Pieces that have broken parsers before.
PIECES = ["inf", "-inf", "nan", "1e400", "-1", "006", "6.0", "3.7", "9" * 25, "9" * 5000, "²", "٣"]
PIECES += [
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    ",",
    ";",
    '"',
    "'",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "+",
    "/",
]
PIECES += [
    "null",
    "true",
    "~",
    "-",
    "#",
    ":",
    "*x",
    "&x",
    "!!python/object:os.system",
    "${oc.env:HOME}",
]
PIECES += ["=cmd|' /C calc'!A0", "A" * 300, "é", "😀", "\ufeff", "__class__", "_target_", "../" * 5]

_RAN: list[str] = []
_WATCHED: list[bool] = []


def _listen(event: str, _: tuple[Any, ...]) -> None:
    if _WATCHED and event in RUNS:
        _RAN.append(event)


@cache
def _begin_to_listen() -> None:
    """Add the hook, which stays and is called for every `id()` from now on."""
    sys.addaudithook(_listen)


@contextmanager
def watched() -> Iterator[None]:
    """Fail where an input hangs or something of it is run."""

    def hang(_: int, __: FrameType | None) -> None:
        raise AssertionError(f"no answer within {SECONDS} s")

    _begin_to_listen()
    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    _RAN.clear()
    _WATCHED.append(True)
    try:
        yield
    finally:
        _WATCHED.pop()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert not _RAN


def fuzz(inputs: st.SearchStrategy[Any], examples: int, check: Callable[[Any], object]) -> None:
    """Call a check with inputs that are the same in every session; it may raise `MerError`."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def carry_out(value: Any) -> None:
        with watched():
            try:
                check(value)
            except MerError as error:
                assert str(error).strip()

    carry_out()


def sizes(fast: int, long: int) -> pytest.MarkDecorator:
    """Run a test with few examples, and by the marker `slow` with many."""
    return pytest.mark.parametrize("examples", [fast, pytest.param(long, marks=pytest.mark.slow)])


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[str], most: int = 4) -> str:
    """One of some texts with up to `most` changes; now and then a text of any kind."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.text(max_size=60))
    text = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, most))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 6)))
        piece = draw(
            st.one_of(st.sampled_from(PIECES), st.text(max_size=3), st.just(text[start:end]))
        )
        text = text[:start] + piece + text[end:]
    return text


@st.composite
def mutated_bytes(draw: st.DrawFn, content: bytes, most: int = 6) -> bytes:
    """Some bytes with up to `most` changes, or cut short."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, max(0, len(changed) - 1)))
        end = start + draw(st.integers(0, 4))
        changed[start:end] = draw(st.binary(max_size=4))
    return bytes(changed[: draw(st.integers(0, len(changed)))] if draw(st.booleans()) else changed)
