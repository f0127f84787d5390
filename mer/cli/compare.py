"""`mer compare RUN...`: one table over runs, what differs between them, and paired tests."""

import sys
from pathlib import Path

from mer.cli.options import Parser, require_writable
from mer.compare.candidates import read
from mer.compare.comparison import SORTS, side_by_side, to_choose_from
from mer.compare.pairs import against_baseline, against_first
from mer.compare.tables import to_markdown, to_terminal
from mer.errors import printable
from mer.files import csv_text, write_text


def main(argv: list[str]) -> int:
    """Print the table, or write it; with `-` only that output goes to stdout, notes to stderr."""
    parser = Parser(prog="mer compare", description=__doc__.split("\n")[0])
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="*",
        type=Path,
        help="run directory, a folder with several, or someone else's predictions as .csv or "
        ".parquet with the columns sample_id, person, label, prediction (other names and what may "
        "be absent: mer/compare/prediction_files.py); the others are tested against the first one "
        "that has a score. With --group the default is runs",
    )
    parser.add_argument("--group", metavar="NAME", help="only runs of this W&B group")
    parser.add_argument(
        "--test",
        action="store_true",
        help="show test scores of the runs of a sweep or search too; they are for after the choice",
    )
    parser.add_argument(
        "--head",
        metavar="NAME",
        help="a head, softmax, baseline or majority; default: each run's first head",
    )
    parser.add_argument(
        "--part", default="pooled", help="pooled (default), or a dataset, e.g. casme2"
    )
    parser.add_argument(
        "--sort",
        choices=list(SORTS),
        help="default: uf1; of a sweep or search without --test: validation",
    )
    parser.add_argument("--no-tests", action="store_true", help="leave the paired tests out")
    parser.add_argument("--csv", metavar="FILE", help="also write this file; - for stdout")
    parser.add_argument("--markdown", metavar="FILE", help="also write this file; - for stdout")
    options = parser.parse_intermixed_args(argv)
    if not options.runs and options.group is None:
        parser.error("name at least one RUN, or a --group")
    require_writable({"--csv ": options.csv, "--markdown ": options.markdown}, {})
    runs = read(options.runs or [Path("runs")], options.group)
    test = options.test or not to_choose_from(runs)
    comparison = side_by_side(runs, options.head, options.part, options.sort, test)
    pairs = own = None
    if test and not options.no_tests:
        pairs = against_first(runs, options.head, options.part)
        own = against_baseline(runs, options.head, options.part)
    tests = [one for one in (pairs, own) if one is not None]
    if "-" in (options.csv, options.markdown):
        said = [*comparison.notes, *(sentence for one in tests for sentence in one.conclusions)]
        sys.stderr.writelines(f"{printable(note)}\n" for note in said)
    else:
        to_terminal(comparison, tests)
    if options.csv:
        frame = comparison.frame
        if pairs and len(pairs.frame):
            frame = frame.merge(pairs.frame, on="name", how="left")
        if own and len(own.frame):
            renamed = own.frame.rename(columns=lambda column: f"baseline_{column}")
            frame = frame.merge(renamed, left_on="name", right_on="baseline_name", how="left")
            frame = frame.drop(columns="baseline_name")
        _write(options.csv, csv_text(frame))
    if options.markdown:
        _write(options.markdown, to_markdown(comparison, tests) + "\n")
    return 0


def _write(file: str, text: str) -> None:
    if file == "-":
        sys.stdout.write(printable(text))
        return
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    write_text(text, Path(file))
