"""Action units (FACS) from the free text of annotation workbooks.

The workbooks mix whole numbers with text that carries sides, intensities, alternatives and prose.
`parse` reads what it can and says what it could not read; it never raises.
"""

import re
import unicodedata
from typing import NamedTuple

_UNIT = re.compile(
    r"(?:AU\s*)?(?P<prefix>[LRATB]?)\s*0?(?P<number>[1-9]\d?)\s*(?P<intensity>[A-E]?)"
    r"\s*(?P<mark>\?|\(\s*K\s*\))?",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"ref\s*(?=\()", re.IGNORECASE)
_PREFIX = re.compile(r"[LRATB]", re.IGNORECASE)
_OR = re.compile(r"\s+or\s+|/", re.IGNORECASE)


class ActionUnit(NamedTuple):
    """One action unit of a sample.

    Attributes:
        number: FACS number, 1 to 99.
        prefix: `L` left, `R` right, `A` asymmetric, `T` top, `B` bottom, or empty for both sides.
        intensity: `A` (trace) to `E` (maximum), or empty where not scored.
        mark: `ref` for a unit that the annotators put into `ref()`, `k` for one they call kept
            (4DME), `?` for a doubtful one, or empty.
    """

    number: int
    prefix: str = ""
    intensity: str = ""
    mark: str = ""

    def __str__(self) -> str:
        """Write the unit canonically: `L12`, `R10A`, `ref(43)`, `4(k)`, `13?`."""
        unit = f"{self.prefix}{self.number}{self.intensity}"
        return {"": unit, "ref": f"ref({unit})", "k": f"{unit}(k)", "?": f"{unit}?"}[self.mark]


class Parsed(NamedTuple):
    """The units in the order written, and one sentence for each piece that was not taken over."""

    units: list[ActionUnit]
    remarks: list[str]


def parse(value: object) -> Parsed:
    """Read the action units of one cell.

    Pieces are joined by `+`, `,` or `;`, full-width forms included. Of alternatives (`L12 or L14`,
    `10A/B`, `A/L12`) the first is taken and a remark names the rest: a sample with both would claim
    more than the annotators saw. A lone `?` and empty cells give no unit.

    Args:
        value: Text, a number, `None` or NaN.

    Returns:
        Units and remarks; `text(parse(value).units)` is the canonical form.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of numbers with gaps
    written = unicodedata.normalize("NFKC", str(value)).strip()
    if written.lower() in ("", "nan", "<na>", "none", "/"):
        return Parsed([], [])
    units: list[ActionUnit] = []
    remarks: list[str] = []
    for piece in _split(written, "+,;"):
        if piece:
            _read(piece, "", units, remarks)
    return Parsed(units, remarks)


def text(units: list[ActionUnit]) -> str:
    """Write units canonically: sorted by number, then prefix, without repetition, joined by `+`."""
    return "+".join(str(unit) for unit in sorted(set(units)))


def _read(piece: str, mark: str, units: list[ActionUnit], remarks: list[str]) -> None:
    """Read one piece between two `+`: a unit, alternatives, or a bracket with pieces of its own."""
    if reference := _REFERENCE.match(piece):
        mark, piece = "ref", piece[reference.end() :]
    if _is_bracketed(piece):
        for inner in _split(piece[1:-1], "+,;"):
            _read(inner, mark, units, remarks)
        return
    first, *others = _alternatives(piece)
    if others and _PREFIX.fullmatch(first) and (unit := _UNIT.fullmatch(others[0])):
        # `A/L12`: two readings of the prefix, the number is said once.
        first, others = first + unit["number"] + unit["intensity"], [unit["prefix"]]
    unit = _UNIT.fullmatch(first)
    if unit is None:
        remarks.append("unknown" if piece == "?" else f"`{piece}` is no action unit")
        return
    if others:
        remarks.append(f"first of `{piece}` taken")
    own = re.sub(r"[()\s]", "", unit["mark"] or "").lower()
    units.append(
        ActionUnit(
            int(unit["number"]), unit["prefix"].upper(), unit["intensity"].upper(), mark or own
        )
    )


def _split(written: str, separators: str) -> list[str]:
    """Split at separators that stand outside of brackets."""
    pieces, depth = [""], 0
    for character in written:
        depth += (character == "(") - (character == ")")
        if character in separators and depth <= 0:
            pieces.append("")
        else:
            pieces[-1] += character
    return [piece.strip() for piece in pieces]


def _alternatives(piece: str) -> list[str]:
    return [part.strip() for part in _OR.split(piece)]


def _is_bracketed(piece: str) -> bool:
    """Tell whether one pair of brackets encloses the whole piece."""
    if not (piece.startswith("(") and piece.endswith(")")):
        return False
    return "(" not in piece[1:-1] and ")" not in piece[1:-1]
