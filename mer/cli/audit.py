"""`mer audit RUN...`: what a run's artefacts prove about its score, without data or training."""

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from mer.audit.findings import Check
from mer.audit.verdict import STATUS, Audit, audit, comparable, worst
from mer.errors import MerError
from mer.files import write_json
from mer.runs import results

log = logging.getLogger(__name__)

COLOURS = {"pass": "green", "fail": "bold red", "unknown": "yellow"}


def main(argv: list[str]) -> int:
    """Audit run directories, or measure leaks with `--null`.

    Returns:
        Exit status: 0 if every check passes, 1 if one fails, 4 if one could not be made.
    """
    parser = argparse.ArgumentParser(
        prog="mer audit",
        description=__doc__.split("\n")[0],
        epilog="Exit status: 0 all checks pass, 1 one fails, 4 one could not be made. "
        "`mer audit --null RUN --help` explains the leak meter.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run directory")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--null", action="store_true", help="leak meter: run the pipeline on data without signal"
    )
    if "--null" in argv and argv != ["--null", "--help"]:
        return _null([word for word in argv if word != "--null"])
    arguments = parser.parse_args(argv)
    audits = [audit(run_dir) for run_dir in arguments.runs]
    same = comparable(arguments.runs) if len(arguments.runs) > 1 else None
    for run_dir, found in zip(arguments.runs, audits, strict=True):
        try:
            write_json(found.as_json(), run_dir / "audit.json")
        except OSError as error:
            log.warning("%s cannot be written: %s", run_dir / "audit.json", error)
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


def _null(words: list[str]) -> int:
    """Hand a run, the first word that is no option, to the leak meter with the other words."""
    run = next((word for word in words if not word.startswith("-")), None)
    if run is None:
        raise MerError("mer audit --null needs a run directory: mer audit --null RUN")
    words.remove(run)
    from mer.audit.null import null_main

    return int(null_main(Path(run), words))


def _show(audits: list[Audit], same: Check | None) -> None:
    console = results.console()
    for found in audits:
        table = Table(box=box.SIMPLE_HEAD, title=escape(found.run), title_justify="left")
        table.add_column("check")
        table.add_column("verdict")
        table.add_column("evidence", overflow="fold")
        for check in found.checks:
            failed = f" Meaning: {check.meaning}." if check.verdict == "fail" else ""
            table.add_row(
                check.name,
                f"[{COLOURS[check.verdict]}]{check.verdict}[/]",
                escape(check.evidence + failed),
            )
        console.print(table)
        console.print(escape(found.sentence), style=COLOURS[found.verdict], soft_wrap=True)
    if same:
        word = {"pass": "Comparable", "fail": "Not comparable", "unknown": "Comparable or not"}
        console.print(escape(f"{word[same.verdict]}: {same.evidence}"), soft_wrap=True)
