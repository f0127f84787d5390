"""`mer ensemble RUN RUN...`: the equal-weight mean of several runs, as a run of its own."""

from datetime import datetime
from pathlib import Path

from mer.cli.options import Parser, require_writable
from mer.runs import ensemble, members, results, terminal
from mer.runs.run_folders import with_run


def main(argv: list[str]) -> int:
    """Write the directory of an ensemble and print its table.

    Returns:
        Exit status 0.
    """
    parser = Parser(
        prog="mer ensemble",
        description=f"{__doc__} Members are finished runs on the same samples and folds. Their "
        "scores are standardised sample by sample, without labels or other samples "
        "(mer/runs/standard_scores.py).",
    )
    parser.add_argument(
        "members",
        metavar="RUN[:HEAD]",
        nargs="+",
        help="run directory, and which of its heads (svm, softmax, baseline, ...); default: its "
        "first",
    )
    parser.add_argument(
        "--name", metavar="DIR", type=Path, help="directory; default: runs/ensemble-<time>"
    )
    given = parser.parse_intermixed_args(argv)
    require_writable({}, {"--name ": given.name})
    given.members = with_run(given.members)
    directory = given.name or Path("runs", f"ensemble-{datetime.now():%Y%m%d-%H%M%S-%f}")
    run = ensemble.make(given.members, directory)
    console = terminal.console()
    names = ", ".join(member.name for member in members.parse(given.members))
    title = f"mean of {names}: pooled scores and 95 % intervals over persons"
    console.print(results.to_table(run.metrics, title))
    console.print(f"Run directory: {directory}", soft_wrap=True)
    return 0
