"""Sheets of a workbook as tables of text, within bounds.

A sheet may claim 16,384 columns and 1,048,576 rows, by a stray blank in its last cell or on
purpose, and a file of megabytes may unpack to gigabytes.
"""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from mer.errors import MerError

#: Bounds: bytes of all unpacked parts, columns, rows with content, and empty rows in a row.
MOST_BYTES, MOST_COLUMNS, MOST_ROWS, LONGEST_GAP = 100_000_000, 256, 100_000, 1_000


def read_sheets(path: Path) -> list[pd.DataFrame]:
    """Read every sheet of a workbook, without a header.

    Columns and rows that a bound leaves out are not read: those right of column 256, and those
    below 1,000 empty rows.

    Args:
        path: An .xlsx or .xls file.

    Returns:
        One table per sheet; every cell is text, empty ones are empty text.

    Raises:
        MerError: If it has too much content. Libraries raise their own errors for damaged files.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start != b"PK\3\4":  # no zip: an .xls, whose own format has bounds
        if (size := path.stat().st_size) > MOST_BYTES:
            raise MerError(f"{path} has {size:,} bytes; a workbook may have {MOST_BYTES:,}")
        sheets = pd.read_excel(path, sheet_name=None, header=None, dtype=str, na_filter=False)
        return list(sheets.values())
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > MOST_BYTES:
        raise MerError(f"{path} unpacks to {unpacked:,} bytes; a workbook may have {MOST_BYTES:,}")

    from openpyxl import load_workbook

    book = load_workbook(path, read_only=True, data_only=True, keep_links=False)
    try:
        return [_table(sheet, path) for sheet in book.worksheets]
    finally:
        book.close()


def _table(sheet: Any, path: Path) -> pd.DataFrame:
    sheet.reset_dimensions()  # what the sheet says of its size need not be true
    cells = sheet.iter_rows(max_col=MOST_COLUMNS, values_only=True)
    rows = [[_text(cell) for cell in row] for row in _rows(cells, path)]
    width = max(
        (place + 1 for row in rows for place, cell in enumerate(row) if cell.strip()), default=0
    )
    return pd.DataFrame([[*row, *[""] * (width - len(row))][:width] for row in rows], dtype=str)


def _rows(rows: Iterable[tuple[Any, ...]], path: Path) -> Iterator[tuple[Any, ...]]:
    """Yield rows up to the last one with content before a long gap."""
    empty: list[tuple[Any, ...]] = []
    filled = 0
    for row in rows:
        if not any(str(cell).strip() for cell in row if cell is not None):
            empty.append(())
            if len(empty) > LONGEST_GAP:
                return
            continue
        filled += 1
        if filled > MOST_ROWS:
            raise MerError(f"{path} has a sheet of more than {MOST_ROWS:,} rows")
        yield from empty
        empty.clear()
        yield row


def _text(cell: Any) -> str:
    """A cell as pandas writes it: whole numbers without a point, empty ones as empty text."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
