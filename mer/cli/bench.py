"""`mer bench`: measures latency, throughput and start-up on this machine."""

import argparse
import logging
from pathlib import Path

from mer.cli.options import Parser, require_writable
from mer.deploy.bench import PARTS, bench, to_table


def main(argv: list[str]) -> int:
    """Measure and print a table; words with `=` are overrides as for `mer train`.

    Returns:
        Exit status 0.
    """
    listed = "\n".join(f"  {name:<11}{text}" for name, text in PARTS.items())
    parser = Parser(
        prog="mer bench",
        description=f"{__doc__}\n\nparts (all without a name):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="PART|key=value", help="what, and overrides")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--quick", action="store_true", help="see that it runs; figures are void")
    parser.add_argument(
        "--folder", type=Path, default=Path("cache/bench"), help="for corpora, stores and runs"
    )
    given = parser.parse_intermixed_args(argv)  # options may stand between the words
    require_writable({"--json ": given.json}, {"--folder ": given.folder})
    words = [word for word in given.words if "=" in word]
    parts = [word for word in given.words if "=" not in word] or list(PARTS)
    logger = logging.getLogger("mer")
    level = logger.level
    logger.setLevel(logging.WARNING)  # what the runs of a benchmark say is not asked for
    try:
        result = bench(parts, words, given.folder, given.quick, given.json)
    finally:
        logger.setLevel(level)
    from mer.runs.terminal import console

    console().print(to_table(result))
    return 0
