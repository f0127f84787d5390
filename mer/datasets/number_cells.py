"""Numbers as readers find them: in cells of tables and workbooks, annotation files, file names."""

import re

#: Largest whole number that a column of the index table holds (Int64).
LARGEST = 2**63 - 1

# A float's exponent has at most three digits; no honest cell is longer than this.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_LONGEST = 60


def number(text: str) -> float | None:
    """Read a finite number.

    >>> number(" 29.97 "), number("inf"), number("1e400"), number("five")
    (29.97, None, None, None)
    """
    text = text.strip()
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) < float("inf") else None


def whole(text: str) -> int | None:
    """Read a whole number from 0 to `LARGEST`, also one that is written as a float.

    >>> whole("007"), whole("   5.0000000e+00"), whole("3.7"), whole("-1"), whole("1e30")
    (7, 5, None, None, None)
    """
    value = number(text)
    if value is None or value < 0 or not value.is_integer():
        return None
    digits = text.strip()
    exact = int(digits) if digits.isdigit() else int(value)  # a float has 53 bits only
    return exact if exact <= LARGEST else None
