"""`mer doctor`: is everything here that `mer` needs, and if not, what has to be typed?

Every check runs, whatever the ones before it found, so one call names all problems with their mend.
Nothing is changed and no network is used.
"""

import json
import netrc
import os
import platform
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from mer import processes
from mer.cli.installation import (
    Check,
    check_face_model,
    check_opencv,
    check_packages,
    check_torch,
    installed_version,
)
from mer.cli.options import Parser
from mer.datasets.discovery import discover
from mer.errors import MerError, one_line

#: Gibibytes; a prepared composite and its runs take a few.
MIN_FREE_GIB = 5


def check_python() -> list[Check]:
    """Report the interpreter; pip has compared its version with `requires-python`."""
    return [Check("python", "ok", f"{platform.python_version()} at {sys.executable}")]


def check_machine() -> list[Check]:
    """Report cores, memory and free disk."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    cores = processes.cores()
    found = f"{cores} cores, {memory:.0f} GiB memory, {free:.0f} GiB free in {Path.cwd()}"
    if free < MIN_FREE_GIB:
        return [Check("machine", "warn", found, f"free some space: below {MIN_FREE_GIB} GiB")]
    return [Check("machine", "ok", found)]


def check_datasets() -> list[Check]:
    """Read the index of every dataset found under `MER_DATA`."""
    named = os.environ.get("MER_DATA", "")
    if not named:
        unset = "not set, only synthetic data can be used: export MER_DATA=FOLDER_OF_YOUR_DATASETS"
        return [Check("MER_DATA", "note", unset)]
    root = Path(named).expanduser()
    if not root.is_dir():
        mend = "export MER_DATA=FOLDER_OF_YOUR_DATASETS"
        return [Check("MER_DATA", "FAIL", f"{root} is not a folder", mend)]
    places = discover(root)
    absent = [name for name, place in places.items() if isinstance(place, str)]
    checks = [Check("MER_DATA", "ok", str(root))]
    checks += [_dataset(name, place) for name, place in places.items() if isinstance(place, Path)]
    if absent:
        checks.append(Check("datasets", "note", f"no folder for {', '.join(absent)}"))
    return checks


def check_wandb() -> list[Check]:
    """Say whether runs can be sent to W&B; looks at the environment and the netrc file only."""
    if not installed_version("wandb"):
        return []  # check_packages lists the missing extra
    mode = os.environ.get("WANDB_MODE", "")
    if mode in ("offline", "disabled", "dryrun"):
        return [Check("wandb", "ok", f"WANDB_MODE={mode}: nothing is sent")]
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").partition("://")[2].strip("/")
    if os.environ.get("WANDB_API_KEY") or _in_netrc(host):
        return [Check("wandb", "ok", f"logged in at {host}")]
    return [Check("wandb", "note", "not logged in: runs can only be offline until `wandb login`")]


def main(argv: list[str]) -> int:
    """Run all checks and print the report.

    Args:
        argv: `--json` prints the lines as JSON.

    Returns:
        1 when any line is `FAIL`, else 0.
    """
    parser = Parser(
        "mer doctor", description="Check this machine and say what to type for each problem."
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(argv)
    tests: list[Callable[[], list[Check]]] = [
        check_python,
        check_packages,
        check_torch,
        check_opencv,
        check_face_model,
        check_machine,
        check_datasets,
        check_wandb,
    ]
    checks = [check for test in tests for check in test()]
    print(json.dumps([c._asdict() for c in checks], indent=2) if options.json else report(checks))
    return int(any(check.state == "FAIL" for check in checks))


def report(checks: list[Check]) -> str:
    """Lay the lines out as one aligned table, with every mend once below it."""
    name_width = max(len(check.name) for check in checks)
    room = max(40, shutil.get_terminal_size((100, 24)).columns - name_width - 8)
    lines = []
    for check in checks:
        first, *rest = textwrap.wrap(check.found, room, break_on_hyphens=False)
        lines.append(f"{check.state:<4}  {check.name:<{name_width}}  {first}")
        lines += [" " * (name_width + 8) + part for part in rest]
    mends = list(dict.fromkeys(c.mend for c in checks if c.mend and c.state in ("warn", "FAIL")))
    if mends:
        lines += ["", "To mend:", *(f"  {mend}" for mend in mends)]
    return "\n".join(lines)


def _dataset(name: str, folder: Path) -> Check:
    """Read one dataset's index and count it, or say why it cannot be read."""
    from mer import datasets
    from mer.datasets.remarks import summary

    try:
        table, remarks = datasets.read(name, folder)
    except MerError as error:
        layout = f"python -m pydoc {datasets.READERS[name]}  (the layout that is expected)"
        return Check(name, "warn", f"{folder}: {one_line(error)}", layout)
    counts = f"{len(table)} samples, {table['subject'].nunique()} subjects, in {folder}"
    dropped = summary(len(table), remarks)
    return Check(name, "ok", f"{counts}; {dropped}" if dropped else counts)


def _in_netrc(host: str) -> bool:
    """Say whether the user's netrc file has an entry for `host`."""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
