"""`mer audit RUN...`: what a run's artefacts prove about its score, without data or training."""

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from mer.cli.options import Parser, add_trust, split_places
from mer.errors import MerError
from mer.files import write_json
from mer.runs import terminal
from mer.runs.run_folders import is_rest_of_run, require_runs, with_run

if TYPE_CHECKING:
    from mer.audit import Audit, Check
    from mer.audit.null import NullTest

log = logging.getLogger(__name__)

COLOURS = {"pass": "green", "fail": "bold red", "unknown": "yellow"}


def main(argv: list[str]) -> int:
    """Audit run directories, or train them on permuted labels with `--null`.

    Returns:
        Exit status: 0 if every check passes, 1 if one fails, 4 if one could not be made.
    """
    parser = Parser(
        prog="mer audit",
        description=__doc__.split("\n")[0],
        epilog="Exit status: 0 all checks pass, 1 one fails, 4 one could not be made.",
    )
    parser.add_argument(
        "words",
        metavar="RUN",
        nargs="+",
        help="run directory; with --null also data.root=FOLDER, where its data are now",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    null = parser.add_argument_group(
        "--null",
        "Label permutation test: each run's own configuration is trained on labels that are "
        "permuted among the samples of each person; what scores there, leaks. Needs the data. "
        "Finished folds are kept in RUN/null.",
    )
    null.add_argument("--null", action="store_true", help="train on permuted labels")
    null.add_argument("--permutations", type=_count, metavar="N", help="repetitions (default 3)")
    null.add_argument(
        "--epochs", type=_count, metavar="N", help="epochs of each fold (default: the run's own)"
    )
    add_trust(parser)
    arguments = parser.parse_intermixed_args(argv)
    words, arguments.places = split_places(arguments.words)
    arguments.runs = with_run([Path(word) for word in words], is_rest_of_run)
    if not words:
        parser.error("name a RUN")
    require_runs(arguments.runs, is_rest_of_run)
    if arguments.null:
        return _null(arguments)
    if arguments.permutations or arguments.epochs or arguments.trust or arguments.places:
        raise MerError(
            "--permutations, --epochs, --trust and data.root=FOLDER go with --null: mer audit "
            "--null RUN"
        )

    from mer.audit.verdict import STATUS, audit, comparable, worst

    audits = [audit(run_dir) for run_dir in arguments.runs]
    same = comparable(arguments.runs) if len(arguments.runs) > 1 else None
    for run_dir, found in zip(arguments.runs, audits, strict=True):
        _write(found.as_json(), run_dir / "audit.json")
    if arguments.json:
        plain = {
            "runs": [found.as_json() for found in audits],
            "comparable": None if same is None else asdict(same),
        }
        print(json.dumps(plain, indent=2))
    else:
        _show(audits, same)
    verdicts = [found.verdict for found in audits] + ([same.verdict] if same else [])
    return STATUS[worst(verdicts)]


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return int(text)


def _write(content: dict[str, Any], path: Path) -> None:
    try:
        write_json(content, path)
    except OSError as error:
        log.warning("%s cannot be written: %s", path, error)


def _null(arguments: argparse.Namespace) -> int:
    """Train each run on permuted labels; print what came out and write `null.json`."""
    from mer.audit.null import PERMUTATIONS, null_test
    from mer.audit.verdict import STATUS, worst

    tests = []
    for run_dir in arguments.runs:
        repetitions = arguments.permutations or PERMUTATIONS
        tests.append(
            null_test(run_dir, repetitions, arguments.epochs, arguments.trust, arguments.places)
        )
        _write(tests[-1].as_json(), run_dir / "null.json")
    if arguments.json:
        print(json.dumps([test.as_json() for test in tests], indent=2))
    else:
        for test in tests:
            _show_null(test)
    return STATUS[worst([test.verdict for test in tests])]


def _show_null(test: "NullTest") -> None:
    table = Table(box=box.SIMPLE_HEAD, title=test.run, title_justify="left")
    for name in ("head", "score", "permuted labels", "without a leak", "at most", "verdict"):
        table.add_column(name)
    for score in test.scores:
        numbers = [f"{value:.3f}" for value in (score.mean, score.expected, score.bound)]
        word = Text("leaks", "bold red") if score.leaks else Text("clean", "green")
        table.add_row(score.head, score.name.upper(), *numbers, word)
    console = terminal.console()
    console.print(table)
    for sentence in test.sentences:
        console.print(sentence, style=COLOURS[test.verdict], soft_wrap=True)
    for remark in test.remarks:
        console.print(remark, style="dim", soft_wrap=True)


def _show(audits: list["Audit"], same: "Check | None") -> None:
    from mer.audit.verdict import LIMITS

    console = terminal.console()
    for found in audits:
        table = Table(box=box.SIMPLE_HEAD, title=found.run, title_justify="left")
        table.add_column("check")
        table.add_column("verdict")
        table.add_column("evidence", overflow="fold")
        for check in found.checks:
            failed = f" Meaning: {check.meaning}." if check.verdict == "fail" else ""
            evidence = Text(check.evidence + failed)
            if check.remark:
                evidence.append(f" {check.remark}", style="yellow")
            table.add_row(check.name, Text(check.verdict, COLOURS[check.verdict]), evidence)
        console.print(table)
        console.print(found.sentence, style=COLOURS[found.verdict], soft_wrap=True)
    console.print(LIMITS, style="dim", soft_wrap=True)
    if same:
        word = {"pass": "Comparable", "fail": "Not comparable", "unknown": "Comparable or not"}
        console.print(f"{word[same.verdict]}: {same.evidence}", soft_wrap=True)
