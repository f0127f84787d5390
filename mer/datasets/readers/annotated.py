"""Micro-expression datasets with an annotation workbook: what CASME II and SAMM have in common.

A dataset is a `Layout`; `index_annotated` joins the workbook's rows with the clip folders, mends
what can be mended and remarks on everything that it mends or drops.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mer.datasets import action_units, folder_search
from mer.datasets.frame_files import index_frames, resolve, span_columns
from mer.datasets.index import Reading, Remark, make_table
from mer.datasets.labels import canonical_emotion
from mer.datasets.readers import workbooks
from mer.errors import MerError, raise_all


class Correction(NamedTuple):
    """A known fault of a workbook, mended only where the row shows a `faulty` value."""

    field: str
    faulty: tuple[int, ...]
    right: int
    source: str


#: (dataset, subject, clip, onset or `None` for any) -> correction. Keyed by name, because row
#: numbers differ between releases of one workbook.
CORRECTIONS: dict[tuple[str, str, str, int | None], Correction] = {
    ("samm", "013", "013_1_9", None): Correction(
        "offset", (5793,), 5739, "digits swapped; published loaders agree on 5739"
    ),
}


@dataclass(frozen=True)
class Layout:
    """How one dataset writes its folders and its workbook.

    Attributes:
        dataset: Reader name.
        subject_folder: Full match of a subject's folder name.
        clip_name: Pattern of the start of a clip name.
        subject: From a cell or folder name, the subject as the dataset writes it, or `None`.
        fps: Frames per second of the recordings.
        expected: The tree, for messages.
    """

    dataset: str
    subject_folder: re.Pattern[str]
    clip_name: re.Pattern[str]
    subject: Callable[[str], str | None]
    fps: float
    expected: str


def index_annotated(
    root: Path, layout: Layout, tree: str | None, workbook: str | Path | None
) -> Reading:
    """Join workbook and clip folders of one dataset into the index table.

    Args:
        root: Folder at or above the subject folders.
        layout: The dataset.
        tree: `raw`, `cropped` or `None`, see `folder_search.choose_tree`.
        workbook: The user's choice of the file, see `workbooks.find_workbook`.

    Raises:
        MerError: If root, pictures or workbook are not there (all that is missing at once), or if
            no row of the workbook has its pictures.
    """
    key = f"data.micro.{layout.dataset}"
    folder_search.check_root(key, root, layout.expected)
    found = folder_search.find_trees(root, lambda path: _is_subject(path, layout))
    best, remarks = folder_search.choose_tree(key, found, root, tree) if found else (None, [])
    book = workbooks.find_workbook(root, best, layout.clip_name, workbook)
    missing = []
    if not best:
        missing = [folder_search.not_found(key, root, "folders of clips", layout.expected)]
    raise_all(
        f"{layout.dataset} cannot be read:", [*missing, *([book.problem] if book.problem else [])]
    )
    remarks += [
        Remark(
            str(other), "ignored", f"a second workbook, {book.path} is read; `workbook` chooses", 0
        )
        for other in book.others
    ]
    assert best is not None and book.path is not None, "what is missing was raised above"
    clips = _clips(best, layout)
    rows: dict[str, dict[str, Any]] = {}
    named = set()
    for values in book.rows:
        subject = layout.subject(values["subject"])
        place = (subject, values["clip"].strip().casefold())
        item = f"{layout.dataset}/{subject or values['subject']}/{values['clip']}"
        named.add(place)
        if subject is None:
            reason = f"row {values['row']}: `{values['subject']}` is no subject of this dataset"
            remarks.append(Remark(item, "dropped", reason))
        elif item in rows:
            reason = f"row {values['row']}: a second row of the same clip"
            remarks.append(Remark(item, "dropped", reason))
        elif place not in clips:
            reason = f"row {values['row']}: no folder of this clip in {best}"
            remarks.append(Remark(item, "dropped", reason))
        else:
            row, remark = _sample(layout, item, subject, clips[place], values)
            remarks += [remark] if remark else []
            if row:
                rows[item] = row
    for place in sorted(clips.keys() - named):
        item = f"{layout.dataset}/{place[0]}/{clips[place].name}"
        remarks.append(Remark(item, "dropped", f"no row in {book.path.name} names this folder"))
    if not rows:
        shown = "\n".join(f"  - {remark.item}: {remark.reason}" for remark in remarks[:5])
        raise MerError(
            f"{layout.dataset}: none of the {len(book.rows)} rows of {book.path} gives a sample "
            f"from the {len(clips)} clip folders in {best}:\n{shown}\n"
            f"Set `{key}.root` and `{key}.workbook` to files of one release. Expected:\n"
            f"{layout.expected}"
        )
    return Reading(make_table(list(rows.values())), remarks)


def _is_subject(path: Path, layout: Layout) -> bool:
    return bool(layout.subject_folder.fullmatch(path.name)) and any(
        layout.clip_name.match(child.name) for child in folder_search.folders(path)
    )


def _clips(tree: Path, layout: Layout) -> dict[tuple[str | None, str], Path]:
    """Index the clip folders by (subject, clip name without case)."""
    return {
        (layout.subject(subject.name), clip.name.strip().casefold()): clip
        for subject in folder_search.folders(tree)
        if layout.subject_folder.fullmatch(subject.name)
        for clip in folder_search.folders(subject)
    }


def _sample(
    layout: Layout, item: str, subject: str, folder: Path, values: dict[str, str]
) -> tuple[dict[str, Any] | None, Remark | None]:
    """Make the table's row of one clip and say what was mended, or why there is no row."""
    frames = index_frames(folder)
    emotion = canonical_emotion(values["emotion"])
    if not frames:
        return None, Remark(item, "dropped", f"{folder} holds no picture")
    if not emotion:
        return None, Remark(item, "dropped", f"row {values['row']}: the emotion is empty")
    numbers = {name: workbooks.frame(values[name]) for name in ("onset", "apex", "offset")}
    notes = _correct(layout.dataset, subject, values["clip"], numbers)
    span = resolve(frames, **numbers)
    notes += span.notes
    if span.failure:
        reason = f"row {values['row']}: {'; '.join([span.failure, *notes])}"
        return None, Remark(item, "dropped", reason)
    units = action_units.parse(values["action_units"])
    notes += [f"action units `{values['action_units']}`: {note}" for note in units.remarks]
    row = {
        "sample_id": item,
        "dataset": layout.dataset,
        "subject": f"{layout.dataset}/{subject}",
        "clip": folder.name,
        "role": "micro",
        "emotion": emotion,
        "action_units": action_units.text(units.units),
        "fps": layout.fps,
        **span_columns(frames, span),
    }
    return row, Remark(item, "mended", "; ".join(notes)) if notes else None


def _correct(dataset: str, subject: str, clip: str, numbers: dict[str, int | None]) -> list[str]:
    """Apply a known correction to the numbers in place and return what was done."""
    for onset in (numbers["onset"], None):
        correction = CORRECTIONS.get((dataset, subject, clip, onset))
        if correction and numbers[correction.field] in correction.faulty:
            wrong, numbers[correction.field] = numbers[correction.field], correction.right
            return [
                f"{correction.field} {wrong} corrected to {correction.right} ({correction.source})"
            ]
    return []
