"""Sentences for what pydantic finds wrong with settings: the key, its value, and what to set."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

#: Error type of pydantic -> what to set; `{}` is filled with the bound or the choices.
EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping",
    "none_required": "null",
    "greater_than_equal": "{ge} or more",
    "greater_than": "a number above {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "a number below {lt}",
    "string_too_short": "text of {min_length} or more characters",
    "too_short": "a list of {min_length} or more values",
    "literal_error": "{expected}",
}


def sentences(
    error: ValidationError, known: Iterable[str], prefix: str = "", nullable: Iterable[str] = ()
) -> list[str]:
    """Write one sentence per wrong key; alternatives of a union are joined by `or`.

    Args:
        error: Error of pydantic.
        known: Every dotted key that exists, for suggestions.
        prefix: Dotted key of the settings that were validated, empty for all of them.
        nullable: Dotted keys that may be null; pydantic does not name this alternative.
    """
    may_be_null = set(nullable)
    expected: dict[str, list[str]] = {}
    values: dict[str, Any] = {}
    for one in error.errors(include_url=False):
        key = ".".join(filter(None, [prefix, *_keys(one["loc"])]))
        values.setdefault(key, one["input"])
        if one["type"] == "unexpected_keyword_argument":
            text = f"there is no such key ({closest(key, known)})"
        elif one["type"] in EXPECTED:
            text = EXPECTED[one["type"]].format(**_plain(one.get("ctx") or {}))
        else:
            text = one["msg"]
        expected.setdefault(key, []).append(text)
    for key in may_be_null & expected.keys():
        expected[key].append("null")
    inner = {key.rpartition(".")[0] for key in expected if key.rpartition(".")[2].isdigit()}
    return [
        f"{key}: {texts[0]}"
        if texts[0].startswith("there is no")
        else f"{key} is {shown(values[key])}; set {_joined(texts)}"
        for key, texts in expected.items()
        if key not in inner
    ]


def closest(key: str, known: Iterable[str]) -> str:
    """Name up to three existing keys: like the whole key, or with the same last part.

    Where nothing is close, the keys beside it are listed, or those on the top level.
    """
    keys = list(known)
    last = {one: one.rpartition(".")[2] for one in keys}
    close = difflib.get_close_matches(key, keys, n=3, cutoff=0.7)
    tails = difflib.get_close_matches(key.rpartition(".")[2], set(last.values()), n=2, cutoff=0.7)
    close += [one for one in keys if last[one] in tails and one not in close]
    if close:
        return f"closest: {', '.join(close[:3])}"
    parent = key.rpartition(".")[0]
    beside = [last[one] for one in keys if parent and one.rpartition(".")[0] == parent]
    if beside:
        return f"below {parent}: {', '.join(beside)}"
    return f"on the top level: {', '.join(one for one in keys if '.' not in one)}"


def shown(value: Any) -> str:
    """Write a value as YAML would."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if value != "" else "empty"


def _keys(location: tuple[int | str, ...]) -> list[str]:
    """Parts of a location that are keys or positions, without the alternatives of a union."""
    return [
        str(part) for part in location if not re.match(r"(str|bool|int|float)$|.*[\[-]", str(part))
    ]


def _plain(context: Mapping[str, Any]) -> dict[str, Any]:
    """Bounds without a trailing .0, choices without quotes."""
    plain = {}
    for name, value in context.items():
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        plain[name] = value.replace("'", "") if isinstance(value, str) else value
    return plain


def _joined(texts: list[str]) -> str:
    return " or ".join(dict.fromkeys(texts))
