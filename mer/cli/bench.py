"""`mer bench`: measures parts of the framework on this machine, each beside its baseline."""

import argparse
import importlib
from pathlib import Path
from typing import Any

from mer.errors import MerError

#: Part -> what it measures; each is a module of this package.
PARTS = {
    "latency": "one sample from files to label, stage by stage, for each engine and precision",
    "throughput": "training and data loading, and the share of time outside the network",
    "loso": "wall time and overhead of folds, against a plain PyTorch loop",
    "prepare": "faces, alignment and flow by number of workers",
    "memory": "peak memory of training as the store grows",
    "startup": "`mer --help` and `mer train --cfg job`",
}

#: Raise it when a key of the JSON file changes its meaning.
FORMAT = 1


def main(argv: list[str]) -> int:
    """Measure and print a table; words with `=` are overrides as for `mer train`.

    Returns:
        Exit status 0.
    """
    listed = "\n".join(f"  {name:<11}{text}" for name, text in PARTS.items())
    parser = argparse.ArgumentParser(
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
    overrides = [word for word in given.words if "=" in word]
    parts = [word for word in given.words if "=" not in word] or list(PARTS)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise MerError(f"mer bench has no part {', '.join(unknown)}; there is {', '.join(PARTS)}.")
    from mer.bench.settings import Settings

    given.folder.mkdir(parents=True, exist_ok=True)
    bench(parts, Settings(given.folder, given.quick, overrides), given.json)
    return 0


def bench(parts: list[str], settings: Any, json_file: Path | None = None) -> dict[str, Any]:
    """Measure some parts; what there is stays in the file when this is interrupted.

    Args:
        parts: Names in `PARTS`.
        settings: What was asked for (`mer.bench.settings.Settings`).
        json_file: Where the figures go, after each of them.

    Returns:
        `format`, `quick`, `words`, `machine`, `complete`, `figures` (see `mer.bench.figures`).
    """
    from mer.bench import machine
    from mer.bench.table import to_table
    from mer.runs import results, rundir

    figures: list[Any] = []
    result: dict[str, Any] = {
        "format": FORMAT,
        "quick": settings.quick,
        "words": list(settings.words),
        "machine": machine.facts(),
        "complete": False,
        "figures": [],
    }
    console = results.console()
    try:
        for part in parts:
            module = importlib.import_module(f"mer.bench.{part}")
            for figure in module.measure(settings):
                figures.append(figure)
                result["figures"].append(figure.plain())
                if json_file is not None:
                    rundir.write_json(result, json_file)
        result["complete"] = True
        if json_file is not None:
            rundir.write_json(result, json_file)
    finally:
        if figures:
            title = "mer bench" + (" --quick: figures are void" if settings.quick else "")
            console.print(to_table(figures, result["machine"], title))
    return result
