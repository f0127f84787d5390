"""`mer audit --null RUN`: run the pipeline on data without signal; what scores there, leaks."""

import argparse
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mer.audit.null_meter import GUESSERS, Check, Null, as_json, measure
from mer.audit.null_stages import STAGES
from mer.files import write_json

log = logging.getLogger(__name__)

#: Repeats of each null unless told otherwise.
REPEATS = 3

#: What no null shows.
BLIND = (
    "No null shows a scaler that is fitted on all samples (it does not change the score), nor "
    "settings chosen by hand on the test score: `mer audit RUN` checks the artefacts for both."
)


def null_main(run_dir: Path, arguments: argparse.Namespace | Sequence[str]) -> int:
    """Measure a run, print what came out, and write `null.json` beside it.

    Args:
        run_dir: Run directory.
        arguments: `json`, `repeats` (None for 3) and `full`, maybe `epochs`; or words to parse.

    Returns:
        Exit status: 0 if nothing leaks, else 1.

    Raises:
        MerError: If this is no run directory, or `full` lacks the data.
    """
    from mer.audit import null_full, null_run
    from mer.runs import results

    options = arguments if isinstance(arguments, argparse.Namespace) else parse(arguments)
    started = time.monotonic()
    repeats = options.repeats or REPEATS
    run = null_run.read(run_dir)
    nulls, checks = measure(run.pipeline, run.samples, repeats)
    if options.full:
        epochs = getattr(options, "epochs", None) or null_full.EPOCHS
        nulls += null_full.train_on_nothing(run.cfg, run.samples, repeats, epochs)
    leaks = any(null.leaks for null in nulls) or any(check.problems for check in checks)
    found = {
        "run": str(run_dir),
        "verdict": "leaks" if leaks else "clean",
        "sentences": sentences(nulls, checks),
        "nulls": [as_json(null) for null in nulls],
        "checks": [{"check": check.name, "problems": check.problems} for check in checks],
        "remarks": [*run.remarks, power(nulls), BLIND],
        "seconds": round(time.monotonic() - started, 1),
    }
    try:
        write_json(found, run_dir / "null.json")
    except OSError as error:
        log.warning("%s cannot be written: %s", run_dir / "null.json", error)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        _show(results.console(), nulls, checks, found)
    return int(leaks)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the options of `mer audit --null RUN`."""
    parser = argparse.ArgumentParser(
        prog="mer audit --null RUN",
        description=__doc__.split(": ", 1)[1],
        epilog="Exit status: 0 nothing leaks, 1 something does.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--repeats", type=_positive, help=f"repeats of each null (default {REPEATS})"
    )
    parser.add_argument(
        "--full", action="store_true", help="also train all folds with permuted labels; needs data"
    )
    parser.add_argument(
        "--epochs", type=_positive, help="epochs of --full (default 3; more finds more)"
    )
    return parser.parse_args(list(words))


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return int(text)


def sentences(nulls: Sequence[Null], checks: Sequence[Check]) -> list[str]:
    """The verdict in plain words; the first sentence says whether anything leaks."""
    found = [problem for check in checks for problem in check.problems]
    for null in nulls:
        if null.leaks:
            found.append(
                f"{null.title}: UF1 {null.mean:.3f}, where guessing gives {null.high:.3f} at most. "
                f"{_where(null)}"
            )
    if not found:
        return ["Nothing leaks as far as these nulls can see."]
    return ["Something leaks: a score of this pipeline cannot be believed.", *found]


def _where(null: Null) -> str:
    names = [STAGES[stage] for stage in null.suspects]
    if not null.replaced:
        return "No stage was replaced, so where is not known."
    if not names:
        return "No clean stage brings it back to guessing, not even all of them."
    values = ", ".join(f"{STAGES[stage]} {null.replaced[stage]:.3f}" for stage in null.suspects)
    if null.together:
        return f"It leaks in several stages: {', '.join(names)} (each replaced alone: {values})."
    if len(names) == 1:
        return f"It leaks in: {names[0]}. With a clean stage there, UF1 is {values[-5:]}."
    return f"Each of these brings it back to guessing when a clean stage replaces it: {values}."


def power(nulls: Sequence[Null]) -> str:
    """What the number of repeats can tell apart."""
    if not nulls:
        return "No null could be measured."
    repeats, high = len(nulls[0].scores), max(null.high for null in nulls)
    return (
        f"The upper bound holds 99.5 % of {GUESSERS} simulated guessers, by the class frequencies "
        f"of these samples, mean of {repeats} repeats. A leak that lifts a null above {high:.2f} "
        "is found; a smaller one may not be, more repeats find more."
    )


def _show(
    console: Console, nulls: Sequence[Null], checks: Sequence[Check], found: dict[str, Any]
) -> None:
    table = Table(box=box.SIMPLE_HEAD, title=escape(found["run"]), title_justify="left")
    for name in ("fed with", "UF1", "guessing gives", "verdict"):
        table.add_column(name, overflow="fold")
    for null in nulls:
        table.add_row(
            null.title,
            f"{null.mean:.3f}",
            f"{null.low:.3f} to {null.high:.3f}",
            _word(null.leaks),
        )
    for check in checks:
        if check.problems or check.note:
            table.add_row(check.name, check.note, "", _word(bool(check.problems)))
    console.print(table)
    for sentence in found["sentences"]:
        console.print(escape(sentence), soft_wrap=True)
    for remark in found["remarks"]:
        console.print(escape(remark), style="dim", soft_wrap=True)


def _word(leaks: bool) -> str:
    return "[bold red]leaks[/]" if leaks else "[green]clean[/]"
