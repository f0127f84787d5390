"""Part `startup`: how long `mer --help` and `mer train --cfg job` take, beside Python alone."""

import os
import subprocess
import sys
from collections.abc import Iterator

from mer.bench.figures import Figure, figure, in_turn
from mer.bench.settings import Settings
from mer.errors import MerError

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "mer --help": ["-m", "mer.cli", "--help"],
    "mer train --cfg job": ["-m", "mer.cli", "train", "--cfg", "job"],
}


def measure(settings: Settings) -> Iterator[Figure]:
    """Time whole processes, from their start to their end."""
    repeats = settings.few(5, 1)
    for name in COMMANDS:
        _start(name)  # reads the files into memory, writes the bytecode
    found = in_turn({name: lambda name=name: _start(name) for name in COMMANDS}, repeats)
    for name, values in found.items():
        yield figure("startup", name, "", "s", values, baseline=name.startswith("python"))


def _start(name: str) -> None:
    command = [sys.executable, *COMMANDS[name]]
    # Hydra must not meet the words of this process.
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise MerError(f"`{name}` ended with status {done.returncode}: {last[0]}")
