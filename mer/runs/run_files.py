"""Reading the files of a run directory: one that is missing or damaged is a sentence with the mend.

Every format raises errors of its own; `read` is the one place that turns them into a `MerError`.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mer.errors import MerError, flaw
from mer.files import mend_of_entry
from mer.runs import forms

Content = TypeVar("Content")

#: Files of a run (first part of their names) that `mer train` writes again where they are missing.
_REMADE = (
    "metrics predictions baseline calibration cost folds dropped manifest splits signatures"
    " environment history".split()
)


_TEXTS = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def read(path: Path, reader: Callable[[Path], Any], kind: type[Content]) -> Content:
    """Read a file of a run, or a folder's files of one kind.

    Raises:
        MerError: If it is missing, cut off, or of another form.
    """
    try:
        content = reader(path)
    except MerError:
        raise
    except FileNotFoundError as error:
        raise MerError(f"{error.filename or path} is missing: {mend(path)}") from error
    except Exception as error:
        raise MerError(f"{path} is damaged ({flaw(error)}): {mend(path)}") from error
    if not isinstance(content, kind):
        raise MerError(f"{path} is damaged (no {kind.__name__} in it): {mend(path)}")
    return content


def read_json(path: Path, kind: type = dict) -> Any:
    """Read a JSON file of a run: a mapping, or a list; see `read`."""
    content: Any = read(path, lambda path: json.loads(path.read_text(encoding="utf-8")), kind)
    form = forms.FORMS.get(_kind(path))
    problem = None if form is None else forms.misfit(content, form)
    if problem is None and _kind(path) == "metrics":
        problem = forms.metrics_misfit(content)
    if problem is not None:
        raise MerError(f"{path} is damaged ({problem}): {mend(path)}")
    return content


def read_table(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a Parquet file of a run, which must have some columns; see `read`."""
    frame = read(path, _read_parquet, pd.DataFrame)
    if problem := forms.table_misfit(frame, _kind(path), columns):
        raise MerError(f"{path} is damaged ({problem}): {mend(path)}")
    return frame


def _kind(path: Path) -> str:
    """The first part of a file's name, without marks and endings."""
    return path.name.partition(".")[0].partition("-")[0]


def _read_parquet(path: Path) -> pd.DataFrame:
    metadata = pq.read_metadata(path)
    if metadata.num_rows > forms.MOST_ROWS:
        raise ValueError(f"{metadata.num_rows:,} rows")
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    if (size := sum(group.total_byte_size for group in groups)) > forms.MOST_BYTES:
        raise ValueError(f"{size:,} bytes")
    texts = [field.name for field in pq.read_schema(path) if field.type in _TEXTS]
    # A text that many rows share is there once in the file, and in every row in the memory.
    shared = pq.read_table(path, columns=texts, read_dictionary=texts)
    for chunk in (chunk for column in shared.columns for chunk in column.chunks):
        longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
        if longest > forms.LONGEST_TEXT:
            raise ValueError(f"a text of {longest:,} bytes")
    return pd.read_parquet(path)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an `.npz` file; see `read`."""

    def load(path: Path) -> dict[str, NDArray[Any]]:
        with np.load(path) as arrays:
            return dict(arrays)

    return read(path, load, dict)


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file of a run; see `read`."""
    return read(path, pd.read_csv, pd.DataFrame)


def mend(path: Path) -> str:
    """What to type, or to remove, when a file of a run is missing or damaged."""
    if sentence := mend_of_entry(path):
        return sentence
    if _kind(path) in _REMADE:
        there = "remove it; " if path.exists() else ""
        return f"{there}`mer train` with the same words and run.dir={path.parent} writes it again"
    return "copy the run again, or start one in another directory"
