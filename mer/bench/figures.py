"""Figures: what was measured, as a median with quartiles, in a form for JSON and for a table."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Attributes:
        part: Part of the benchmark.
        name: What was measured.
        variant: With which engine, loop or number of workers; empty where there is one only.
        unit: ms, s, samples/s, MB, share (of 1), times (ratio to the baseline), labels.
        median: Middle value; None when it could not be measured.
        low: Lower quartile (the smallest of fewer than four values).
        high: Upper quartile.
        repeats: Number of values.
        note: Conditions, or why there is no value.
        baseline: Whether others are to be compared with it.
        extrapolated: Whether it was computed from smaller measurements.
    """

    part: str
    name: str
    variant: str
    unit: str
    median: float | None
    low: float | None = None
    high: float | None = None
    repeats: int = 1
    note: str = ""
    baseline: bool = False
    extrapolated: bool = False

    def plain(self) -> dict[str, Any]:
        """Give it as plain values."""
        return asdict(self)


def figure(
    part: str, name: str, variant: str, unit: str, values: Sequence[float], **more: Any
) -> Figure:
    """Sum up repeated measurements; `more` are further attributes of `Figure`."""
    low, median, high = quartiles(values)
    return Figure(part, name, variant, unit, median, low, high, len(values), **more)


def missing(part: str, name: str, variant: str, unit: str, reason: str) -> Figure:
    """A value that could not be measured, with the reason."""
    return Figure(part, name, variant, unit, None, repeats=0, note=" ".join(reason.split()))


def ratio(
    part: str, name: str, variant: str, baseline: Sequence[float], ours: Sequence[float]
) -> Figure:
    """How many times faster than the baseline; the n-th values were measured beside each other.

    Args:
        part: Part of the benchmark.
        name: What was measured.
        variant: Ours.
        baseline: Times of the baseline.
        ours: Times of ours, as many.
    """
    values = [one / other for one, other in zip(baseline, ours, strict=True)]
    return figure(part, f"{name}: faster than the baseline", variant, "times", values)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; of fewer than four values smallest and largest."""
    median = statistics.median(values)
    if len(values) < 4:
        return min(values), median, max(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def times(action: Callable[[], Any], repeats: int, warm_up: int = 1) -> list[float]:
    """Seconds of each call, after some that do not count."""
    for _ in range(warm_up):
        action()
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        found.append(time.perf_counter() - started)
    return found


def in_turn(actions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of several actions that take turns, so that a busy moment meets all of them."""
    found: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(repeats):
        for name, action in actions.items():
            found[name] += times(action, 1, warm_up=0)
    return found
