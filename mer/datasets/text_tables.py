"""Text files with a row per sample: comma, semicolon or tab between the cells, UTF-8 or UTF-16."""

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mer.errors import MerError

#: What may stand between cells; the one that the header has most of does.
SEPARATORS = ",;\t"


class TextTable(NamedTuple):
    """A text file as a table.

    Attributes:
        cells: All of it as text, stripped; missing cells are empty. Its index is the row's number:
            the first row below the header is 1, blank rows do not count.
        faults: Number of a row that cannot be read -> why.
    """

    cells: pd.DataFrame
    faults: dict[int, str]


def read_csv(path: Path) -> TextTable:
    """Read a text file with a header.

    Raises:
        MerError: If it cannot be read or decoded, has no header, names a column twice, or a quote
            is opened and never closed.
    """
    header, *rows = _rows(path) or [([], "")]
    names = header[0]
    if header[1] or not any(names):
        raise MerError(f"{path} has no header: its first row must name the columns")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise MerError(f"{path} names the columns {', '.join(twice)} twice; keep one of each")
    kept: dict[int, list[str]] = {}
    faults: dict[int, str] = {}
    for number, (cells, fault) in enumerate(rows, start=1):
        if fault or any(cells[len(names) :]):
            faults[number] = fault or f"{len(cells)} cells, the header names {len(names)} columns"
        else:
            kept[number] = (cells + [""] * len(names))[: len(names)]
    frame = pd.DataFrame(kept.values(), columns=names, index=list(kept), dtype=object)
    return TextTable(frame[[name for name in names if name]], faults)


def _rows(path: Path) -> list[tuple[list[str], str]]:
    """Rows that are not blank: the cells of each, or the fault that keeps it from being read."""
    text = _text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=first.count)
    lines = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    return [row for row in _parsed(path, lines) if row[1] or any(row[0])]


def _parsed(path: Path, lines: Iterator[list[str]]) -> Iterator[tuple[list[str], str]]:
    while True:
        try:
            yield [cell.strip() for cell in next(lines)], ""
        except StopIteration:
            return
        except csv.Error as error:
            if "end of data" in str(error):
                raise MerError(f"{path}: a quote is opened and never closed") from error
            yield [], str(error)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MerError(f"{path} cannot be read ({error.strerror or error})") from error
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise MerError(f"{path} is not UTF-8 ({error}); save it again as UTF-8") from error
