"""Runs side by side, from their directories alone: nothing is trained again."""

from mer.compare.candidates import Run, read
from mer.compare.comparison import Comparison, side_by_side
from mer.compare.pairs import Pairs, against_baseline, against_first
from mer.compare.tables import show

__all__ = [
    "Comparison",
    "Pairs",
    "Run",
    "against_baseline",
    "against_first",
    "read",
    "show",
    "side_by_side",
]
