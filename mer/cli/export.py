"""`mer export MODEL`: a model as one self-contained file, from aligned input to labels."""

import shlex
from pathlib import Path

from mer.cli.options import Parser, add_trust, split_places
from mer.deploy.export import FORMATS, PRECISIONS, export


def main(argv: list[str]) -> int:
    """Write a model file, and its model card beside it.

    Returns:
        Exit status 0.
    """
    parser = Parser(prog="mer export", description=__doc__)
    parser.add_argument(
        "model", metavar="MODEL", help="run directory, or weights of the package: mer:motion-xxs"
    )
    parser.add_argument(
        "places", nargs="*", metavar="data.root=FOLDER", help="where the run's data are now"
    )
    parser.add_argument(
        "--fold", metavar="NAME", help="which fold; by default the first, or that on everybody"
    )
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="default: onnx")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="float16: half the size, computed in float32; int8: 8-bit convolutions",
    )
    parser.add_argument(
        "--int8", dest="precision", action="store_const", const="int8", help="--precision int8"
    )
    parser.add_argument(
        "--lossy", action="store_true", help="write a smaller file even if it changes too much"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: in the run directory, a fold's in its folder",
    )
    parser.add_argument(
        "--heads", metavar="NAMES", help="heads beside the softmax, e.g. svm,mine; by default all"
    )
    add_trust(parser)
    given = parser.parse_intermixed_args(argv)
    others, places = split_places([given.model, *given.places])
    if len(others) != 1:
        parser.error(f"name one MODEL; found {', '.join(others) or 'none'}")
    path = export(
        others[0],
        given.fold,
        given.format,
        given.precision,
        given.out,
        given.trust,
        None if given.heads is None else given.heads.split(","),
        given.lossy,
        places,
    )
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB), with its card {path.with_suffix('.md')}")
    if path.suffix == ".onnx":
        print(f"Label a clip: mer predict {shlex.quote(str(path))} clip.mp4")
    return 0
