"""Words of a command line that Hydra cannot read, and the form of them that it can.

Hydra's grammar takes letters of ASCII and some signs; anything else stands between double quotes,
which bash in turn needs between single ones.
"""

import re
import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

_CLOSING = {"[": "]", "{": "}", "(": ")"}


def is_readable(word: str) -> bool:
    """Whether Hydra's grammar takes a word."""
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True


def quoted(value: str) -> str:
    r"""Put a value between double quotes, as Hydra reads it back.

    >>> print(quoted('d/cas(me)3'), quoted('a "b"'), quoted('C:\\'))
    "d/cas(me)3" "a \"b\"" "C:\\"
    """
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), value)
    return f'"{escaped}"'


def readable(word: str) -> str | None:
    """A word that Hydra reads and that says what an unreadable one meant; None if there is none.

    An open bracket is closed, other values are quoted, and a word without `=` names a directory.
    """
    key, equals, value = word.partition("=")
    if not equals:
        return f"run.dir={quoted(word)}"
    candidates = (f"{key}={form}" for form in (value + _missing(value), quoted(value)))
    return next((word for word in candidates if is_readable(word)), None)


def sentence(word: str, problem: str) -> str:
    """Say what to type in place of a word, exactly as bash takes it."""
    mend = readable(word)
    if mend is None:
        return f"{word}: {problem}; keys are made of a-z, 0-9, _ and dots"
    key, _, value = word.partition("=")
    if re.search(r"\b(interval|range)\(", value):
        examples = "interval(0, 0.5), tag(log, interval(1e-4, 1e-2)) or range(10, 40, 10)"
        return f"{word}: Hydra cannot read this; it takes numbers, as in {examples}"
    text = f"{word}: Hydra cannot read this; type {shlex.quote(mend)}"
    if "Unknown function" in problem:
        text = f"{word}: {problem}. If it is text, type {shlex.quote(mend)}"
    if key.lstrip("+") == "data.root":
        text += f", or leave it out and type before: export MER_DATA={shlex.quote(value)}"
    return text


def _missing(value: str) -> str:
    """The brackets that a value opens and does not close."""
    open_: list[str] = []
    for sign in value:
        if sign in _CLOSING:
            open_.append(_CLOSING[sign])
        elif open_ and sign == open_[-1]:
            open_.pop()
    return "".join(reversed(open_)) if value[:1] in ("[", "{") else ""
