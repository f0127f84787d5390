"""Runs side by side, from their directories alone: nothing is trained or scored again."""

from mer.compare.comparison import Comparison, side_by_side
from mer.compare.layout import show
from mer.compare.runs import Run, read

__all__ = ["Comparison", "Run", "read", "show", "side_by_side"]
