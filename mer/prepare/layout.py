"""What a store will hold, and the hash that names it: both follow from table and settings alone."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from mer.config import trust
from mer.config.conversion import to_plain
from mer.config.settings import Prepare
from mer.datasets.index import COLUMNS
from mer.errors import MerError
from mer.prepare import faces, precomputed
from mer.prepare.signature import SIDE


def source_kind(table: pd.DataFrame) -> str:
    """Say what the samples of a table come from: pictures, flow or image (precomputed arrays).

    Raises:
        MerError: If the table is empty or mixes kinds; one store holds one kind.
    """
    kinds = table["array_kind"].where(table["array_path"].notna(), "pictures")
    found = sorted(kinds.astype(str).unique())
    if len(found) != 1:
        what = f"a mixture of {', '.join(found)}" if found else "no sample"
        raise MerError(f"The index table holds {what}; a store holds one of pictures, flow, image")
    if found[0] not in ("pictures", "flow", "image"):
        raise MerError(f"array_kind is {found[0]!r}, expected flow or image")
    return found[0]


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the rows with None where a value is missing, so that workers need no pandas."""
    rows = table.to_dict("records")
    return [{k: None if pd.isna(value) else value for k, value in row.items()} for row in rows]


def layout(table: pd.DataFrame, settings: Prepare) -> dict[str, tuple[list[int], str]]:
    """Say which arrays a store holds: name -> shape and dtype; the first is of pictures or flow.

    Raises:
        MerError: If precomputed arrays differ in size.
    """
    count = len(table)
    return {
        **_sample_layout(table, settings),
        "digest": ([count, 16], "uint8"),
        "signature": ([count, 2, SIDE, SIDE], "int8"),
    }


def _sample_layout(table: pd.DataFrame, settings: Prepare) -> dict[str, tuple[list[int], str]]:
    count, kind = len(table), source_kind(table)
    if kind == "pictures":
        size = settings.size
        found = {"frames": ([count, 2, size, size, 3], "uint8")}
        if settings.flow.used is not None and table["onset_path"].notna().any():
            found["flow"] = ([count, 3, size, size], "float16")
        if settings.faces == "landmarks":
            found["landmarks"] = ([count, 2, faces.LANDMARKS, 2], "float32")
        return found
    sizes: dict[tuple[int, ...], str] = {}
    for row in plain_rows(table.drop_duplicates(["array_path", "array_key"])):
        array = precomputed.array_of(row)
        # Float flow comes with its channels first.
        first = 2 if kind == "flow" and array.dtype.kind == "f" else 1
        sizes.setdefault(array.shape[first : first + 2], str(row["array_path"]))
    if len(sizes) != 1:
        listed = ", ".join(f"{size} in {path}" for size, path in sizes.items())
        raise MerError(f"The arrays of one store must have one size, found {listed}")
    (shape,) = sizes
    if len(shape) != 2 or shape[0] != shape[1]:
        raise MerError(f"{next(iter(sizes.values()))}: pictures of {shape}, expected square ones")
    if kind == "flow":
        return {"flow": ([count, 3, *shape], "float16")}
    return {"frames": ([count, 2, *shape, 3], "uint8")}


def settings_hash(settings: Prepare, table: pd.DataFrame) -> str:
    """Identify what is prepared, and how: twelve hex digits, whatever version prepares it.

    Of the settings those count that the arrays depend on (not `workers`, not the options of a flow
    method that isn't used), and the source of an own flow function; of the table every column, with
    each path relative to the folder that all share and with the file's size, so that a dataset has
    the same hash on every machine.
    """
    columns = [name for name in COLUMNS if name.endswith("_path")]
    paths = [path for name in columns for path in table[name].dropna().unique()]
    parents = [str(Path(path).absolute().parent) for path in paths]
    root = os.path.commonpath(parents) if parents else "."
    identity = {}
    for path in paths:
        file = Path(path).absolute()
        identity[path] = [file.relative_to(root).as_posix(), _size_of(file)]
    known = [name for name in (*COLUMNS, "annotated_apex") if name in table]
    rows = [
        [
            None if pd.isna(value) else identity[value] if name in columns else value
            for name, value in row.items()
        ]
        for row in table.sort_values("sample_id")[known].to_dict("records")
    ]
    content = {
        "format": 1,  # a constant: run directories hold this hash
        "settings": {
            key: value
            for key, value in relevant(settings, source_kind(table)).items()
            if key != "min_face"  # drops samples and changes none
        },
        "columns": list(COLUMNS),
        "rows": rows,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=int)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def relevant(settings: Prepare, kind: str) -> dict[str, Any]:
    """Keep the settings that change the arrays of a store.

    Args:
        settings: Settings of the preparation.
        kind: pictures, flow or image: what the samples of the store come from.
    """
    plain: dict[str, Any] = to_plain(settings)
    if kind == "flow":
        return {"array_channels": plain["array_channels"]}
    if kind == "image":
        return {}
    unused = {"apex", "array_channels", "workers"}  # the apex is in the table
    if settings.faces == "as_is":
        unused |= {"margin", "confidence", "min_face"}
    kept = {key: value for key, value in plain.items() if key not in unused}
    if settings.flow.used is None:
        return kept | {"flow": {"method": None}}
    others = {"dis", "farneback", "tvl1"} - {settings.flow.used}
    if settings.flow.target is not None:
        others.add("method")
    chosen = {key: value for key, value in plain["flow"].items() if key not in others}
    if "dis" in chosen and chosen["dis"]["relaxation"] is None:
        del chosen["dis"]["relaxation"]  # runs of before this setting keep their hash
    kept["flow"] = trust.with_sources(chosen)
    return kept


def _size_of(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None
