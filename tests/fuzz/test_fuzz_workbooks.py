"""Annotation workbooks: damaged files, other XML inside, other cells."""

import io
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import strategies as st

from mer import datasets
from mer.datasets.readers.workbooks import read_workbook
from tests.fuzz.fuzz_inputs import PIECES, fuzz, mutated, mutated_bytes, sizes

HEADER = [
    "Subject",
    "Filename",
    "OnsetFrame",
    "ApexFrame",
    "OffsetFrame",
    "Action Units",
    "Emotion",
]
ROWS = [
    ["01", "EP02_01f", 46, 59, 86, "4+L9", "happiness"],
    ["04", "EP12_01f", 1, "/", 9, 12, "others"],
]


def workbook(rows: list[list[object]]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


@st.composite
def other_xml(draw: st.DrawFn, content: bytes) -> bytes:
    """The workbook with one of its XML files changed and packed again."""
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        files = {name: book.read(name) for name in book.namelist()}
    name = draw(st.sampled_from(sorted(files)))
    files[name] = draw(mutated([files[name].decode()], 6)).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as book:
        for name, text in files.items():
            book.writestr(name, text)
    return packed.getvalue()


@sizes(60, 3_500)
def test_damaged_workbooks(examples: int, tmp_path: Path) -> None:
    content = workbook([HEADER, *ROWS])
    path = tmp_path / "book.xlsx"

    def check(value: bytes) -> None:
        path.write_bytes(value)
        read_workbook(path)

    fuzz(
        st.one_of(mutated_bytes(content), other_xml(content), st.binary(max_size=64)),
        examples,
        check,
    )


@pytest.fixture
def casme2(tmp_path: Path) -> Path:
    for subject, clip in (("sub01", "EP02_01f"), ("sub04", "EP12_01f")):
        folder = tmp_path / "CASME2_RAW_selected" / subject / clip
        folder.mkdir(parents=True)
        for frame in (46, 59, 86):
            (folder / f"img{frame}.jpg").touch()
    return tmp_path


@sizes(40, 1_500)
def test_other_cells(examples: int, casme2: Path) -> None:
    cells = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.sampled_from([piece for piece in PIECES if "\0" not in piece]),
    )

    def check(changes: list[tuple[int, int, object]]) -> None:
        rows: list[list[object]] = [list(HEADER), *map(list, ROWS)]
        for row, column, value in changes:
            rows[row][column] = value
        try:
            content = workbook(rows)
        except Exception:  # openpyxl doesn't write every value
            return
        (casme2 / "book.xlsx").write_bytes(content)
        table, remarks = datasets.read("casme2", casme2)
        assert len(table) + sum(one.action == "dropped" for one in remarks) >= 2

    change = st.tuples(st.integers(0, 2), st.integers(0, len(HEADER) - 1), cells)
    fuzz(st.lists(change, min_size=1, max_size=4), examples, check)
