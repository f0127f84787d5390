"""Samples listed in a CSV or Parquet table, or in one .npz file with precomputed arrays.

The way in for data that no other reader knows. One row per sample; columns:

- `subject`, `emotion` (or `label`);
- `apex_path`, `onset_path` and `offset_path` (missing where there is none), absolute or relative to
  the table file; or `array_path`, `array_row`, and for .npz files `array_key`, with `array_kind`;
- optional: `clip` or `sample_id` (one makes the other; without both the row's number is the clip,
  the first row below the header is 1), `dataset`, `role`, `person`, `action_units`, `onset`,
  `apex`, `offset`, `apex_source`, `fps`.

A CSV file has commas, semicolons or tabs between its cells. An .npz file holds one array per column
(`label`, `subject`, `clip`, and `corpus` for the dataset) and one array of samples, such as
`flow_bgr` uint8 (N, 28, 28, 3). Licence and citation are those of the data listed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mer.datasets.index import COLUMNS, Reading, Remark, make_table
from mer.datasets.labels import canonical_emotion
from mer.datasets.readers import column_names, npz_table
from mer.datasets.readers.table_rows import index_row, join_spellings
from mer.datasets.text_tables import TextTable, read_csv
from mer.errors import MerError, flaw, raise_all

#: Names that common files use for a column of the index table; the option `columns` adds to them.
RENAMED = {"emotion": "label", "dataset": "corpus"}


def index(
    root: Path,
    name: str = "table",
    role: str = "micro",
    columns: Mapping[str, str] | None = None,
    classes: list[str] | Mapping[int | str, str] | None = None,
    folder: str | Path | None = None,
    array_key: str | None = None,
    array_kind: str = "flow",
) -> Reading:
    """Index the samples of a table or of an .npz file.

    Args:
        root: The .csv, .tsv, .parquet or .npz file.
        name: Dataset of the rows where the table has no column `dataset`; in a configuration, the
            key below `data.micro` or `data.macro`.
        role: `micro` or `macro`, for rows where the table has no column `role`.
        columns: Column of the index table -> column of the file, for example
            `{subject: sub, clip: filename_o, emotion: label, apex_path: imagename}`.
        classes: Meaning of label codes: a list by position, or a mapping from code to emotion.
        folder: Where relative paths begin, itself relative to the table; without it, the table's.
        array_key: Name of the array of samples in the .npz file; needed where it holds several.
        array_kind: `flow` or `image`, for rows where the table has no column `array_kind`.

    Returns:
        One row per sample and the remarks; a row that cannot be right drops its sample. Subjects,
        and clips of SMIC, of known datasets are written as their readers do, so that `samm/6` is
        `samm/006`; elsewhere `6` and `006` are two subjects and one person.

    Raises:
        MerError: If the file is not there or not readable, columns are missing (all are named, with
            those found), codes come without `classes`, or no sample is left.
    """
    if root.parent.is_file():
        raise MerError(
            f"{root.parent} is a file, and data.root a folder; type data.root={root.parent.parent} "
            f"data.{role}.{name}.root={root.parent.name}"
        )
    if not root.is_file():
        raise MerError(f"the table {root} is no file; expected is a .csv, .parquet or .npz file")
    if array_kind not in ("flow", "image"):
        raise MerError(f"`array_kind={array_kind}` is not one of flow, image")
    if root.suffix.lower() == ".npz":
        found, faults = TextTable(npz_table.columns_of(root, array_key), {})
        found.index += 1
    else:
        found, faults = _read(root)
    if found.empty and not faults:
        raise MerError(f"{root} has no row below its header; write a row for each sample")
    table, unknown = _renamed(root, found, dict(columns or {}), name, role)
    remarks = []
    if unknown:
        remarks.append(Remark(str(root), "ignored", f"columns not known: {', '.join(unknown)}", 0))
    defaults = {"dataset": name, "role": role}
    if "array_path" in table.columns:
        defaults |= {"array_key": array_key or "", "array_kind": array_kind}
    for column, value in defaults.items():
        table[column] = table[column].replace("", value) if column in table.columns else value
    table["dataset"] = table["dataset"].str.lower()
    meanings = _meanings(root, table["emotion"], classes)
    start = root.parent / Path(folder).expanduser() if folder else root.parent
    rows, dropped = _index_rows(table, meanings, start)
    dropped |= {number: ("", fault) for number, fault in faults.items()}
    remarks += [
        Remark(item or str(root), "dropped", f"row {number} of {root.name}: {reason}")
        for number, (item, reason) in sorted(dropped.items())
    ]
    if not rows:
        shown = "\n".join(f"  - {item}: {reason}" for item, _, reason, _ in remarks[:5])
        raise MerError(
            f"no row of {root} gives a sample. Set `folder` if paths begin elsewhere than "
            f"{start}:\n{shown}"
        )
    remarks += join_spellings(rows)
    return Reading(make_table(list(rows.values())), remarks)


def _index_rows(
    table: pd.DataFrame, meanings: Mapping[str, str], start: Path
) -> tuple[dict[str, dict[str, Any]], dict[int, tuple[str, str]]]:
    """Rows of the index table by sample id, and what cannot be used: row -> item, reason."""
    rows: dict[str, dict[str, Any]] = {}
    dropped: dict[int, tuple[str, str]] = {}
    for number, values in zip(table.index, table.to_dict("records"), strict=True):
        if "sample_id" not in values:
            values.setdefault("clip", str(number))
        code = values["emotion"]
        row, reason = index_row({**values, "emotion": meanings.get(code, "")}, start)
        if code and code not in meanings:
            reason = f"`{code[:40]}` is not in `classes`: {', '.join(meanings)}"
        if not reason and row["sample_id"] in rows:
            reason = "a second row of the same sample"
        if reason:
            dropped[number] = (row["sample_id"], reason)
        else:
            rows[row["sample_id"]] = row
    return rows, dropped


def _read(path: Path) -> TextTable:
    """Read a table as text, missing cells empty."""
    if path.suffix.lower() in (".csv", ".tsv"):
        return read_csv(path)
    if path.suffix.lower() != ".parquet":
        raise MerError(f"{path}: the ending is not one of .csv, .tsv, .parquet, .npz")
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # of pandas, pyarrow and the codecs
        raise MerError(f"{path} cannot be read as a table ({flaw(error)})") from error
    cells = table.astype(object).where(table.notna(), "").map(_cell)
    return TextTable(cells.set_axis(range(1, len(cells) + 1)), {})


def _cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # Parquet stores it as float where others are missing
    return str(value).strip()


def _renamed(
    root: Path, found: pd.DataFrame, columns: dict[str, str], name: str, role: str
) -> tuple[pd.DataFrame, list[str]]:
    """Give the columns their names in the index table; return the unknown ones too."""
    problems = [
        f"`columns.{ours}`: the index table has no such column, it has: {', '.join(COLUMNS)}"
        for ours in columns
        if ours not in COLUMNS
    ]
    problems += [
        f"`columns.{ours}={theirs}`: the file has no such column"
        for ours, theirs in columns.items()
        if theirs not in found.columns
    ]
    # What the user names for one column is not also read under its own name.
    free = [name for name in found.columns if name not in columns.values()]
    usual = {
        ours: theirs
        for ours, theirs in RENAMED.items()
        if ours not in columns and ours not in free and theirs in free
    }
    sources = {**{ours: ours for ours in COLUMNS if ours in free}, **usual, **columns}
    several = {theirs: [ours for ours in sources if sources[ours] == theirs] for theirs in found}
    problems += [
        f"the column `{theirs}` is named for {' and for '.join(names)}; one column has one meaning"
        for theirs, names in several.items()
        if len(names) > 1
    ]
    meant, sentences = _meant(found, sources)
    problems += sentences
    if "array_path" in sources and "array_row" not in sources:
        problems.append("column array_row is missing (the position in the array)")
    there = ", ".join(map(str, found.columns))
    right = {ours: theirs for ours, theirs in columns.items() if ours in COLUMNS}
    typed = column_names.word({**right, **meant}, name, role)
    raise_all(
        f"{root} cannot be used (columns found: {there}). Name them "
        + (f"so, if that is what they are: {typed}" if meant else "with the option `columns`:"),
        problems,
    )
    table = pd.DataFrame({ours: found[theirs] for ours, theirs in sources.items()})
    return table, [str(name) for name in found.columns if name not in sources.values()]


def _meant(found: pd.DataFrame, sources: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Columns that a file names otherwise, and a sentence for each that is missing or misplaced.

    Args:
        found: The file's columns.
        sources: Column of the index table -> column of the file, where that is known.
    """
    groups = {
        "subject": ("subject", ("subject",)),
        "emotion": ("emotion (or label)", ("emotion",)),
        "apex_path": ("apex_path, or array_path and array_row", ("apex_path", "array_path")),
    }
    missing = [
        ours for ours, (_, names) in groups.items() if not any(one in sources for one in names)
    ]
    pictures = {
        theirs: cell
        for theirs in found
        if (cell := column_names.files_in(found[theirs])) is not None
        and (theirs not in sources.values() or theirs in column_names.NUMBERS)
    }
    free = [
        theirs
        for theirs in found
        if theirs in pictures or theirs not in sources.values() or theirs == "person"
    ]
    lacking = [*missing, *(path for path in column_names.PATHS if path not in {*sources, *missing})]
    meant = column_names.guess(found, lacking, free)
    sentences = [
        f"column {groups[ours][0]} is missing"
        + (f"; `{meant[ours]}` looks like {ours}" if ours in meant else "")
        for ours in missing
    ]
    sentences += [
        f"column `{theirs}` holds names of files, such as {pictures[theirs][:80]}; it looks like "
        f"{ours}"
        for ours, theirs in meant.items()
        if ours not in missing
    ]
    return meant, sentences


def _meanings(
    root: Path, column: pd.Series, classes: list[str] | Mapping[int | str, str] | None
) -> dict[str, str]:
    """The emotion of each code or spelling in the file; those that `classes` lacks are left out."""
    codes = sorted({*column} - {""})
    if classes is None:
        if codes and all(code.lstrip("-").isdecimal() for code in codes):
            raise MerError(
                f"{root}: the emotions are the codes {', '.join(codes)}. Say what they mean, for "
                "example `classes: [negative, positive, surprise]`"
            )
        return {code: canonical_emotion(code) for code in codes}
    pairs = classes.items() if isinstance(classes, Mapping) else enumerate(classes)
    names = {str(code): canonical_emotion(str(emotion)) for code, emotion in pairs}
    if codes and not names.keys() & {*codes}:
        raise MerError(
            f"{root}: `classes` gives {', '.join(names)}, but the file has "
            f"{', '.join(map(repr, codes))}"
        )
    return names
