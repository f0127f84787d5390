"""`mer report RUN...`: one page that shows a run, what it ran on and how far it can be believed."""

from pathlib import Path

from mer.cli.options import Parser, add_trust, split_places
from mer.progress import say_loading
from mer.runs.run_folders import require_runs, with_run


def main(argv: list[str]) -> int:
    """Write `report.html` into run directories, with `--figures` also figures and a LaTeX table.

    Returns:
        Exit status 0.
    """
    parser = Parser(prog="mer report", description=__doc__.split("\n")[0])
    parser.add_argument(
        "words",
        nargs="+",
        metavar="RUN",
        help="run directory, finished or not; also data.root=FOLDER, where its data are now",
    )
    parser.add_argument(
        "--figures", action="store_true", help="also write figures/*.png, *.pdf and table.tex"
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="show faces of real persons too; the licences of most datasets forbid publishing them",
    )
    parser.add_argument(
        "--quick", action="store_true", help="leave out what needs the data and the networks"
    )
    add_trust(parser)
    arguments = parser.parse_intermixed_args(argv)
    words, places = split_places(arguments.words)
    runs = with_run([Path(word) for word in words])
    if not runs:
        parser.error("name a RUN")
    require_runs(runs, writes=True)

    say_loading()
    from mer.report.run_page import Choices, write

    choices = Choices(
        arguments.figures,
        arguments.pictures,
        arguments.quick,
        tuple(arguments.trust),
        tuple(places),
    )
    for run in runs:
        for path in write(run, choices):
            print(path)
    return 0
