"""One row of a table becomes a row of the index table, or a reason why its sample is dropped."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from mer.datasets.frame_files import swapped
from mer.datasets.index import APEX_SOURCES, ROLES, Remark
from mer.datasets.number_cells import number, whole
from mer.datasets.readers import casme2, samm, smic

#: Datasets whose subjects are written as their own readers write them.
SUBJECT_NAMES = {
    "casme2": casme2.subject_name,
    "samm": samm.subject_name,
    "smic": smic.subject_name,
}

_WHOLE = ("onset", "apex", "offset", "array_row")
_WORDS = {"role": ROLES, "apex_source": APEX_SOURCES}
_FILES = ("onset_path", "apex_path", "offset_path", "array_path")


def index_row(values: dict[str, str], start: Path) -> tuple[dict[str, Any], str]:
    """Make one row of the index table.

    Args:
        values: Column -> text; empty where nothing stands.
        start: Where relative paths begin.

    Returns:
        The row, and why the sample cannot be used (empty where it can).
    """
    row: dict[str, Any] = {key: value for key, value in values.items() if value != ""}
    names, fault = _names(row)
    row |= names
    if fault or (fault := _read_cells(row, start)):
        return row, fault
    if "apex_path" not in row and "array_path" not in row:
        return row, "neither apex_path nor array_path"
    if str(row.get("array_path", "")).lower().endswith(".npz") and "array_key" not in row:
        return row, "the array is in an .npz file and `array_key` is not given"
    if "array_path" not in row:
        row = {key: value for key, value in row.items() if not key.startswith("array_")}
    elif "array_row" not in row:
        return row, "without array_row"
    numbers = (row.get("onset"), row.get("apex"), row.get("offset"))
    return row, swapped(*numbers, row.get("onset_path"), row.get("apex_path"))


def _names(row: dict[str, Any]) -> tuple[dict[str, str], str]:
    """Sample, subject and clip as the dataset writes them, and what is missing of them."""
    dataset = row["dataset"]
    subject = row.get("subject", "").removeprefix(f"{dataset}/")
    subject = SUBJECT_NAMES.get(dataset, str)(subject) or subject
    sample = row.get("sample_id", "").removeprefix(f"{dataset}/")
    clip = row.get("clip") or sample.rsplit("/", 1)[-1]
    shown = smic.list_name(clip) if dataset == "smic" else clip
    named = {
        "sample_id": f"{dataset}/{sample or f'{subject}/{shown}'}",
        "subject": f"{dataset}/{subject}",
        "clip": clip,
    }
    empty = [name for name, value in [("subject", subject), ("clip", clip)] if not value]
    empty += [] if row.get("emotion") else ["emotion"]
    if not subject or not clip:
        named["sample_id"] = ""
    return named, f"without {' and '.join(empty)}" if empty else ""


def _read_cells(row: dict[str, Any], start: Path) -> str:
    """Turn numbers and paths from text into values in place; return the first that cannot be."""
    for name in filter(row.__contains__, _WHOLE):
        if (value := whole(row[name])) is None:
            return f"`{name}` is `{row[name][:40]}`, a whole number of 0 or more is expected"
        row[name] = value
    if "fps" in row:
        rate = number(row["fps"])
        if rate is None or rate <= 0:
            return f"`fps` is `{row['fps'][:40]}`, a number above 0 is expected"
        row["fps"] = rate
    for name, words in _WORDS.items():
        if row.get(name, words[0]) not in words:
            return f"`{name}` is `{row[name][:40]}`, expected is one of {', '.join(words)}"
    for name in filter(row.__contains__, _FILES):
        path = _absolute(start, row[name])
        if path is None:
            return f"`{name}`: there is no file {row[name][:200]} in {start}"
        row[name] = str(path)
    return ""


def _absolute(start: Path, text: str) -> Path | None:
    """The file that a cell names, `None` where there is none."""
    try:
        path = (start / Path(text).expanduser()).absolute()
        return path if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, an unknown ~user
        return None


def join_spellings(rows: dict[str, dict[str, Any]]) -> list[Remark]:
    """Give subjects whose names differ in leading zeros and case alone one person, in place.

    Spreadsheet programs turn `006` into `6`; one person under two names would be tested by a
    network that has seen it. Where the rows name persons themselves, these count.
    """
    spellings: dict[str, set[str]] = defaultdict(set)
    for row in rows.values():
        spellings[_plain(row["subject"])].add(row["subject"])
    for row in rows.values():
        if len(spellings[_plain(row["subject"])]) > 1:
            row.setdefault("person", min(spellings[_plain(row["subject"])]))
    return [
        Remark(
            first,
            "mended",
            f"taken for the same person as {', '.join(others)}; if they are not, add a column "
            "`person`",
        )
        for first, *others in (sorted(names) for names in spellings.values() if len(names) > 1)
    ]


def _plain(subject: str) -> str:
    return re.sub(r"0*([0-9]+)", r"\1", subject.casefold())
