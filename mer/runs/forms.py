"""The forms of a run's files, which may come from somebody else: what a JSON file must hold."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd


class Each(NamedTuple):
    """A mapping whose values, or a list whose items, all have one form."""

    kind: type
    form: Any


class Maybe(NamedTuple):
    """A form that may be null, or whose key may be absent."""

    form: Any


NUMBER = (int, float)
PAIR = (NUMBER, NUMBER)
TEXTS = Each(list, str)

#: Largest whole number.
LARGEST = 2**53

#: Scores of a head on a part.
_SCORES = {
    "uf1": NUMBER,
    "uar": NUMBER,
    "accuracy": NUMBER,
    "weighted_f1": Maybe(NUMBER),
    "kappa": Maybe(NUMBER),
    "intervals": {"uf1": list(PAIR), "uar": list(PAIR), "accuracy": list(PAIR)},
    "samples": Maybe(int),
    "persons": Maybe(int),
    "confusion": Maybe(Each(list, Each(list, int))),
}
_HEADS = Each(dict, Each(dict, _SCORES))
#: Validation persons of several folds count once, so their matrices have fractions.
_OF_VALIDATION = {**_SCORES, "confusion": Each(list, Each(list, NUMBER))}
_VALIDATION = Each(dict, Each(dict, {name: Maybe(form) for name, form in _OF_VALIDATION.items()}))

#: Name of a file -> its form: a type, several types, a list of forms, or keys with a form each.
FORMS: dict[str, Any] = {
    "metrics": {
        "status": str,
        "heads": Maybe(_HEADS),
        "validation": Maybe(_VALIDATION),
        "classes": Maybe(TEXTS),
        "folds": Maybe(int),
        "missing_folds": Maybe(TEXTS),
        "seconds": Maybe(NUMBER),
        "cost": Maybe({"parameters": Maybe(NUMBER), "latency_ms": Maybe(NUMBER)}),
        "warnings": Maybe(TEXTS),
        "remarks": Maybe(TEXTS),
        "like": Maybe({"run": str, "checksums": str, "heads": Each(dict, _SCORES)}),
    },
    "label_access": Each(list, {"at": Maybe(str), "how": str, "sha256": str}),
    "environment": Each(list, {"data_hash": str, "packages": Maybe(Each(dict, Maybe(str)))}),
    "calibration": Each(
        dict,
        {
            "temperature": NUMBER,
            "form": str,
            "fitted_on": str,
            "samples": int,
            "persons": int,
            "error_before": Maybe(NUMBER),
            "error_after": Maybe(NUMBER),
            "coverage": Maybe(Each(list, {"share": NUMBER, "confidence": NUMBER, "right": NUMBER})),
        },
    ),
    "cost": {"parameters": NUMBER, "latency_ms": NUMBER, "latency_ms_range": Maybe(list(PAIR))},
    "checksums": Each(dict, str),
    "fold": {"fold": str, "seconds": NUMBER, "epochs": int, "best_epoch": Maybe(int)},
    "pretraining": {"accuracy": NUMBER, "uf1": NUMBER, "validation_persons": TEXTS},
    "wandb": {"id": Maybe(str), "name": Maybe(str), "group": Maybe(str)},
}

#: Columns of tables that hold text in every row.
IDS = ("sample_id", "dataset", "subject", "person", "label", "fold", "side", "role", "digest")

#: Name of a table -> columns that it has in any case, and whether a sample has one row.
TABLES = {
    "manifest": (("sample_id", "dataset", "person", "label", "fold"), True),
    "predictions": (("sample_id", "dataset", "person"), True),
    "validation": (("sample_id",), True),
    "splits": (("fold", "sample_id", "side"), False),
    "signatures": (("sample_id", "role", "person", "kind", "digest", "signature"), True),
}

#: Rows and bytes that a table of a run may have, and characters of a text in it; a small file could
#: fill the memory.
MOST_ROWS, MOST_BYTES, LONGEST_TEXT = 10_000_000, 2 * 2**30, 100_000


def misfit(value: Any, form: Any, where: str = "it") -> str | None:
    """Say what of a plain value has not its form; None if all of it has."""
    if isinstance(form, Maybe):
        return None if value is None else misfit(value, form.form, where)
    if isinstance(form, Each):
        if not isinstance(value, dict | list) or not isinstance(value, form.kind):
            return _wrong(where, value, form.kind)
        keys: Any = range(len(value)) if form.kind is list else value
        return _first(misfit(value[key], form.form, f"{where}[{key!r}]") for key in keys)
    if isinstance(form, list):
        if not isinstance(value, list):
            return _wrong(where, value, list)
        if len(value) != len(form):
            return f"{where} is list of {len(value)}, not list of {len(form)}"
        pairs = zip(value, form, strict=True)
        return _first(misfit(item, one, f"{where}[{n}]") for n, (item, one) in enumerate(pairs))
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return _wrong(where, value, dict)
        return _first(misfit(value.get(key), one, f"{where}[{key!r}]") for key, one in form.items())
    if isinstance(value, bool) or not isinstance(value, form):
        return _wrong(where, value, form)
    return f"{where} is too large" if isinstance(value, int) and abs(value) > LARGEST else None


def metrics_misfit(content: dict[str, Any]) -> str | None:
    """Say which scores of a `metrics.json` of the right form are missing or of other classes."""
    for head, parts in (content.get("heads") or {}).items():
        if "pooled" not in parts:
            return f"no pooled scores of {head!r}"
        for part, scores in parts.items():
            matrix = scores.get("confusion") or []
            count = len(content.get("classes") or matrix)
            if matrix and {len(matrix), *map(len, matrix)} != {count}:
                return f"confusion of {head!r}, {part!r}, is not that of the classes"
    return None


def table_misfit(frame: pd.DataFrame, kind: str, columns: Sequence[str] = ()) -> str | None:
    """Say which column of a table is missing or holds something else than text or numbers."""
    names = list(frame.columns)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        return "columns without names of their own"
    needed, once = TABLES.get(kind, ((), False))
    if absent := [name for name in dict.fromkeys((*needed, *columns)) if name not in frame]:
        return f"no column {', '.join(absent)}"
    if once and frame["sample_id"].astype(str).duplicated().any():
        return "samples with more than one row"
    for name in names:
        found = pd.api.types.infer_dtype(frame[name], skipna=True)
        if name in IDS and frame[name].isna().any():
            return f"{name} has gaps"
        if found == "empty" or (found == "bytes" and name == "signature"):
            continue
        text = name in IDS and found != "string"
        if text or found not in ("string", "floating", "integer", "boolean"):
            return f"{name} holds {found}, not {'text' if name in IDS else 'text or numbers'}"
    return None


def _first(misfits: Any) -> str | None:
    return next((text for text in misfits if text is not None), None)


def _wrong(where: str, value: Any, kind: type | Sequence[type]) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    expected = " or ".join(one.__name__ for one in kinds)
    return f"{where} is {type(value).__name__}, not {expected}"
