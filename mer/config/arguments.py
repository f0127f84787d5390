"""What is wrong with the arguments that a node of a configuration gives to a class or function."""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

#: Arguments that a node of a configuration can give.
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def misfit(
    signature: inspect.Signature,
    options: Mapping[str, Any],
    without_name: int,
    error: Exception,
) -> str:
    """Say which arguments a class or function does not know or lacks, and what it takes.

    Args:
        signature: What it takes.
        options: Arguments by name.
        without_name: Number of arguments before them.
        error: What Python says of them.
    """
    named = {name: one for name, one in signature.parameters.items() if one.kind in _BY_NAME}
    unknown = unknown_arguments(options, named)
    lacking = [
        name
        for name, one in list(named.items())[without_name:]
        if one.default is one.empty and name not in options
    ]
    if not unknown and not lacking:
        return f"does not take these arguments: {error}"
    words = ([f"takes no {' and no '.join(unknown)}"] if unknown else []) + (
        [f"needs {' and '.join(lacking)}"] if lacking else []
    )
    return f"{' and '.join(words)}; it takes {', '.join(named) or 'no argument'}"


def unknown_arguments(given: Iterable[str], known: Iterable[str]) -> list[str]:
    """The names that are not known, each with the closest one that is.

    >>> unknown_arguments(["depht", "width"], ["depth", "width"])
    ['depht (closest: depth)']
    """
    names, shown = list(known), []
    for name in given:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            shown.append(f"{name} (closest: {close[0]})" if close else name)
    return shown
