"""Readers of long videos, on look-alikes and on small trees of their own."""

from pathlib import Path

import pytest
from openpyxl import Workbook

from mer.datasets.long_videos import Annotated, read_long_videos
from mer.errors import MerError
from mer.synthetic.long_trees import planned


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def book(path: Path, *sheets: list[list[object]]) -> None:
    made = Workbook()
    for number, rows in enumerate(sheets):
        sheet = made.worksheets[0] if not number else made.create_sheet()
        for row in rows:
            sheet.append(row)
    made.save(path)


def test_the_look_alike_of_casme_sq_is_read_as_it_was_planned(long_videos: Path) -> None:
    reading = read_long_videos("casme_sq", long_videos)
    (video,), (plan,) = reading.videos, planned("casme_sq", 1, 1, 20.0, 3)
    assert (video.name, video.subject, video.fps) == ("casme_sq/s15/0101", "casme_sq/s15", 30.0)
    assert [(e.onset, e.apex, e.offset, e.kind) for e in video.expressions] == [
        (e.clip.onset, e.clip.apex, e.clip.offset, e.kind) for e in plan.events
    ]
    assert len(list(video.folder.iterdir())) == plan.frames == 600
    assert reading.remarks == []


def test_samm_rows_without_onset_are_left_out_and_offsets_of_zero_are_the_apex(
    tmp_path: Path,
) -> None:
    for name in ("006_1", "007_2"):
        touch(tmp_path / "SAMM_longvideos" / name / f"{name}_0001.jpg")
    prose: list[list[object]] = [["about this release"]] * 9
    header: list[object] = ["Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset"]
    header += ["Duration", "Type", "Action Units", "Notes"]
    rows: list[list[object]] = [
        ["006", "006_1_1", 1, 10, 20, 30, 21, "Micro - 1/2", "4", None],
        ["006", "006_1_2", 1, 100, 150, 0, 0, "Macro", "12", None],
        ["006", "006_1_3", 1, 0, 0, 400, 0, "Macro", "12", None],
        ["099", "099_9_1", 9, 1, 2, 3, 3, "Macro", "12", None],
    ]
    book(tmp_path / "SAMM_LongVideos_V2_Release.xlsx", [*prose, header, *rows])
    reading = read_long_videos("samm_long", tmp_path)
    first, second = reading.videos
    assert first.expressions == (
        Annotated(10, 20, 30, "micro", "", "4"),
        Annotated(100, 150, 150, "macro", "", "12"),
    )
    assert (second.name, second.expressions, second.fps) == ("samm_long/007_2", (), 200.0)
    assert [remark.item for remark in reading.remarks] == ["samm_long/006_1", "samm_long/099_9"]


def test_casme3_of_both_kinds_is_read_without_case(tmp_path: Path) -> None:
    touch(tmp_path / "part_A" / "spNO.3" / "J" / "color" / "355.jpg")
    header: list[object] = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU"]
    header += ["Expression type", "Objective class"]
    book(
        tmp_path / "CAS(ME)3_part_A_v2.xlsx",
        [header, ["spNO.3", "j", "5", "9", "14", "4+7", "Micro-expression", "IV"]],
    )
    (video,) = read_long_videos("casme3", tmp_path).videos
    assert video.expressions == (Annotated(5, 9, 14, "micro", "", "4+7"),)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="no folder of frames"):
        read_long_videos("casme_sq", tmp_path)
    touch(tmp_path / "006_1" / "006_1_0001.jpg")
    with pytest.raises(MerError, match="no annotation workbook"):
        read_long_videos("samm_long", tmp_path)
    with pytest.raises(MerError, match="no dataset of long videos"):
        read_long_videos("smic", tmp_path)
