"""The figures of a benchmark as a table on the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from mer.bench.figures import Figure


def to_table(figures: Sequence[Figure], machine: dict[str, Any], title: str) -> Table:
    """One row per figure, with a rule between the parts."""
    facts = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['torch_threads']} threads of "
        f"PyTorch {machine['packages']['torch']}, load {machine['load_average'][0]}"
    )
    table = Table(title=title, title_justify="left", caption=facts, caption_justify="left")
    for name in ("part", "what", "with", "median", "quartiles", "unit", "note"):
        table.add_column(name, justify="right" if name in ("median", "quartiles") else "left")
    for number, item in enumerate(figures):
        last = number + 1 == len(figures) or figures[number + 1].part != item.part
        marks = [mark for mark, is_so in _marks(item) if is_so]
        table.add_row(
            item.part,
            item.name,
            item.variant,
            show(item.median),
            "" if item.repeats < 2 else f"{show(item.low)} – {show(item.high)}",
            item.unit,
            "; ".join([*marks, *([item.note] if item.note else [])]),
            end_section=last,
        )
    return table


def show(value: float | None) -> str:
    """Three significant digits; an en dash for what was not measured."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _marks(item: Figure) -> list[tuple[str, bool]]:
    return [("baseline", item.baseline), ("extrapolated", item.extrapolated)]
