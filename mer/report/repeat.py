"""The command that repeats a run, from what was typed."""

import os
import shlex
from pathlib import Path
from typing import Any

from mer.config import stored
from mer.runs import members

#: Keys of words that name a directory or a sweep, and mean nothing to a repetition.
LEFT_OUT = ("run", "trial", "search", "hydra", "protocol.folds")


def command(run_dir: Path) -> str | None:
    """The shell command of a run; None where nothing was typed (a run started from Python)."""
    nodes = members.nodes_of(stored.read(run_dir / "config.yaml"))
    if nodes:
        paths = (os.path.normpath(run_dir / node["run"]) for node in nodes)
        words = [f"{path}:{node['head']}" for path, node in zip(paths, nodes, strict=True)]
        return shlex.join(["mer", "ensemble", *words])
    words = _plain(run_dir / ".hydra" / "overrides.yaml")
    if words is None:
        return None
    kept = [str(word) for word in words if not _left_out(str(word))]
    return shlex.join(["mer", "train", *_config_dir(run_dir), *kept])


def _left_out(word: str) -> bool:
    key = word.lstrip("+~").partition("=")[0].replace("/", ".")
    return any(f"{key}.".startswith(f"{name}.") for name in LEFT_OUT)


def _config_dir(run_dir: Path) -> list[str]:
    """The option `--config-dir`, which Hydra does not count among the overrides."""
    hydra = _plain(run_dir / ".hydra" / "hydra.yaml") or {"hydra": {}}
    sources = hydra["hydra"].get("runtime", {}).get("config_sources", [])
    return next(
        (["--config-dir", s["path"]] for s in sources if s["provider"] == "command-line"), []
    )


def _plain(path: Path) -> Any:
    """Content of a file, interpolations as they were typed; None where there is no file."""
    return stored.read_plain(path) if path.exists() else None
