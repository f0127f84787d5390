"""Measurements: repeated values as a median with quartiles, in a form for JSON and for a table."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple


class Measurement(NamedTuple):
    """What was measured.

    Attributes:
        part: Part of the benchmark.
        name: Name of the measured step.
        variant: Engine and precision; empty where there is one only.
        unit: ms, s, samples/s, frames/s, times (ratio to the baseline) or labels.
        median: Middle value; None when it could not be measured.
        low: Lower quartile (the smallest of fewer than four values).
        high: Upper quartile.
        repeats: Number of values.
        note: Conditions, or why there is no value.
        baseline: Whether others are to be compared with it.
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


def summarise(
    part: str, name: str, variant: str, unit: str, values: Sequence[float], **more: Any
) -> Measurement:
    """Sum up repeated values; `more` are further attributes of `Measurement`."""
    low, median, high = quartiles(values)
    return Measurement(part, name, variant, unit, median, low, high, len(values), **more)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; of fewer than four values smallest and largest."""
    median = statistics.median(values)
    if len(values) < 4:
        return min(values), median, max(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def milliseconds(action: Callable[..., Any], arguments: Iterable[Sequence[Any]]) -> list[float]:
    """Milliseconds of one call for each sequence of arguments."""
    values = []
    for given in arguments:
        started = time.perf_counter()
        action(*given)
        values.append(1000 * (time.perf_counter() - started))
    return values
