"""Which column of a table is probably meant by which column of the index table."""

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from mer.config.quoting import quoted
from mer.datasets.frame_files import EXTENSIONS

#: Column of the index table -> names that others give it, as `_plain` writes them.
OTHER_NAMES = {
    "subject": ("sub", "subj", "subjectid", "participant", "person", "proband", "id"),
    "emotion": ("label", "class", "expression", "category", "feeling"),
    "onset_path": ("onset", "start", "neutral", "begin", "first"),
    "apex_path": ("apex", "peak", "max", "path", "image", "picture", "file", "filename", "frame"),
    "offset_path": ("offset", "end", "last"),
}

#: Columns that name pictures, and those that name their frames by number.
PATHS = ("onset_path", "apex_path", "offset_path")
NUMBERS = ("onset", "apex", "offset")

#: Rows that are looked at, and the least likeness of two names.
_ROWS, _LIKENESS = 50, 0.8


def files_in(column: pd.Series) -> str | None:
    """The first cell of a column whose cells are names of pictures; None for any other column."""
    cells = [cell for cell in column.head(_ROWS) if cell]
    pictures = all(Path(cell).suffix.lower() in EXTENSIONS for cell in cells)
    return str(cells[0]) if cells and pictures else None


def guess(table: pd.DataFrame, lacking: Iterable[str], free: Iterable[str]) -> dict[str, str]:
    """Guess which columns of a table are meant by columns of the index table that it lacks.

    A column of pictures is only taken for a path, any other for none.

    Args:
        table: Cells as text.
        lacking: Columns of the index table.
        free: Columns of the table that have no meaning yet.

    Returns:
        Column of the index table -> column of the table, where there is one.
    """
    left = list(free)
    meant: dict[str, str] = {}
    for ours in lacking:
        of_kind = [one for one in left if (files_in(table[one]) is not None) == (ours in PATHS)]
        if (theirs := _closest(ours, of_kind)) is not None:
            meant[ours] = theirs
            left.remove(theirs)
    return meant


def word(columns: Mapping[str, str], name: str, role: str) -> str:
    """What to type so that columns are read under these names.

    Args:
        columns: Column of the index table -> column of the file.
        name: The dataset in a configuration, or `table` outside one.
        role: Its role there.
    """
    key = "columns" if name == "table" else f"++data.{role}.{name}.columns"
    pairs = (f"{ours}: {_cell(theirs)}" for ours, theirs in columns.items())
    typed = f"{key}={{{', '.join(pairs)}}}"
    return typed if name == "table" else shlex.quote(typed)


def _cell(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else quoted(name)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _closest(ours: str, names: Iterable[str]) -> str | None:
    """The name that is most like a column's, or like another name of it."""
    known = (_plain(ours), *OTHER_NAMES.get(ours, ()))
    scores = {name: _likeness(_plain(name), known, ours in PATHS) for name in names}
    best = max(scores, key=lambda name: scores[name], default=None)
    return best if best is not None and scores[best] >= _LIKENESS else None


def _likeness(name: str, known: Iterable[str], files: bool) -> float:
    """How much a name is like any of some; one that holds another with more letters counts too."""
    return max(
        0.95 if files and name.startswith(one) else difflib.SequenceMatcher(None, name, one).ratio()
        for one in known
    )
