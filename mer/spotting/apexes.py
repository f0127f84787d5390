"""Chooses the apexes of an index table: spotted in the frames of the clips, or their middle.

A sample whose frames are not known keeps the apex of its reader, and so does one in which nothing
can be spotted. What was spotted is kept in the cache.
"""

import functools
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mer import integrity, processes
from mer.cache import Key, exclusive, make_key
from mer.config.settings import Prepare
from mer.datasets.frame_files import index_frames, nearest
from mer.datasets.index import Reading, Remark
from mer.errors import MerError
from mer.files import write_csv, write_json
from mer.prepare.build import worker_count
from mer.prepare.faces import FaceFinder
from mer.prepare.layout import plain_rows
from mer.prepare.sample import Drop, read_picture
from mer.progress import progress_bar
from mer.spotting.clip import spot_clip
from mer.spotting.spotting_scores import ApexError, apex_error
from mer.spotting.stream import Frames

log = logging.getLogger(__name__)

#: Clips that one task of a worker holds.
CHUNK = 8

FILE = "apexes.csv"


class Clip(NamedTuple):
    """The frames of one sample, from onset to offset: number -> file."""

    sample: str
    files: Mapping[int, Path]


def choose_apexes(table: pd.DataFrame, settings: Prepare, cache: str | Path, name: str) -> Reading:
    """Give samples the apexes that `settings.apex` asks for.

    Args:
        table: Index table.
        settings: Settings of the preparation; `apex`, and how faces are found.
        cache: Folder that runs share; what was spotted is in `apexes` below it.
        name: First part of the folder's name, usually the dataset's.

    Returns:
        The table with other `apex`, `apex_path` and `apex_source`, and with the further column
        `annotated_apex` (Int64); remarks on what was spotted and on each sample that was not. For
        `apex: annotated` the table as it is.

    Raises:
        MerError: If the cache cannot be written.
    """
    if settings.apex == "annotated":
        return Reading(table, [])
    clips = list(_clips(table, settings.apex))
    if settings.apex == "midpoint":
        chosen = {clip.sample: _middle(clip) for clip in clips}
        reasons: dict[str, str] = {}
    else:
        answers = _spotted(clips, settings, cache, name)
        chosen = {one: answer for one, answer in answers.items() if isinstance(answer, int)}
        reasons = {one: answer for one, answer in answers.items() if isinstance(answer, str)}
    source = "midpoint" if settings.apex == "midpoint" else "spotted"
    moved = _moved(table, clips, chosen, source)
    remarks = [Remark(name, "mended", f"apex {source}", len(chosen))] if chosen else []
    kept = dict(zip(table["sample_id"], table["apex_source"], strict=True))
    remarks += [
        Remark(one, "ignored", f"apex not spotted, {reason}: the one that is {kept[one]} stays")
        for one, reason in reasons.items()
    ]
    _report(moved, name, source, len(reasons))
    return Reading(moved, remarks)


def annotation_error(table: pd.DataFrame) -> ApexError | None:
    """How far apexes that were spotted or in the middle lie from annotated ones.

    Returns:
        The error; None where no sample has another apex than the annotated one.
    """
    if "annotated_apex" not in table:
        return None
    part = table[table["apex_source"].isin(["spotted", "midpoint"])]
    part = part[part["annotated_apex"].notna()]
    if part.empty:
        return None
    spans = zip(part["onset"].astype(int), part["offset"].astype(int), strict=True)
    apexes, annotated = part["apex"].astype(int), part["annotated_apex"].astype(int)
    return apex_error(apexes.tolist(), annotated.tolist(), list(spans))


def are_chosen(table: pd.DataFrame, settings: Prepare, cache: str | Path, name: str) -> bool:
    """Whether `choose_apexes` with the same arguments has nothing to spot."""
    if settings.apex in ("annotated", "midpoint"):
        return True
    clips = list(_clips(table, settings.apex))
    return not clips or (_entry(clips, settings, cache, name)[0] / FILE).is_file()


def _clips(table: pd.DataFrame, wish: str) -> Iterator[Clip]:
    """Samples whose apex is to be chosen and whose frames are known.

    The last frame of a sequence that ends at its height is no guess, and stays.
    """
    for row in plain_rows(table):
        paths = row["onset_path"], row["offset_path"]
        numbers = row["onset"], row["offset"]
        if None in (*paths, *numbers) or row["apex_source"] in ("last", "spotted"):
            continue
        if wish == "missing" and row["apex_source"] != "midpoint":
            continue
        first, last = map(Path, paths)
        onset, offset = map(int, numbers)
        if first.parent != last.parent or not first.parent.is_dir():
            continue
        frames = _frames_of(first.parent)
        files = {number: path for number, path in frames.items() if onset <= number <= offset}
        if len(files) >= 3 and (files.get(onset), files.get(offset)) == (first, last):
            yield Clip(row["sample_id"], files)


@functools.lru_cache(maxsize=1)  # a video of CASME II or SAMM can hold several samples in a row
def _frames_of(folder: Path) -> dict[int, Path]:
    return index_frames(folder)


def _middle(clip: Clip) -> int:
    """The frame nearest to the middle, as readers take it where no apex is annotated."""
    onset, offset = min(clip.files), max(clip.files)
    middle = nearest(dict(clip.files), onset + (offset - onset) // 2, tolerance=None)
    assert middle is not None, "without a tolerance some frame is nearest"
    return middle


def _moved(
    table: pd.DataFrame, clips: Sequence[Clip], apexes: Mapping[str, int], source: str
) -> pd.DataFrame:
    """The table with new apexes; annotated ones are remembered in `annotated_apex`."""
    files = {clip.sample: clip.files for clip in clips}
    moved = table.copy()
    moved["annotated_apex"] = table["apex"].where(table["apex_source"] == "annotated")
    chosen = moved["sample_id"].isin(apexes.keys())
    ids = moved.loc[chosen, "sample_id"]
    moved.loc[chosen, "apex"] = [apexes[one] for one in ids]
    moved.loc[chosen, "apex_path"] = [str(files[one][apexes[one]]) for one in ids]
    moved.loc[chosen, "apex_source"] = source
    return moved


def _report(table: pd.DataFrame, name: str, source: str, failed: int) -> None:
    count = int((table["apex_source"] == source).sum())
    text = f"{name}: {count} of {len(table)} apexes {source}"
    if failed:
        text += f"; in {failed} clips none could be spotted, and they keep theirs"
    if (error := annotation_error(table)) is not None:
        text += f"; {error}"
    log.info("%s", text)


def _entry(
    clips: Sequence[Clip], settings: Prepare, cache: str | Path, name: str
) -> tuple[Path, Key]:
    """Folder and key of what was spotted: by names and sizes of all frames, and by settings."""
    digest = hashlib.sha256()
    for clip in clips:
        sizes = [[number, path.name, path.stat().st_size] for number, path in clip.files.items()]
        digest.update(json.dumps([clip.sample, sizes]).encode())
    chosen = {"confidence": settings.confidence, "margin": settings.margin}
    key = make_key("apexes", {"clips": digest.hexdigest(), "prepare": chosen})
    return Path(cache, "apexes", f"{name}-{key.digest}"), key


def _spotted(
    clips: Sequence[Clip], settings: Prepare, cache: str | Path, name: str
) -> dict[str, int | str]:
    """Apex of each clip, or why there is none; from the cache where it was spotted before."""
    if not clips:
        return {}
    path, key = _entry(clips, settings, cache, name)
    try:
        with exclusive(path):
            if not ((path / FILE).is_file() and integrity.intact(path)):
                answers = _spot(clips, settings, name)
                rows = [
                    (one, answer, "") if isinstance(answer, int) else (one, None, answer)
                    for one, answer in answers.items()
                ]
                table = pd.DataFrame(rows, columns=["sample_id", "apex", "reason"])
                path.mkdir(exist_ok=True)
                write_json(key.record, path / "settings.json")
                write_csv(table.astype({"apex": "Int64"}), path / FILE)
                integrity.write(path, [FILE, "settings.json"])
            read = pd.read_csv(path / FILE, dtype={"sample_id": "str", "apex": "Int64"})
    except OSError as error:
        raise MerError(
            f"The spotted apexes {path} can't be written: {error}. Mend that, or set another "
            "folder with paths.cache"
        ) from error
    return {
        row.sample_id: str(row.reason) if pd.isna(row.apex) else int(row.apex)
        for row in read.itertuples()
    }


def _spot(clips: Sequence[Clip], settings: Prepare, name: str) -> dict[str, int | str]:
    spot = functools.partial(_spot_chunk, settings.confidence, settings.margin)
    chunks = [clips[start : start + CHUNK] for start in range(0, len(clips), CHUNK)]
    results = processes.run(
        [spot] * max(1, worker_count(settings.workers, len(clips))),
        chunks,
        name=lambda chunk: f"clips {chunk[0].sample} to {chunk[-1].sample}",
        fewer="with prepare.workers=1",
    )
    answers: dict[str, int | str] = {}
    bar = progress_bar(len(clips), f"spot {name}", "clip")
    with bar, closing(results):
        for chunk, answered in results:
            answers |= answered
            bar.update(len(chunk))
    return {clip.sample: answers[clip.sample] for clip in clips}


def _spot_chunk(confidence: float, margin: float, clips: Sequence[Clip]) -> dict[str, int | str]:
    """Spot some clips in one process, with one thread."""
    import cv2

    with ExitStack() as stack:
        stack.callback(cv2.setNumThreads, cv2.getNumThreads())
        cv2.setNumThreads(1)
        finder = stack.enter_context(FaceFinder(confidence))
        return {clip.sample: spot_apex(clip, finder, margin) for clip in clips}


def spot_apex(clip: Clip, finder: FaceFinder, margin: float) -> int | str:
    """Spot the apex of a clip: its frame number, or why there is none."""

    def pictures() -> Iterator[tuple[int, float, np.ndarray[Any, Any]]]:
        for number, path in clip.files.items():
            picture = read_picture(path)
            if not isinstance(picture, Drop):
                yield number, 0.0, picture

    interval = spot_clip(Frames(clip.sample, pictures(), 1.0, len(clip.files)), finder, margin)
    if interval is None:
        return "no face in three frames"
    if not interval.onset < interval.apex < interval.offset:
        return "no motion"
    return interval.apex
