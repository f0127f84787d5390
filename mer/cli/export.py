"""`mer export RUN`: a fold's model as one self-contained file, from input crop to labels."""

import argparse
from pathlib import Path

from mer.cli.options import add_trust
from mer.deploy.export import FORMATS, export


def main(argv: list[str]) -> int:
    """Write the model file of one fold.

    Returns:
        Exit status 0.
    """
    parser = argparse.ArgumentParser(prog="mer export", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument("--fold", metavar="NAME", help="which fold; by default the first")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="default: onnx")
    parser.add_argument("--int8", action="store_true", help="quantise; needs the run's data")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: beside the checkpoint")
    parser.add_argument(
        "--heads", metavar="NAMES", help="heads beside the softmax, e.g. svm,mine; by default all"
    )
    add_trust(parser)
    given = parser.parse_args(argv)
    heads = None if given.heads is None else given.heads.split(",")
    path = export(given.run, given.fold, given.format, given.int8, given.out, given.trust, heads)
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0
