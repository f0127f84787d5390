"""Annotation workbooks (.xlsx, .xls) read as text, with the header found wherever it stands.

Subject ids are text (`01`, `006`) that a typed reader would turn into numbers, SAMM's header comes
after 13 lines of prose, and column names differ between releases.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mer.datasets.folder_search import folders, listing
from mer.datasets.number_cells import whole
from mer.datasets.sheets import read_sheets
from mer.errors import MerError, one_line

#: Field -> spellings of its column, compared without case, blanks and punctuation.
COLUMNS: dict[str, tuple[str, ...]] = {
    "subject": ("Subject", "Sub", "Participant"),
    "clip": ("Filename", "File name", "Clip"),
    "onset": ("OnsetFrame", "OnsetF", "Onset"),
    "apex": ("ApexFrame", "ApexF", "ApexF1", "Apex"),
    "offset": ("OffsetFrame", "OffsetF", "Offset"),
    "action_units": ("Action Units", "Action Unit", "AUs", "AU"),
    "emotion": ("Estimated Emotion", "Emotion"),
}

#: Rows in which the header is looked for.
HEADER_ROWS = 100

#: Fields whose columns tell an annotation workbook from its neighbours (objective classes, blinks).
REQUIRED = ("subject", "clip", "onset", "apex", "offset", "emotion")


def frame(text: str) -> int | None:
    """Read a frame number; `/`, `?`, empty, `nan`, `-1`, `0` and other text are `None`.

    Zero counts as missing because the recordings of CASME II and SAMM begin at frame 1.
    """
    return whole(text) or None


def find_header(
    cells: pd.DataFrame, columns: Mapping[str, Sequence[str]], required: Sequence[str]
) -> tuple[int, dict[str, int]] | None:
    """Find the header row of a sheet: the first row that names every required field.

    Args:
        cells: The sheet as text, without header.
        columns: Field -> spellings.
        required: Fields that must be there.

    Returns:
        Position of the row and field -> position of the column; `None` if there is no such row.
    """
    for row, values in enumerate(cells.itertuples(index=False)):
        names = [_plain(value) for value in values]
        found = {}
        for field, spellings in columns.items():
            spelled = (_plain(spelling) for spelling in spellings)
            where = next((names.index(name) for name in spelled if name in names), None)
            if where is not None:
                found[field] = where
        if all(field in found for field in required):
            return row, found
    return None


def read_workbook(
    path: Path,
    columns: Mapping[str, Sequence[str]] = COLUMNS,
    required: Sequence[str] = REQUIRED,
) -> list[dict[str, str]] | None:
    """Read the annotation rows of a workbook from the first sheet that has the header.

    Args:
        path: An .xlsx or .xls file.
        columns: Field -> spellings of its column.
        required: Fields without which the workbook is another one.

    Returns:
        One dict per row, field -> stripped text (empty where cell or column are missing), plus
        `row`, the number that the spreadsheet program shows; rows with neither subject nor clip
        are left out. `None` if no sheet has the header. A formula gives its stored value.

    Raises:
        MerError: If the file cannot be read as a workbook.
    """
    try:
        sheets = read_sheets(path)
    except MerError:
        raise
    except Exception as error:  # openpyxl, xlrd, zipfile and OSError all have their own
        reason = one_line(error).strip("()") or type(error).__name__
        raise MerError(
            f"{path} cannot be read as a workbook ({reason}). Save it again as .xlsx"
        ) from error
    for cells in sheets:
        header = find_header(cells.head(HEADER_ROWS), columns, required)
        if header is None:
            continue
        top, positions = header
        rows = []
        for number in range(top + 1, len(cells)):
            values = {
                field: str(cells.iat[number, positions[field]]).strip()
                if field in positions
                else ""
                for field in columns
            }
            if values["subject"] or values["clip"]:
                rows.append({**values, "row": str(number + 1)})
        return rows
    return None


class Workbook(NamedTuple):
    """What `find_workbook` found: the file and its rows, or the problem as a sentence."""

    path: Path | None
    rows: list[dict[str, str]]
    others: list[Path]
    problem: str


def find_workbook(
    root: Path, tree: Path | None, clip: re.Pattern[str], chosen: str | Path | None = None
) -> Workbook:
    """Find the annotation workbook by its header and its clip names, not by its file name.

    Looks in the root, two levels below it and, where the root is itself the folder of the subjects,
    in the folder above. Of several the first by name is taken (`CASME2-coding-20140508.xlsx` before
    the release of 2019); `others` names the rest.

    Args:
        root: The dataset's root.
        tree: Folder of the subject folders, if found.
        clip: How a clip name of this dataset begins; a workbook without any is another dataset's.
        chosen: The user's choice (option `workbook`), absolute or relative to the root.
    """
    if chosen is not None and not (root / Path(chosen).expanduser()).is_file():
        looked = root / Path(chosen).expanduser()
        return Workbook(None, [], [], f"`workbook: {chosen}` is no file (looked for {looked})")
    candidates = [root / Path(chosen).expanduser()] if chosen else _candidates(root, tree)
    fitting, problems = [], []
    for path in candidates:
        try:
            rows = read_workbook(path)
        except MerError as error:
            problems.append(str(error))
            continue
        if rows is None:
            problems.append(f"{path} has no row with the columns {_wanted()}")
        elif not any(clip.match(row["clip"]) for row in rows):
            problems.append(f"{path} names no clip of this dataset")
        else:
            fitting.append((path, rows))
    if fitting:
        (path, rows), *others = fitting
        return Workbook(path, rows, [other for other, _ in others], "")
    if not candidates:
        problems.append(f"no .xlsx or .xls file in {root} (which holds {listing(root)})")
    found = "; ".join(problems)
    mend = "Put it into the root, or set `workbook` to its path"
    return Workbook(None, [], [], f"no annotation workbook: {found}. {mend}")


def _candidates(root: Path, tree: Path | None) -> list[Path]:
    places = [root]
    if tree == root:
        places.append(root.parent)
    else:
        for child in folders(root):
            if child != tree:
                places += [child, *(below for below in folders(child) if below != tree)]
        # A deeply nested tree: the workbook may lie among its subject folders or beside them.
        places += [tree, tree.parent] if tree else []
    found = [
        path
        for place in dict.fromkeys(places)
        for path in sorted(place.iterdir())
        if path.suffix.lower() in (".xlsx", ".xls") and not path.name.startswith(("~$", "."))
    ]
    return sorted(found, key=lambda path: path.name)


def _wanted() -> str:
    return ", ".join(COLUMNS[field][0] for field in REQUIRED)


def _plain(value: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(value).lower())
