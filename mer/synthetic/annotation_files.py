"""The annotation workbooks of CASME II and SAMM with headers, types and oddities of the real ones.

The texts and the rows are made up.
"""

from pathlib import Path

from openpyxl import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from mer.synthetic.expressions import act
from mer.synthetic.plan import Clip

_SAMM_PREAMBLE = (
    ("Synthetic look-alike of the SAMM micro-movement codes",),
    ("Made-up persons and made-up codes in the layout of the real workbook.",),
    ("Do not report results on it as results on SAMM.",),
    (),
    ("Symbol Key",),
    ("L / R", "left or right half of the face"),
    ("A (before a number)", "both halves, unequally"),
    ("T / B", "top or bottom"),
    ("A to E (after a number)", "intensity, A is the weakest"),
    (),
    ("AU Help",),
    ("43", "eye closure, in brackets where it only refers"),
    (),
)

_SAMM_HEADER = (
    "Subject",
    "Filename",
    "Inducement Code",
    "Onset Frame",
    "Apex Frame",
    "Offset Frame",
    "Duration",
    "Micro",
    "Action Units",
    "Estimated Emotion",
    "Objective Classes",
    "Notes",
)

#: The real classes follow from the action units; here one per emotion is enough.
_SAMM_OBJECTIVE = {
    "Happiness": 1,
    "Surprise": 2,
    "Anger": 3,
    "Disgust": 4,
    "Sadness": 5,
    "Fear": 6,
    "Contempt": 7,
    "Other": 7,
}


def write_casme2(path: Path, clips: list[Clip], seed: int) -> None:
    """Write the coding file of CASME II: subjects as text, two nameless columns, empty sheets."""
    book = Workbook()
    sheet = _first_sheet(book, "Sheet1")
    sheet.append(
        [
            *("Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame"),
            *(None, "Action Units", "Estimated Emotion"),
        ]
    )
    others = 0
    for clip in clips:
        codes: int | str = _whole(act(clip, seed).codes)
        if clip.emotion == "others":
            others += 1
            if others % 20 == 4:  # 5 of 99 rows do not know their action units
                codes = "?"
        frames = (clip.onset, clip.apex_cell, clip.offset)
        subject = clip.subject.removeprefix("sub")
        sheet.append((subject, clip.clip, None, *frames, None, codes, clip.emotion))
    book.create_sheet("Sheet2")
    book.create_sheet("Sheet3")
    book.save(path)


def write_samm(path: Path, clips: list[Clip], seed: int) -> None:
    """Write SAMM's codes: 13 rows of text above the header, durations as formulas."""
    book = Workbook()
    sheet = _first_sheet(book, "MICRO_ONLY")
    for number, line in enumerate(_SAMM_PREAMBLE, start=1):
        for column, text in enumerate(line, start=1):
            sheet.cell(number, column, text)
    for column, text in enumerate(_SAMM_HEADER, start=1):
        sheet.cell(len(_SAMM_PREAMBLE) + 1, column, text)
    for number, clip in enumerate(clips):
        row = len(_SAMM_PREAMBLE) + 2 + number
        values = (
            clip.subject,
            clip.clip,
            int(clip.clip.split("_")[1]),
            clip.onset,
            clip.apex_cell,
            clip.offset,
            f"=F{row}-D{row}+1",
            "Micro - 1/2",
            _whole(_messy(act(clip, seed).codes, number)),
            clip.emotion,
            _SAMM_OBJECTIVE[clip.emotion],
            "glasses reflect" if number % 29 == 7 else None,
        )
        for column, value in enumerate(values, start=1):
            sheet.cell(row, column, value)
    book.save(path)


def _first_sheet(book: Workbook, title: str) -> Worksheet:
    sheet = book.worksheets[0]
    sheet.title = title
    return sheet


def _whole(codes: str) -> int | str:
    """A single unit stands as a number in the real workbooks, several as text."""
    return int(codes) if codes.isdigit() else codes


def _messy(codes: str, row: int) -> str:
    """Write action units in one of the ways in which SAMM's coders did."""
    first, *rest = codes.split("+")
    tail = "".join(f"+{code}" for code in rest)
    match row % 10:
        case 1:
            return f"{first}C{tail}"
        case 2:
            return f"{codes} "
        case 3:
            return f"{codes}+ ref(43)"
        case 4:
            return " + ".join([first, *rest])
        case 5:
            return f"{codes} or L10"
        case 6 if first.isdigit():
            return f"A{first}B{tail}"
        case 7:
            return f"{first}A/B{tail}"
        case 8 if row % 20 == 8:
            return f"{codes}+soft focus"
    return codes
