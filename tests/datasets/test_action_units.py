import numpy as np
import pandas as pd
import pytest

from mer.datasets.action_units import ActionUnit, parse, text


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        # CASME II: sides in front, any order, whole numbers for a single unit.
        ("4+L9+14", "4+L9+14"),
        ("4+7+6", "4+6+7"),
        ("L1+L2", "L1+L2"),
        (12, "12"),
        (12.0, "12"),
        # SAMM: asymmetric, top and bottom, intensities, blanks, units of the reference frame.
        ("A1B+A2C", "A1B+A2C"),
        ("T23", "T23"),
        ("B18+25", "B18+25"),
        ("R10A+14C", "R10A+14C"),
        ("4D+9B", "4D+9B"),
        ("L12 + 61", "L12+61"),
        ("12+15 ", "12+15"),
        ("7B+ ref(43)", "7B+ref(43)"),
        ("ref(7B)+43C", "ref(7B)+43C"),
        ("ref(L10)+A12B", "ref(L10)+A12B"),
        # CAS(ME)^3: commas, one of full width, one trailing, a doubtful unit.
        ("R4,5", "R4+5"),
        ("4，11", "4+11"),
        ("4,7,", "4+7"),
        ("13?", "13?"),
        # 4DME: the letters AU before the side, a kept unit.
        ("AU4(k)+L7", "4(k)+L7"),
        ("4( k\n)", "4(k)"),
        ("AUR2+12(k)+45", "R2+12(k)+45"),
        # Sorted by number, one of two equal units.
        ("l12+4+4", "4+L12"),
    ],
)
def test_spellings_of_the_datasets_become_one(written: object, canonical: str) -> None:
    units, remarks = parse(written)
    assert text(units) == canonical
    assert remarks == []
    assert text(parse(canonical).units) == canonical  # reading the canonical form changes nothing


@pytest.mark.parametrize(
    ("written", "canonical", "remark"),
    [
        ("4A/B", "4A", "first of `4A/B` taken"),
        ("10A/B", "10A", "first of `10A/B` taken"),
        ("L12 or L14", "L12", "first of `L12 or L14` taken"),
        ("(R6 or R12)+R15", "R6+R15", "first of `R6 or R12` taken"),
        ("R14A or 17A or 24A", "R14A", "first of `R14A or 17A or 24A` taken"),
        ("A/L12", "A12", "first of `A/L12` taken"),  # the two letters share the number
        ("R14+17+soft focus", "R14+17", "`soft focus` is no action unit"),
        ("4 7", "", "`4 7` is no action unit"),  # never 47
        ("1214", "", "`1214` is no action unit"),  # never 12
        ("?", "", "unknown"),
    ],
)
def test_what_is_not_taken_over_is_said(written: object, canonical: str, remark: str) -> None:
    units, remarks = parse(written)
    assert text(units) == canonical
    assert remarks == [remark]


@pytest.mark.parametrize("nothing", ["", "  ", None, float("nan"), np.nan, pd.NA, "nan", "/"])
def test_empty_cells_give_nothing(nothing: object) -> None:
    assert parse(nothing) == ([], [])


@pytest.mark.parametrize("written", ["(((", ")+(", "ref(", "+", "or", "/", "A", "or or", "[1, 2]"])
def test_nonsense_never_raises(written: object) -> None:
    assert parse(written).units == []


def test_a_unit_knows_its_parts() -> None:
    (left, kept), _ = parse("L12C+AU4(k)")
    assert left == ActionUnit(12, "L", "C", "")
    assert kept == ActionUnit(4, "", "", "k")
