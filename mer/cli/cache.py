"""`mer cache`: list what is kept below paths.cache, or remove what no running command uses."""

import re
import sys
from collections.abc import Mapping
from datetime import datetime

from mer.cache import KINDS, empty, entries
from mer.cli.options import Parser
from mer.errors import MerError

SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
BYTES = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def main(argv: list[str]) -> int:
    """List the entries below paths.cache, or remove those that no running command uses.

    Returns:
        Exit status 0.
    """
    parser = Parser(prog="mer cache", description=__doc__)
    kinds = ", ".join(f"{name} ({kind.title})" for name, kind in KINDS.items())
    parser.add_argument("overrides", nargs="*", help="such as paths.cache=FOLDER")
    parser.add_argument("--empty", action="store_true", help="remove what is listed")
    parser.add_argument("--kind", choices=KINDS, help=f"only {kinds}")
    parser.add_argument("--older-than", metavar="TIME", help="only those unused for 30d, 12h")
    parser.add_argument("--larger-than", metavar="SIZE", help="only those larger than 1GB")
    parser.add_argument("--yes", action="store_true", help="remove without a question")
    given = parser.parse_intermixed_args(argv)
    older = quantity(given.older_than, SECONDS, "--older-than")
    larger = quantity(given.larger_than, BYTES, "--larger-than")

    from mer.config.composition import compose

    folder = compose(given.overrides).paths.cache
    listed = entries(folder, given.kind, older, larger)
    width = max((len(entry.path.name) for entry in listed), default=0)
    for entry in listed:
        date = f"{datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}"
        used = "in use now" if entry.in_use else date
        words = f"{entry.kind:8}  {entry.path.name:{width}}  {size(entry.size):>8}  {used:16}"
        print(f"{words}  {entry.settings or 'unfinished, or of an earlier version'}")
    free = [entry for entry in listed if not entry.in_use]
    text = f"{len(free)} entries, {size(sum(entry.size for entry in free))}"
    if not given.empty or not free:
        print(f"{text}, can be removed from {folder} (mer cache --empty).")
        return 0
    if not given.yes and not sys.stdin.isatty():
        raise MerError("Nobody can be asked here whether to remove these; add --yes")
    if given.yes or input(f"Remove {text}? [y/N] ").strip().lower() in ("y", "yes"):
        removed = empty(free)
        print(f"Removed {len(removed)}, {size(sum(entry.size for entry in removed))}.")
    return 0


def quantity(text: str | None, units: Mapping[str, float], option: str) -> float:
    """Read a number with a unit; 0 if there is none.

    Raises:
        MerError: If it is something else.
    """
    if text is None:
        return 0
    found = re.fullmatch(r"(\d+\.?\d*) ?([A-Za-z]+)", text)
    factors = {unit.lower(): factor for unit, factor in units.items()}
    if found is None or found.group(2).lower() not in factors:
        raise MerError(f"{option}={text}: expected a number and one of {', '.join(units)}")
    return float(found.group(1)) * factors[found.group(2).lower()]


def size(count: float) -> str:
    """Bytes in words."""
    unit = next((unit for unit in reversed(BYTES) if count >= BYTES[unit]), "kB")
    return f"{count / BYTES[unit]:.1f} {unit}"
