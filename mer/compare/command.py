"""`mer compare RUN...`: one table over runs, with what differs between them."""

import argparse
import sys
from pathlib import Path

from mer.compare.comparison import SORTS, side_by_side
from mer.compare.layout import to_markdown, to_terminal
from mer.compare.runs import read
from mer.results import HEADS


def main(argv: list[str]) -> int:
    """Print the table, or write it; with `-` only that output goes to stdout, notes to stderr."""
    parser = argparse.ArgumentParser(prog="mer compare", description=__doc__.split("\n")[0])
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="run directory, or a folder with several"
    )
    parser.add_argument(
        "--head", choices=list(HEADS), help="default: svm where there is one, else softmax"
    )
    parser.add_argument(
        "--part", default="pooled", help="pooled (default), or a dataset, e.g. casme2"
    )
    parser.add_argument("--sort", choices=list(SORTS), default="uf1", help="default: uf1")
    parser.add_argument("--csv", metavar="FILE", help="also write this file; - for stdout")
    parser.add_argument("--markdown", metavar="FILE", help="also write this file; - for stdout")
    options = parser.parse_args(argv)
    comparison = side_by_side(read(options.runs), options.head, options.part, options.sort)
    if "-" in (options.csv, options.markdown):
        sys.stderr.writelines(f"{note}\n" for note in comparison.notes)
    else:
        to_terminal(comparison)
    if options.csv:
        _write(options.csv, comparison.frame.to_csv(index=False))
    if options.markdown:
        _write(options.markdown, to_markdown(comparison) + "\n")
    return 0


def _write(file: str, text: str) -> None:
    if file == "-":
        sys.stdout.write(text)
        return
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(text)
