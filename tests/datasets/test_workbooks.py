import re
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pytest

from mer.datasets import sheets
from mer.datasets.readers.workbooks import find_workbook, frame, read_workbook
from mer.errors import MerError

CLIP = re.compile(r"EP\d")


def write(path: Path, rows: list[list], sheet: str = "Sheet1", before: Sequence[list] = ()) -> Path:
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in [*before, *rows]:
        book.active.append(row)
    book.create_sheet("Sheet2")
    book.save(path)
    return path


HEADER = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None]
HEADER += ["Action Units", "Estimated Emotion"]


@pytest.mark.parametrize(
    ("text", "number"),
    [("46", 46), ("46.0", 46), (" 5739 ", 5739), ("0046", 46)]
    + [(text, None) for text in ["/", "", "?", "nan", "-1", "0", "MISSING <-426679", "4.5"]],
)
def test_frame_numbers_and_sentinels(text: str, number: int | None) -> None:
    assert frame(text) == number


def test_everything_is_text_and_ids_keep_their_zeros(tmp_path: Path) -> None:
    path = write(
        tmp_path / "book.xlsx",
        [
            HEADER,
            ["01", "EP02_01f", None, 46, 59, 86.0, None, 12, "happiness"],
            [],
            ["04", " EP12_01f ", None, 261, "/", 321, None, "4+L9", "disgust"],
        ],
    )
    rows = read_workbook(path)
    assert [row["subject"] for row in rows] == ["01", "04"]
    assert rows[0] == {
        "subject": "01",
        "clip": "EP02_01f",
        "onset": "46",
        "apex": "59",
        "offset": "86",
        "action_units": "12",
        "emotion": "happiness",
        "row": "2",
    }
    assert (rows[1]["clip"], rows[1]["apex"], rows[1]["row"]) == ("EP12_01f", "/", "4")


def test_the_header_is_found_after_13_lines_of_prose_and_in_other_spellings(tmp_path: Path) -> None:
    prose = [[f"Note {line} on the Subject"] for line in range(13)]
    header = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame"]
    header += ["Offset Frame", "Duration", "Micro", "Action Units", "Estimated Emotion"]
    data = ["006", "006_1_2", 1, 5562, 5588, 5632, "=F15-D15+1", "Micro - 1/2", "T23", "Anger"]
    path = write(tmp_path / "samm.xlsx", [header, data], "MICRO_ONLY", before=prose)
    (row,) = read_workbook(path)
    assert (row["subject"], row["clip"]) == ("006", "006_1_2")  # never 6 and 612
    assert (row["onset"], row["apex"], row["offset"]) == ("5562", "5588", "5632")
    assert row["row"] == "15"


def test_a_formula_without_stored_value_is_an_empty_cell(tmp_path: Path) -> None:
    rows = [HEADER, ["01", "EP02_01f", None, 46, "=D2+13", 86, None, 12, "happiness"]]
    (row,) = read_workbook(write(tmp_path / "book.xlsx", rows))
    assert row["apex"] == ""


def test_a_workbook_without_the_columns_is_another_one(tmp_path: Path) -> None:
    path = write(tmp_path / "other.xlsx", [["Subject", "Filename", "Objective Class"], [1, "a", 2]])
    assert read_workbook(path) is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    path.write_bytes(b"no zip at all")
    with pytest.raises(MerError, match=r"book\.xlsx cannot be read as a workbook"):
        read_workbook(path)


def test_the_workbook_is_told_from_its_neighbours(tmp_path: Path) -> None:
    row = ["01", "EP02_01f", None, 46, 59, 86, None, 12, "happiness"]
    foreign = ["006", "006_1_2", None, 46, 59, 86, None, 12, "Anger"]
    write(tmp_path / "A-SAMM.xlsx", [HEADER, foreign])
    write(tmp_path / "CASME2-ObjectiveClasses.xlsx", [["Subject", "Filename", "Objective Class"]])
    (tmp_path / "~$CASME2-coding-20140508.xlsx").write_bytes(b"lock file")
    old = write(tmp_path / "CASME2-coding-20140508.xlsx", [HEADER, row])
    new = write(tmp_path / "CASME2-coding-20190701.xlsx", [HEADER, row, row])
    found = find_workbook(tmp_path, None, CLIP)
    assert (found.path, found.others, len(found.rows)) == (old, [new], 1)
    assert find_workbook(tmp_path, None, CLIP, new.name).path == new


def test_what_is_wrong_with_each_candidate_is_said(tmp_path: Path) -> None:
    assert "no .xlsx or .xls file" in find_workbook(tmp_path, None, CLIP).problem
    (tmp_path / "broken.xlsx").write_bytes(b"")
    write(tmp_path / "other.xlsx", [["Subject", "Filename"]])
    found = find_workbook(tmp_path, None, CLIP)
    assert found.path is None
    assert "broken.xlsx cannot be read" in found.problem
    assert "other.xlsx has no row with the columns Subject, Filename, OnsetFrame" in found.problem
    assert "set `workbook` to its path" in found.problem
    assert "is no file" in find_workbook(tmp_path, None, CLIP, "absent.xlsx").problem


ROW = ["01", "EP02_01f", None, 46, 59, 86, None, 12, "happiness"]


@pytest.mark.parametrize("cell", ["K1048576", "XFD1048576", "XFD1"])
def test_a_stray_blank_in_the_last_cell_costs_nothing(tmp_path: Path, cell: str) -> None:
    book = openpyxl.Workbook()
    for row in (HEADER, ROW):
        book.active.append(row)
    book.active[cell] = " "
    book.save(tmp_path / "book.xlsx")
    began = time.process_time()
    (row,) = read_workbook(tmp_path / "book.xlsx")
    assert row["clip"] == "EP02_01f"
    assert time.process_time() - began < 5


def test_a_workbook_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "book.xlsx", [HEADER, ROW])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/big.xml", b" " * 120_000_000)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(MerError, match=r"unpacks to 120,\d+,\d+ bytes; a workbook may have"):
        read_workbook(path)


def test_too_many_rows_are_refused_and_rows_below_a_long_gap_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gap = [[]] * 1_000
    path = write(tmp_path / "book.xlsx", [HEADER, ROW, *gap, ROW, *gap, [], ROW])
    assert [row["row"] for row in read_workbook(path)] == ["2", "1003"]
    monkeypatch.setattr(sheets, "MOST_ROWS", 2)
    with pytest.raises(MerError, match="a sheet of more than 2 rows"):
        read_workbook(path)


def test_the_header_is_looked_for_in_the_first_hundred_rows(tmp_path: Path) -> None:
    prose = [[f"line {number}"] for number in range(99)]
    assert read_workbook(write(tmp_path / "a.xlsx", [HEADER, ROW], before=prose)) is not None
    assert read_workbook(write(tmp_path / "b.xlsx", [["x"], HEADER, ROW], before=prose)) is None


@pytest.mark.parametrize("entity", ['SYSTEM "file:///etc/passwd"', '"a"'])
def test_entities_in_a_workbook_are_not_followed(tmp_path: Path, entity: str) -> None:
    path = write(tmp_path / "book.xlsx", [HEADER, ROW])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = "xl/worksheets/sheet1.xml"
    sheet = parts[name].replace(b"EP02_01f", b"&x;")
    parts[name] = b"<!DOCTYPE a [<!ENTITY x %s>]>" % entity.encode() + sheet
    with zipfile.ZipFile(path, "w") as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    try:
        rows = read_workbook(path) or []
    except MerError:
        rows = []
    assert "root:" not in str(rows)
