"""Spots expressions in whole videos, as tables, and scores a dataset of long videos."""

import functools
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mer import processes
from mer.datasets.long_videos import LongVideo, LongVideos
from mer.errors import MerError
from mer.progress import progress_bar
from mer.spotting.frames import Source, open_frames
from mer.spotting.spotted_expression import Expression, Settings
from mer.spotting.spotter import Face, Spotter
from mer.spotting.spotting_scores import Counts, count, pair, pooled
from mer.spotting.stream import Progress

#: Columns of a table of spotted intervals; frames as the source numbers them, times in seconds.
COLUMNS = (
    *("video", "face", "kind", "onset", "apex", "offset"),
    *("onset_time", "apex_time", "offset_time", "strength", "level", "regions", "head_motion"),
)


class Video(NamedTuple):
    """What was spotted in one video.

    Attributes:
        table: One row per interval, with `COLUMNS`.
        faces: The faces that were seen.
        fps: Frames per second.
        frames: Number of frames.
        warnings: What limits the result.
    """

    table: pd.DataFrame
    faces: list[Face]
    fps: float
    frames: int
    warnings: list[str]


def spot_video(
    source: Source,
    fps: float | None = None,
    settings: Settings | None = None,
    *,
    name: str | None = None,
    min_face: float = 60.0,
    progress: Progress | None = None,
) -> Video:
    """Spot the expressions of a video, folder of frames, camera or array.

    Args:
        source: See `mer.spotting.frames.open_frames`.
        fps: Frames per second, where the source does not know.
        settings: When a motion is an expression.
        name: Name of the video in the table; that of the source by default.
        min_face: Least width of a face in pixels.
        progress: Called after each frame.

    Raises:
        MerError: If the source gives no frame.
    """
    rows: list[dict[str, Any]] = []

    def keep(one: Expression) -> None:
        rows.append(_row(frames.name if name is None else name, one))

    with (
        open_frames(source, fps, progress) as frames,
        Spotter(frames.fps, settings, min_face=min_face) as spotter,
    ):
        spotter.watch(frames, keep)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(["onset_time", "face"])
    warnings = [*frames.warnings, *spotter.warnings]
    table = table.reset_index(drop=True)
    return Video(table, spotter.faces, frames.fps, spotter.frames, warnings)


def _row(name: str, one: Expression) -> dict[str, Any]:
    borders = {"onset": one.onset, "apex": one.apex, "offset": one.offset}
    return {
        "video": name,
        "face": one.face,
        "kind": one.kind,
        **{key: frame.number for key, frame in borders.items()},
        **{f"{key}_time": round(frame.time, 4) for key, frame in borders.items()},
        "strength": round(one.strength, 4),
        "level": round(one.level, 3),
        "regions": " ".join(one.regions),
        "head_motion": round(one.head_motion, 3),
    }


class Evaluation(NamedTuple):
    """A dataset of long videos, spotted and scored.

    Attributes:
        table: Spotted and missed intervals: `COLUMNS`, `subject`, `right`, and the annotation that
            belongs to it as `annotated_onset`, `annotated_apex`, `annotated_offset`,
            `annotated_kind`, `emotion`.
        counts: `all`, `micro`, `macro` -> counts over all videos.
        apex_frames: Mean distance of the apexes of right intervals from the annotated ones in
            frames; None where no apex is annotated.
        warnings: What limits the result, per video.
    """

    table: pd.DataFrame
    counts: dict[str, Counts]
    apex_frames: float | None
    warnings: list[str]


def evaluate(dataset: LongVideos, settings: Settings | None = None, workers: int = 1) -> Evaluation:
    """Spot every video of a dataset and compare with its annotation.

    Micro-expressions are compared with spotted intervals of at most half a second, others with
    longer ones; `all` compares without regard to length.
    """
    spot = functools.partial(_spot_one, settings)
    videos: dict[str, Video] = {}
    results = processes.run(
        [spot] * max(1, workers), dataset.videos, name=lambda v: v.name, fewer="with --workers 1"
    )
    bar = progress_bar(len(dataset.videos), "spot", "video")
    with bar, closing(results):
        for video, result in results:
            videos[video.name] = result
            bar.update()
    tables = [_compared(video, videos[video.name].table) for video in dataset.videos]
    table = pd.concat(tables, ignore_index=True)
    right = table[table["right"] & table["annotated_apex"].notna()]
    error = (right["apex"] - right["annotated_apex"]).abs().mean() if len(right) else None
    warnings = [f"{name}: {text}" for name, video in videos.items() for text in video.warnings]
    return Evaluation(
        table,
        {kind: counts(dataset, videos, kind) for kind in ("all", "micro", "macro")},
        None if error is None else float(error),
        warnings,
    )


def counts(dataset: LongVideos, videos: Mapping[str, Video], kind: str) -> Counts:
    """Count right, wrong and missed intervals of a kind (`all`, `micro`, `macro`)."""
    per_video = []
    for video in dataset.videos:
        table = videos[video.name].table
        if kind != "all":
            table = table[(table["kind"] == "micro") == (kind == "micro")]
        annotated = [(e.onset, e.offset) for e in video.expressions if kind in ("all", e.kind)]
        per_video.append(count(borders(table), annotated))
    return pooled(per_video)


def _spot_one(settings: Settings | None, video: LongVideo) -> Video:
    """Spot one video with one thread; of several faces the one that is there longest counts."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        result = spot_video(video.folder, video.fps, settings, name=video.name)
    except MerError as error:
        raise MerError(f"{video.name}: {error}") from error
    finally:
        cv2.setNumThreads(before)
    longest = max(result.faces, key=lambda face: len(face.times), default=None)
    if longest is None:
        return result
    mine = result.table["face"] == longest.number
    return result._replace(table=result.table[mine].reset_index(drop=True), faces=[longest])


def borders(table: pd.DataFrame) -> list[tuple[int, int]]:
    """First and last frame of each interval of a table."""
    return list(zip(table["onset"].astype(int), table["offset"].astype(int), strict=True))


def _compared(video: LongVideo, table: pd.DataFrame) -> pd.DataFrame:
    """Join spotted with annotated intervals; missed ones stand below, without a spotted one."""
    annotated = [(e.onset, e.offset) for e in video.expressions]
    partner = dict(pair(borders(table), annotated))
    rows = [
        {**row, "right": number in partner, **_annotation(video, partner.get(number))}
        for number, row in enumerate(table.to_dict("records"))
    ]
    missed = sorted(set(range(len(annotated))) - set(partner.values()))
    rows += [{"video": video.name, "right": False, **_annotation(video, one)} for one in missed]
    columns = [*COLUMNS, "right", *_annotation(video, None)]
    return pd.DataFrame(rows, columns=columns).assign(subject=video.subject)


def _annotation(video: LongVideo, number: int | None) -> dict[str, Any]:
    one = None if number is None else video.expressions[number]
    places = ("onset", "apex", "offset", "kind")
    annotated = {f"annotated_{name}": getattr(one, name, None) for name in places}
    return {**annotated, "emotion": getattr(one, "emotion", None)}


def write_intervals(table: pd.DataFrame, folder: Path, stem: str, facts: Mapping[str, Any]) -> None:
    """Write a table of intervals as `<stem>.csv`, and with facts about it as `<stem>.json`."""
    from mer.files import write_csv, write_json

    folder.mkdir(parents=True, exist_ok=True)
    write_csv(table, folder / f"{stem}.csv")
    plain = table.astype(object).where(table.notna(), None)
    write_json({**facts, "intervals": plain.to_dict("records")}, folder / f"{stem}.json")
