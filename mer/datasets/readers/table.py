"""Samples listed in a CSV or Parquet table, or in one .npz file with precomputed arrays.

The way in for data that no other reader knows. One row per sample; columns:

- `subject`, `emotion` (or `label`), and `sample_id` or `clip` (one makes the other);
- `apex_path`, `onset_path` and `offset_path` (missing where there is none), absolute or relative to
  the table file; or `array_path`, `array_row`, and for .npz files `array_key`, with `array_kind`;
- optional: `dataset`, `role`, `person`, `action_units`, `onset`, `apex`, `offset`, `apex_source`,
  `fps`.

An .npz file holds one array per column (`label`, `subject`, `clip`, and `corpus` for the dataset)
and one array of samples, such as `flow_bgr` uint8 (N, 28, 28, 3). Licence and citation are those of
the data listed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mer.datasets.index import COLUMNS, Reading, Remark, make_table
from mer.datasets.labels import canonical_emotion
from mer.datasets.readers import casme2, npz_table, samm, smic
from mer.errors import MerError, raise_all

#: Datasets whose subjects are written as their own readers write them.
SUBJECT_NAMES = {
    "casme2": casme2.subject_name,
    "samm": samm.subject_name,
    "smic": smic.subject_name,
}
#: Names that common files use for a column of the index table; the option `columns` adds to them.
RENAMED = {"emotion": "label", "dataset": "corpus"}

_PICTURES = ("onset_path", "apex_path", "offset_path")
_NUMBERS = ("onset", "apex", "offset", "array_row", "fps")


def index(
    root: Path,
    name: str = "table",
    role: str = "micro",
    columns: Mapping[str, str] | None = None,
    classes: Sequence[str] | Mapping[str, str] | None = None,
    folder: str | Path | None = None,
    array_key: str | None = None,
    array_kind: str = "flow",
) -> Reading:
    """Index the samples of a table or of an .npz file.

    Args:
        root: The .csv, .parquet or .npz file.
        name: Dataset of the rows where the table has no column `dataset`.
        role: `micro` or `macro`, for rows where the table has no column `role`.
        columns: Column of the index table -> column of the file, for example
            `{subject: sub, clip: filename_o, emotion: label, apex_path: imagename}`.
        classes: Meaning of label codes: a list by position, or a mapping from code to emotion.
        folder: Where relative paths begin, itself relative to the table; without it, the table's.
        array_key: Name of the array of samples in the .npz file; needed where it holds several.
        array_kind: `flow` or `image`, for rows where the table has no column `array_kind`.

    Returns:
        One row per sample and the remarks. Subjects, and clips of SMIC, of known datasets are
        written as their readers do, so that `samm/6` is `samm/006`.

    Raises:
        MerError: If the file is not there or not readable, columns are missing (all are named, with
            those found), codes come without `classes`, or no sample is left.
    """
    if not root.is_file():
        raise MerError(f"the table {root} is no file; expected is a .csv, .parquet or .npz file")
    if array_kind not in ("flow", "image"):
        raise MerError(f"`array_kind={array_kind}` is not one of flow, image")
    if root.suffix.lower() == ".npz":
        found = npz_table.columns_of(root, array_key)
    else:
        found = _read(root)
    table, unknown = _renamed(root, found, dict(columns or {}))
    remarks = []
    if unknown:
        remarks.append(Remark(str(root), "dropped", f"columns not known: {', '.join(unknown)}"))
    defaults = {"dataset": name, "role": role}
    if "array_path" in table.columns:
        defaults |= {"array_key": array_key or "", "array_kind": array_kind}
    for column, value in defaults.items():
        table[column] = table[column].replace("", value) if column in table.columns else value
    table["dataset"] = table["dataset"].str.lower()
    table["emotion"] = _emotions(root, table["emotion"], classes)
    start = root.parent / Path(folder).expanduser() if folder else root.parent
    rows: dict[str, dict[str, Any]] = {}
    for position, values in enumerate(table.to_dict("records"), start=1):
        row, reason = _row(values, start)
        item = row["sample_id"] or f"row {position} of {root.name}"
        if not reason and item in rows:
            reason = "a second row of the same sample"
        if reason:
            remarks.append(Remark(item, "dropped", reason))
        else:
            rows[item] = row
    if not rows:
        shown = "\n".join(f"  - {item}: {reason}" for item, _, reason in remarks[:5])
        raise MerError(
            f"no row of {root} gives a sample. Set `folder` if paths begin elsewhere than "
            f"{start}:\n{shown}"
        )
    return Reading(make_table(list(rows.values())), remarks)


def _read(path: Path) -> pd.DataFrame:
    """Read a table as text, missing cells empty."""
    readers = {".csv": _read_csv, ".parquet": pd.read_parquet}
    if path.suffix.lower() not in readers:
        raise MerError(f"{path}: the ending is not one of {', '.join([*readers, '.npz'])}")
    try:
        table = readers[path.suffix.lower()](path)
    except Exception as error:  # pandas, pyarrow and the codecs all have their own
        raise MerError(f"{path} cannot be read as a table ({error})") from error
    return table.astype(object).where(table.notna(), "").map(_cell)


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def _cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(
            value
        )  # a whole number that Parquet stores as float, because others are missing
    return str(value).strip()


def _renamed(
    root: Path, found: pd.DataFrame, columns: dict[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Give the columns their names in the index table; return the unknown ones too."""
    there = ", ".join(map(str, found.columns))
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
    usual = {
        ours: theirs
        for ours, theirs in RENAMED.items()
        if ours not in columns and ours not in found.columns and theirs in found.columns
    }
    sources = {**{ours: ours for ours in COLUMNS if ours in found.columns}, **usual, **columns}
    groups = {
        "subject": ("subject",),
        "emotion (or label)": ("emotion",),
        "sample_id or clip": ("sample_id", "clip"),
        "apex_path, or array_path and array_row": ("apex_path", "array_path"),
    }
    problems += [
        f"column {text} is missing"
        for text, names in groups.items()
        if not any(ours in sources for ours in names)
    ]
    if "array_path" in sources and "array_row" not in sources:
        problems.append("column array_row is missing (the position in the array)")
    raise_all(
        f"{root} cannot be used (columns found: {there}). Name them with the option `columns`:",
        problems,
    )
    table = pd.DataFrame({ours: found[theirs] for ours, theirs in sources.items()})
    return table, [str(name) for name in found.columns if name not in sources.values()]


def _emotions(
    root: Path, column: pd.Series, classes: Sequence[str] | Mapping[str, str] | None
) -> pd.Series:
    """Translate label codes and fold spellings."""
    codes = sorted(set(column))
    if classes is None:
        if codes and all(code.lstrip("-").isdigit() for code in codes):
            raise MerError(
                f"{root}: the emotions are the codes {', '.join(codes)}. Say what they mean, for "
                "example `classes: [negative, positive, surprise]`"
            )
        return column.map(canonical_emotion)
    pairs = classes.items() if isinstance(classes, Mapping) else enumerate(classes)
    names = {str(code): str(emotion) for code, emotion in pairs}
    unknown = [code for code in codes if code not in names]
    if unknown:
        raise MerError(
            f"{root}: `classes` gives {', '.join(names)}, but the file also has "
            f"{', '.join(map(repr, unknown))}"
        )
    return column.map(names).map(canonical_emotion)


def _row(values: dict[str, Any], start: Path) -> tuple[dict[str, Any], str]:
    """Make one row of the index table, or say why the sample is dropped."""
    row: dict[str, Any] = {key: value for key, value in values.items() if value != ""}
    dataset = row["dataset"]
    subject = row.get("subject", "").removeprefix(f"{dataset}/")
    subject = SUBJECT_NAMES.get(dataset, str)(subject) or subject
    clip = row.get("clip") or row.get("sample_id", "").rsplit("/", 1)[-1]
    shown = smic.list_name(clip) if dataset == "smic" else clip
    row["sample_id"] = row.get("sample_id") or (f"{dataset}/{subject}/{shown}" if clip else "")
    row["subject"], row["clip"] = f"{dataset}/{subject}", clip
    empty = [name for name, value in [("subject", subject), ("clip", clip)] if not value]
    empty += [] if row.get("emotion") else ["emotion"]
    if empty:
        return row, f"without {' and '.join(empty)}"
    for name in _NUMBERS:
        if name in row:
            number = pd.to_numeric(row[name], errors="coerce")
            if pd.isna(number) or (name != "fps" and number != int(number)):
                return row, f"`{name}` is `{row[name]}`, a number is expected"
            row[name] = float(number) if name == "fps" else int(number)
    for name in (*_PICTURES, "array_path"):
        if name in row:
            path = (start / Path(row[name]).expanduser()).absolute()
            if not path.is_file():
                return row, f"`{name}`: there is no file {path}"
            row[name] = str(path)
    if "apex_path" not in row and "array_path" not in row:
        return row, "neither apex_path nor array_path"
    if str(row.get("array_path", "")).lower().endswith(".npz") and "array_key" not in row:
        return row, "the array is in an .npz file and `array_key` is not given"
    if "array_path" not in row:
        row = {key: value for key, value in row.items() if not key.startswith("array_")}
    return row, ""
