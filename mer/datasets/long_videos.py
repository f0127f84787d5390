"""Datasets of long videos for spotting: SAMM long videos, CAS(ME)^2 and CAS(ME)^3.

Layouts::

    SAMM_longvideos/006_1/006_1_0001.jpg               <subject>_<inducement>, 200 fps
    SAMM_LongVideos_V2_Release.xlsx                    10 lines of prose, then the rows

    rawpic/s15/15_0101disgustingteeth/img001.jpg       CAS(ME)^2, 30 fps
    CAS(ME)^2code_final.xlsx                           no header; sheets of codes, folders, videos

    part_A/spNO.1/a/color/355.jpg                      CAS(ME)^3, part A, 30 fps
    CAS(ME)3_part_A_v2.xls                             macro- and micro-expressions

An offset of 0 is not known, and the apex takes its place; a macro-expression with onset 0 began
before the recording and is left out, as published loaders do. Licences: release agreements with
Manchester Metropolitan University and the Chinese Academy of Sciences, research use.

Citations: C. H. Yap, C. Kendrick, M. H. Yap: SAMM long videos. IEEE FG 2020. F. Qu et al.:
CAS(ME)^2. IEEE Transactions on Affective Computing 9(4), 2018. J. Li et al.: CAS(ME)^3. IEEE
Transactions on Pattern Analysis and Machine Intelligence 45(3), 2023.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mer.datasets.folder_search import DEPTH, check_root, folders, listing
from mer.datasets.index import Remark
from mer.datasets.labels import canonical_emotion
from mer.datasets.number_cells import whole
from mer.datasets.readers import workbooks
from mer.datasets.sheets import read_sheets
from mer.errors import MerError, one_line


class Annotated(NamedTuple):
    """One annotated expression of a long video; frames as in the file names.

    `apex` is None where it is not annotated, `emotion` empty; `kind` is micro or macro.
    """

    onset: int
    apex: int | None
    offset: int
    kind: str
    emotion: str
    action_units: str


class LongVideo(NamedTuple):
    """A long video: a folder of numbered frames and what is annotated in it."""

    name: str
    subject: str
    folder: Path
    fps: float
    expressions: tuple[Annotated, ...]


class LongVideos(NamedTuple):
    """A dataset's videos, those without an expression too, and what was left out or mended."""

    dataset: str
    videos: list[LongVideo]
    remarks: list[Remark]


class _Row(NamedTuple):
    """One row of a workbook: the key of its video and the annotation as text."""

    video: str
    onset: str
    apex: str
    offset: str
    kind: str
    emotion: str
    action_units: str


class _Source(NamedTuple):
    """How one dataset names its folders and annotates.

    Attributes:
        video: Key and subject of a video from the path of its folder, None for other folders.
        rows: Annotation rows of a workbook, None where it is another one.
        fps: Frames per second.
        expected: The tree, for messages.
    """

    video: Callable[[Path], tuple[str, str] | None]
    rows: Callable[[Path], list[_Row] | None]
    fps: float
    expected: str


def check(dataset: str, root: Path) -> None:
    """Refuse a dataset that is none, or whose folder is not there.

    Raises:
        MerError: With the names that there are, or the tree that is expected.
    """
    if dataset not in SOURCES:
        raise MerError(f"{dataset} is no dataset of long videos; type {', '.join(SOURCES)}")
    check_root(dataset, root, SOURCES[dataset].expected)


def read_long_videos(dataset: str, root: Path, fps: float | None = None) -> LongVideos:
    """Read a dataset of long videos.

    Args:
        dataset: `samm_long`, `casme_sq` or `casme3`.
        root: Folder with the frames and the workbook, at any depth down to five levels.
        fps: Frames per second, where they are not those of the release.

    Raises:
        MerError: If there is no such dataset, or frames or workbook cannot be found.
    """
    check(dataset, root)
    source = SOURCES[dataset]
    found = {key: (subject, folder) for key, subject, folder in _videos(root, source, DEPTH)}
    if not found:
        raise MerError(
            f"{dataset}: no folder of frames in {root} (which holds {listing(root)}). Expected:\n"
            f"{source.expected}"
        )
    book, rows = _workbook(dataset, root, source)
    remarks: list[Remark] = []
    annotated: dict[str, list[Annotated]] = {key: [] for key in found}
    for number, row in enumerate(rows, start=1):
        item = f"{dataset}/{row.video}"
        expression = _annotated(row)
        if row.video not in found:
            remarks.append(Remark(item, "dropped", f"{book.name}: no folder of this video"))
        elif isinstance(expression, str):
            remarks.append(Remark(item, "dropped", f"{book.name}, row {number}: {expression}"))
        else:
            annotated[row.video].append(expression)
    rate = source.fps if fps is None else fps
    videos = [
        LongVideo(f"{dataset}/{key}", f"{dataset}/{subject}", folder, rate, tuple(annotated[key]))
        for key, (subject, folder) in sorted(found.items())
    ]
    return LongVideos(dataset, videos, remarks)


def _annotated(row: _Row) -> Annotated | str:
    """Make an expression of a row, or say why it is none."""
    onset, apex, offset = (whole(text) for text in (row.onset, row.apex, row.offset))
    kind = "micro" if row.kind.strip().lower().startswith("micro") else "macro"
    end = offset or apex
    if not onset:
        return f"the onset is `{row.onset}`, so the expression began before the recording"
    if not end or end < onset:
        return f"onset {row.onset}, apex {row.apex} and offset {row.offset} are in no order"
    inside = apex if apex and onset <= apex <= end else None
    return Annotated(onset, inside, end, kind, canonical_emotion(row.emotion), row.action_units)


def _videos(folder: Path, source: _Source, depth: int) -> list[tuple[str, str, Path]]:
    """Key, subject and folder of every video below a folder."""
    found = []
    for child in folders(folder):
        named = source.video(child)
        if named is not None:
            found.append((*named, child))
        elif depth:
            found += _videos(child, source, depth - 1)
    return found


def _workbook(dataset: str, root: Path, source: _Source) -> tuple[Path, list[_Row]]:
    """Find the annotation workbook by what it holds, in the root and two levels below."""
    places = [root, *folders(root), *(below for child in folders(root) for below in folders(child))]
    books = [
        path
        for place in places
        for path in sorted(place.iterdir())
        if path.suffix.lower() in (".xlsx", ".xls") and not path.name.startswith(("~$", "."))
    ]
    problems = []
    for path in sorted(books, key=lambda path: path.name, reverse=True):  # V3 before V2
        try:
            rows = source.rows(path)
        except MerError as error:
            problems.append(str(error))
            continue
        if rows:
            return path, rows
        problems.append(f"{path.name} has other columns")
    reason = "; ".join(problems) or f"there is no .xlsx or .xls file in {root}"
    raise MerError(f"{dataset}: no annotation workbook: {reason}. Expected:\n{source.expected}")


def _sheets(path: Path) -> list[pd.DataFrame]:
    try:
        return read_sheets(path)
    except MerError:
        raise
    except Exception as error:  # openpyxl, xlrd, zipfile and OSError all have their own
        raise MerError(f"{path} cannot be read as a workbook ({one_line(error)})") from error


# --- SAMM long videos -----------------------------------------------------------------------------


def _samm_video(folder: Path) -> tuple[str, str] | None:
    match = re.fullmatch(r"(\d{3})_(\d+)", folder.name)
    return (folder.name, match[1]) if match else None


_SAMM = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "onset": ("Onset", "Onset Frame"),
    "apex": ("Apex", "Apex Frame"),
    "offset": ("Offset", "Offset Frame"),
    "kind": ("Type", "Micro"),
    "action_units": ("Action Units",),
}


def _samm_rows(path: Path) -> list[_Row] | None:
    """Rows below the header; a release without one has its columns in this order."""
    for cells in _sheets(path):
        header = workbooks.find_header(cells.head(workbooks.HEADER_ROWS), _SAMM, list(_SAMM)[:6])
        top, places = header or (-1, {})
        if header is None and cells.shape[1] >= 9:
            names = ("subject", "clip", "", "onset", "apex", "offset", "", "kind", "action_units")
            places = {name: place for place, name in enumerate(names) if name}
        if not places:
            continue
        rows = []
        for row in cells.iloc[top + 1 :].itertuples(index=False):
            values = {name: str(row[place]).strip() for name, place in places.items()}
            match = re.match(r"(\d+)_(\d+)_\d+", values["clip"])
            if match and values["kind"].lower().startswith(("micro", "macro")):
                borders = (values["onset"], values["apex"], values["offset"])
                video = f"{int(match[1]):03d}_{match[2]}"
                units = values.get("action_units", "")
                rows.append(_Row(video, *borders, values["kind"], "", units))
        if rows:
            return rows
    return None


# --- CAS(ME)^2 ------------------------------------------------------------------------------------


def _casme_sq_video(folder: Path) -> tuple[str, str] | None:
    match = re.fullmatch(r"(\d+)_(\d{4})\D.*|(\d+)_(\d{4})", folder.name)
    parent = re.fullmatch(r"s(\d+)", folder.parent.name)
    if not match or not parent:
        return None
    return f"s{parent[1]}/{match[2] or match[4]}", f"s{parent[1]}"


def _casme_sq_rows(path: Path) -> list[_Row] | None:
    """Rows of the first sheet, with the folder of the subject and the code of the video."""
    sheets = _sheets(path)
    if len(sheets) < 3 or sheets[0].shape[1] < 8:
        return None
    subjects = {
        row[2].strip(): row[1].strip() for row in sheets[1].itertuples(index=False) if len(row) > 2
    }
    codes = {
        row[1].strip().lower(): row[0].strip().zfill(4)
        for row in sheets[2].itertuples(index=False)
        if len(row) > 1
    }
    rows = []
    for row in sheets[0].itertuples(index=False):
        subject, video, onset, apex, offset, units, emotion, kind = (
            str(cell).strip() for cell in row[:8]
        )
        code = codes.get(video.split("_")[0].lower())
        if kind.lower().startswith(("micro", "macro")) and subject in subjects and code:
            key = f"{subjects[subject]}/{code}"
            rows.append(_Row(key, onset, apex, offset, kind, emotion, units))
    return rows or None


# --- CAS(ME)^3, part A ----------------------------------------------------------------------------


def _casme3_video(folder: Path) -> tuple[str, str] | None:
    subject = folder.parent.parent.name
    if folder.name.lower() != "color" or not re.fullmatch(r"spNO\.\d+", subject):
        return None
    return f"{subject}/{folder.parent.name.lower()}", subject


_CASME3 = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "onset": ("Onset",),
    "apex": ("Apex",),
    "offset": ("Offset",),
    "kind": ("Expression type",),
    "action_units": ("AU",),
    "emotion": ("emotion",),
}


def _casme3_rows(path: Path) -> list[_Row] | None:
    """Rows of the workbook of both kinds; those of micro-expressions alone have no type."""
    listed = workbooks.read_workbook(path, _CASME3, list(_CASME3)[:6])
    if listed is None:
        return None
    return [
        _Row(
            f"{row['subject']}/{row['clip'].lower()}",
            *(row[name] for name in ("onset", "apex", "offset", "kind", "emotion", "action_units")),
        )
        for row in listed
    ]


#: Name on the command line -> how to read it.
SOURCES: dict[str, _Source] = {
    "samm_long": _Source(
        _samm_video,
        _samm_rows,
        200.0,
        "    <root>/\n      SAMM_LongVideos_V2_Release.xlsx\n      006_1/006_1_0001.jpg ...",
    ),
    "casme_sq": _Source(
        _casme_sq_video,
        _casme_sq_rows,
        30.0,
        "    <root>/\n      CAS(ME)^2code_final.xlsx\n      s15/15_0401anger1/img001.jpg ...",
    ),
    "casme3": _Source(
        _casme3_video,
        _casme3_rows,
        30.0,
        "    <root>/\n      CAS(ME)3_part_A_v2.xls\n      spNO.1/a/color/1.jpg ...",
    ),
}
