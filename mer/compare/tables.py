"""A comparison as text: for the terminal and as Markdown."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from mer.compare.candidates import WARNED, read
from mer.compare.comparison import ABSENT, FORBIDDEN, Comparison, side_by_side, to_choose_from
from mer.compare.pairs import Pairs
from mer.metrics import SCORES
from mer.runs import terminal

#: Column of the frame -> heading, format of its values.
COLUMNS = {
    "name": ("run", "{}"),
    "status": ("status", "{}"),
    "group": ("W&B group", "{}"),
    "head": ("head", "{}"),
    "uf1": ("UF1", "{:.3f}"),
    "uar": ("UAR", "{:.3f}"),
    "accuracy": ("accuracy", "{:.3f}"),
    "baseline": ("baseline UF1", "{:.3f}"),
    "validation": ("validation UF1", "{:.3f}"),
    "samples": ("samples", "{}"),
    "persons": ("persons", "{}"),
    "seconds": ("seconds", "{:,.0f}"),
    "parameters": ("parameters", "{:,}"),
    "latency_ms": ("latency ms", "{:.1f}"),
}

#: Columns that are said once, above the table, when all runs agree.
SHARED = {
    "status": "{}",
    "group": "W&B group {}",
    "head": "head {}",
    "baseline": "baseline UF1 {:.3f}",
    "samples": "{} samples",
    "persons": "{} persons",
    "parameters": "{:,} parameters",
}

#: Of the permutation over persons, and of McNemar's test.
P_TITLES = ("p (persons)", "p (McNemar)")

MOST_KEYS = 6  # more of them get a table of their own
LONGEST_VALUE = 24
NOTHING = "–"


class Grid(NamedTuple):
    """Cells of a table and the places (row, column) of those to highlight."""

    header: list[str]
    rows: list[list[str]]
    marked: set[tuple[int, int]]


def show(paths: Sequence[Path]) -> None:
    """Read runs and print them side by side; without test scores those of a sweep or search."""
    runs = read(paths)
    to_terminal(side_by_side(runs, test=not to_choose_from(runs)))


def to_terminal(comparison: Comparison, tests: Sequence[Pairs] = ()) -> None:
    """Print one table, or two when the settings do not fit beside the scores, then the tests."""
    console = terminal.console()
    unlimited = console.options.update_width(10_000)
    grids = lay_out(comparison)
    width = console.measure(_table(grids[0]), options=unlimited).maximum
    if console.is_terminal and width > console.width:
        grids = lay_out(comparison, most_keys=0)
    tables = [_table(grid) for grid in grids]
    widths = [console.measure(table, options=unlimited).maximum for table in tables]
    listed = len(tables) == 2 and widths[1] > console.width
    if listed:  # a column per run, and too many runs
        del tables[1], widths[1]
    if not console.is_terminal:  # a file has no width: nothing needs to wrap
        console.width = max(console.width, *widths)
    console.print(Text(headline(comparison)))
    for table in tables:
        console.print()
        console.print(table)
    if listed:
        console.print()
        for line in list_settings(comparison):
            console.print(Text(line), soft_wrap=True)
    console.print()
    if comparison.chance:
        console.print(Text(comparison.chance))
    for note in comparison.notes:
        loud = note.startswith(FORBIDDEN) or WARNED in note
        console.print(Text(note, style="bold" if loud else ""))
    for pairs in tests:
        if pairs.headline:
            console.print(Text(f"\n{pairs.headline}\n"), _table(lay_out_pairs(comparison, pairs)))
        console.print()
        for sentence in pairs.conclusions:
            console.print(Text(sentence, style="bold"))


def to_markdown(comparison: Comparison, tests: Sequence[Pairs] = ()) -> str:
    """The same tables, with the notes as a list."""
    blocks = [headline(comparison), *map(_markdown, lay_out(comparison))]
    blocks += [comparison.chance, _list(comparison.notes)]
    for pairs in tests:
        if pairs.headline:
            blocks += [pairs.headline, _markdown(lay_out_pairs(comparison, pairs))]
        blocks.append(_list(pairs.conclusions))
    return "\n\n".join(block for block in blocks if block)


def _markdown(grid: Grid) -> str:
    lines = [grid.header, ["---"] * len(grid.header)]
    lines += [
        [f"**{c}**" if (row, column) in grid.marked else c for column, c in enumerate(cells)]
        for row, cells in enumerate(grid.rows)
    ]
    escaped = [[cell.replace("|", r"\|") for cell in cells] for cells in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def headline(comparison: Comparison) -> str:
    """What the table shows, and what all runs have in common."""
    what = "Pooled scores" if comparison.part == "pooled" else f"Scores on {comparison.part}"
    what += ", 95 % intervals over persons."
    if not comparison.test:
        what = (
            "Runs to choose from, by their validation persons. Scores on test persons are for "
            "after the choice: --test shows them."
        )
    shared = [
        SHARED[name].format(comparison.frame[name].dropna().iloc[0])
        for name in _shared(comparison.frame)
    ]
    heads = comparison.frame["head"]
    every = "All runs with a score" if 2 <= heads.count() < len(heads) else "All runs"
    all_runs = f" {every}: {', '.join(shared)}." if shared else ""
    return f"{what}{all_runs}"


def lay_out(comparison: Comparison, most_keys: int = MOST_KEYS) -> list[Grid]:
    """Arrange scores and settings in one grid, or with more differing keys than that in two.

    Values that are not those of most runs are marked.
    """
    frame, keys = comparison.frame, comparison.keys
    shared = _shared(frame)
    columns = [n for n in COLUMNS if n not in shared and frame[n].notna().any()]
    header = [COLUMNS[name][0] for name in columns]
    rows = [[_cell(row, name) for name in columns] for _, row in frame.iterrows()]
    settings = {short: _settings(frame[key]) for key, short in keys.items()}
    odd = {short: _minority(values) for short, values in settings.items()}
    if len(keys) <= most_keys or not keys:
        marked = {
            (row, len(header) + column)
            for column, short in enumerate(settings)
            for row in odd[short]
        }
        rows = [[*cells, *(v[row] for v in settings.values())] for row, cells in enumerate(rows)]
        return [Grid([*header, *settings], rows, marked)]
    second = Grid(
        ["setting", *(_cell(row, "name") for _, row in frame.iterrows())],
        [[short, *values] for short, values in settings.items()],
        {(row, 1 + run) for row, short in enumerate(settings) for run in odd[short]},
    )
    return [Grid(header, rows, set()), second]


def list_settings(comparison: Comparison) -> list[str]:
    """What most runs are set to, and then in a line for each run what it has otherwise."""
    frame, most = comparison.frame, []
    own: list[list[str]] = [[] for _ in range(len(frame))]
    for key, short in comparison.keys.items():
        values = _settings(frame[key])
        common = _majority(values)
        if common not in (None, NOTHING, ABSENT):
            most.append(f"{short}={common}")
        for words, value in zip(own, values, strict=True):
            if value not in (common, NOTHING):
                words.append(f"{short}={value}")
    lines = [f"Most runs have {' '.join(most)}"] if most else []
    names = [_cell(row, "name") for _, row in frame.iterrows()]
    return lines + [
        f"  {name}: {' '.join(words) or 'as most runs'}"
        for name, words in zip(names, own, strict=True)
    ]


def lay_out_pairs(comparison: Comparison, pairs: Pairs) -> Grid:
    """Arrange the tests: a row per run and score; with several runs, p as it is and corrected."""
    warned = comparison.frame.set_index("name")["warnings"].notna()
    ends = ["", "_holm"] if len(pairs.frame) > 1 else [""]
    header = ["run", "score", f"run − {pairs.reference}"]
    header += [f"{title}{', Holm' if end else ''}" for title in P_TITLES for end in ends]
    rows = []
    for row in pairs.frame.to_dict("records"):
        name = f"{row['name']} {WARNED}" if warned[row["name"]] else row["name"]
        for place, score in enumerate(SCORES):
            value, low, high = (row[f"{score}_difference{end}"] for end in ("", "_low", "_high"))
            cells = [_p(row[f"{score}_p{end}"]) for end in ends]
            mcnemar = [_p(row[f"p_mcnemar{end}"]) for end in ends]
            cells += mcnemar if score == "accuracy" else [NOTHING] * len(ends)
            shown = f"{value:+.3f} [{low:+.2f}, {high:+.2f}]"
            rows.append([name if place == 0 else "", COLUMNS[score][0], shown, *cells])
    return Grid(header, rows, set())


def _p(value: float) -> str:
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _shared(frame: pd.DataFrame) -> list[str]:
    """Columns of `SHARED` in which all runs agree; those without a score have but a status."""
    scored = frame[frame["head"].notna()]
    if len(scored) < 2:
        scored = frame
    found = [n for n in SHARED if scored[n].notna().all() and frame[n].nunique() == 1]
    return found if len(frame) > 1 else []


def _cell(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]):
        return NOTHING
    if name == "name" and pd.notna(row["warnings"]):
        return f"{row['name']} {WARNED}"
    text = COLUMNS[name][1].format(row[name])
    return (
        f"{text} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]" if name in SCORES else text
    )


def _settings(values: pd.Series) -> list[str]:
    """Values of a setting, of fractions four digits where these tell all of them apart."""
    brief = [_cut(f"{v:.4g}" if isinstance(v, float) and v % 1 > 0 else v) for v in values]
    exact = list(map(_cut, values))
    return brief if len(set(brief)) == len(set(exact)) else exact


def _cut(value: Any) -> str:
    whole = isinstance(value, float) and value % 1 == 0  # also an integer beside a run without it
    text = NOTHING if pd.isna(value) else str(int(value) if whole else value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _minority(values: Sequence[str]) -> list[int]:
    """Places of the values that differ from what more than half of the runs have."""
    most = _majority(values)
    return [] if most is None else [p for p, value in enumerate(values) if value != most]


def _majority(values: Sequence[str]) -> str | None:
    """What more than half of the runs have, if there is such a value."""
    most, times = Counter(values).most_common(1)[0]
    return most if 2 * times > len(values) else None


def _table(grid: Grid) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading, column in zip(grid.header, zip(*grid.rows, strict=True), strict=True):
        number = all(cell.lstrip("<+-")[:1].isdigit() or cell == NOTHING for cell in column)
        table.add_column(Text(heading), justify="right" if number else "left")
    for row, cells in enumerate(grid.rows):
        styles = ["bold yellow" if (row, c) in grid.marked else "" for c in range(len(cells))]
        table.add_row(*map(Text, cells, styles))
    return table
