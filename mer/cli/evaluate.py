"""`mer evaluate RUN`: score a run again from its weights, without training."""

import logging
from pathlib import Path

from mer.cli.options import Parser, add_trust, is_setting
from mer.progress import say_loading
from mer.runs.run_folders import require_runs

log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Evaluate a run directory.

    Returns:
        Exit status: 0 when the predictions equal the stored ones or settings were changed, else 1.
    """
    parser = Parser(prog="mer evaluate", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    add_trust(parser)
    parser.add_argument(
        "overrides", nargs="*", help="changed settings of the head, e.g. callbacks.svm_head.C=10"
    )
    arguments = parser.parse_intermixed_args(argv)
    others = [word for word in arguments.overrides if not is_setting(word)]
    if others:
        parser.error(f"evaluate takes one RUN and KEY=VALUE; found also {', '.join(others)}")
    require_runs([arguments.run], writes=bool(arguments.overrides))

    say_loading()
    from mer.runs import results, terminal
    from mer.training.evaluate import evaluate, load_config

    if arguments.overrides:
        load_config(arguments.run, arguments.overrides, arguments.trust)  # refuses before it warns
        log.warning(
            "this compares other predictions with the test labels of %s: the stored score stays as "
            "good as it is and the run will say so (1 later look); the score of the try is none to "
            "report",
            arguments.run,
        )
    result = evaluate(arguments.run, arguments.overrides, arguments.trust)
    console = terminal.console()
    console.print(results.to_table(result, f"{arguments.run}, evaluated from its weights"))
    if arguments.overrides:
        console.print(f"Changed: {' '.join(arguments.overrides)}; kept in {result['written']}")
        return 0
    different = result["different_labels"]
    total = result["heads"]["majority"]["pooled"]["samples"]
    console.print(
        f"{total - max(different.values())} of {total} predictions equal the stored ones."
    )
    return int(any(different.values()))
