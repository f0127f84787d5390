"""`mer weights`: list the weights that come with the package, or make them anew."""

from pathlib import Path

from mer.cli.options import Parser, require_writable
from mer.errors import MerError


def main(argv: list[str]) -> int:
    """List the weights of the package, or train some anew.

    Returns:
        Exit status: 0, or 1 if what was made differs from the file of the package.
    """
    from mer.models.ready_weights import PREFIX, READY, file_of

    parser = Parser(prog="mer weights", description=__doc__)
    parser.add_argument("--make", choices=READY, metavar="NAME", help=f"one of {', '.join(READY)}")
    parser.add_argument(
        "--to", type=Path, metavar="FOLDER", default=Path(), help="where the file goes"
    )
    parser.add_argument("overrides", nargs="*", help="such as paths.cache=FOLDER")
    given = parser.parse_intermixed_args(argv)
    if given.make is None and given.overrides:
        raise MerError(
            f"mer weights {' '.join(given.overrides)}: without --make NAME it lists all weights, "
            "and takes no further word"
        )
    if given.make is None:
        for name, ready in READY.items():
            path = file_of(name)
            size = f"{path.stat().st_size / 1e6:.1f} MB" if path.is_file() else "not there"
            print(f"{PREFIX}{name}  {ready.backbone}, {size}, sha256 {ready.sha256[:12]}")
            print(f"  card: {path.with_suffix('.md')}")
        return 0

    require_writable({}, {"--to ": given.to})
    from mer.training.make_weights import as_in_package, make

    path, digest = make(given.make, given.to, given.overrides)
    same = as_in_package(given.make, path)
    print(f"{path}: sha256 {digest}, {'as' if same else 'unlike'} the weights of the package")
    return 0 if same else 1
