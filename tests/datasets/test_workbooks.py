import re
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pytest

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
