"""`mer list`: what can be chosen, things of your own included."""

from mer.cli.options import Parser, add_config_dir
from mer.config.catalogue import GROUPS, KINDS, entries


def main(argv: list[str]) -> int:
    """Print a table of the kinds that are named, or of all.

    Returns:
        Exit status 0.
    """
    parser = Parser(prog="mer list", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; all if none")
    add_config_dir(parser)
    given = parser.parse_intermixed_args(argv)

    from rich.table import Table

    from mer.runs.terminal import console

    listed = [
        entry
        for kind in map(_plural, given.kinds or KINDS)
        for entry in entries(kind, given.config_dir)
    ]
    table = Table(box=None, pad_edge=False)
    for column in ("kind", "choose with", "what it is"):
        table.add_column(column, overflow="fold", no_wrap=column != "what it is")
    for number, entry in enumerate(listed):
        first = not number or listed[number - 1].kind != entry.kind
        kind = entry.kind if first else ""
        own = " (yours)" if entry.own else ""
        table.add_row(kind, entry.choice + own, entry.summary)
    console().print(table)
    return 0


def _plural(kind: str) -> str:
    """The kind that a word names: itself, one thing of it, or the group of the configuration."""
    named = {one: name for name, one in GROUPS.items()} | {
        name.removesuffix("s"): name for name in KINDS
    }
    return named.get(kind, kind)
