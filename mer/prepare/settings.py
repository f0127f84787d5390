"""Settings of the preparation: defaults, checks, and the part of them that a store depends on."""

from collections.abc import Mapping
from typing import Any

from mer.errors import raise_all
from mer.prepare import flow

#: Settings of the stage; `conf/prepare/default.yaml` explains each.
DEFAULTS: dict[str, Any] = {
    "faces": "landmarks",
    "size": 224,
    "margin": 0.15,
    "confidence": 0.5,
    "flow": flow.DEFAULTS,
    "array_channels": ["strain", "v", "u"],
    "workers": None,
}


def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fill the settings of the stage with the defaults.

    Raises:
        MerError: With every unknown key and wrong value.
    """
    filled = {**DEFAULTS, **settings}
    known = ", ".join(DEFAULTS)
    problems = [
        f"prepare.{key}: unknown key, expected one of {known}"
        for key in settings
        if key not in DEFAULTS
    ]

    def check(key: str, valid: bool, expected: str) -> None:
        if not valid:
            problems.append(f"prepare.{key}: {filled[key]!r}, expected {expected}")

    def number(key: str, low: float, high: float) -> bool:
        value = filled[key]
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        return numeric and low <= value <= high

    workers = filled["workers"]
    check("faces", filled["faces"] in ("landmarks", "as_is"), "landmarks or as_is")
    whole = isinstance(filled["size"], int) and number("size", 32, 1024)
    check("size", whole, "a whole number from 32 to 1024")
    check("margin", number("margin", -0.3, 2), "a number from -0.3 to 2")
    check("confidence", number("confidence", 0, 1), "a number from 0 to 1")
    counted = workers is None or (isinstance(workers, int) and workers >= 0)
    check("workers", counted, "null or a whole number from 0 up")
    check(
        "array_channels",
        sorted(filled["array_channels"] or []) == ["strain", "u", "v"],
        "u, v and strain in the order of the file",
    )
    problems += [f"prepare.{problem}" for problem in flow.check_settings(filled["flow"] or {})]
    raise_all("The preparation settings can't be used:", problems)
    filled["flow"] = flow.complete(filled["flow"] or {"method": None})
    return filled


def relevant(settings: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Keep the settings that change the arrays of a store.

    Args:
        settings: Filled by `complete`.
        kind: pictures, flow or image: what the samples of the store come from.
    """
    if kind == "flow":
        return {"array_channels": list(settings["array_channels"])}
    if kind == "image":
        return {}
    unused = {"array_channels", "workers"}
    if settings["faces"] == "as_is":
        unused |= {"margin", "confidence"}
    kept = {key: value for key, value in settings.items() if key not in unused}
    method = settings["flow"]["method"]
    others = {name for name in flow.METHODS if name != method}
    kept["flow"] = {key: value for key, value in settings["flow"].items() if key not in others}
    return kept if method is not None else kept | {"flow": {"method": None}}
