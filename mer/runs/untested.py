"""The run that trains on everybody: it has no score, and another run's scores stand for it.

Its `metrics.json` has the status `untested`, and under `like` what the other run scored.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mer.config.conversion import to_plain
from mer.config.settings import Settings
from mer.errors import MerError, raise_all
from mer.files import sha256
from mer.protocols import EVERYBODY
from mer.runs import calibration, checksums, members, rundir
from mer.runs.stored_run import Run

#: In place of scores.
NO_SCORES = "none: trained on everybody"

#: What an assembled run of a nested search has; its folds have settings of their own.
NESTED = "nested.json"


def tests_nobody(config: Mapping[str, Any]) -> bool:
    """Whether a configuration trains on everybody."""
    return (config.get("protocol") or {}).get("name") == EVERYBODY


def command(run_dir: Path) -> str:
    """What to type for a model on everybody with the settings of a run."""
    return f"mer train protocol={EVERYBODY} protocol.like={run_dir}"


def open_like(path: Path) -> Run:
    """Open a run whose settings can be taken over and whose scores can stand for them.

    Raises:
        MerError: If it is not finished, has no score of its method, or no one set of settings.
    """
    run = Run(path)
    members.require_networks(path, run.config)
    reason = ""
    if tests_nobody(run.config):
        like = (run.metrics.get("like") or {}).get("run")
        other = f"; name {os.path.normpath(path / like)}" if like else ""
        reason = f"it trained on everybody and has no score{other}"
    elif mark := rundir.mark(run.config):
        reason = f"its scores are none of the method ({mark.strip('-')})"
    elif (path / NESTED).exists():
        reason = (
            "each of its folds has settings of its own, by a nested search; type those that you "
            f"want: mer train protocol={EVERYBODY} KEY=VALUE..."
        )
    elif not run.complete:
        reason = "it is not finished; the command that started it goes on"
    if reason:
        raise MerError(f"protocol.like={path}: no model on everybody can be made like it: {reason}")
    return run


def require_like(settings: Settings) -> None:
    """Refuse settings that are not those of the run whose scores shall stand for them."""
    if settings.protocol.like is None:
        return
    theirs = rundir.flatten(open_like(Path(settings.protocol.like)).config)
    ours = rundir.flatten(to_plain(settings))
    raise_all(
        f"The scores of {settings.protocol.like} cannot stand for other settings:",
        (
            f"{key}: {theirs.get(key)} there, {ours.get(key)} here"
            for key in sorted({*theirs, *ours})
            if theirs.get(key) != ours.get(key) and not may_differ(key)
        ),
    )


def may_differ(key: str) -> bool:
    """Whether a dotted key may differ between a run and a model on everybody like it."""
    splits = key.startswith("protocol.") and not key.startswith("protocol.inner")
    return rundir.is_volatile(key) or splits or key == "data.generate"  # but for the maker's own


def result(run_dir: Path, settings: Settings) -> dict[str, Any]:
    """What `metrics.json` says of a finished run on everybody, beside what every run says."""
    content: dict[str, Any] = {"status": rundir.UNTESTED, "scores": NO_SCORES, "like": None}
    if settings.protocol.like is None:
        return content
    run = open_like(Path(settings.protocol.like))
    calibration.write(run_dir, to_plain(settings), calibration.read(run.directory))
    content["like"] = {
        "run": os.path.relpath(run.directory, run_dir),
        "checksums": sha256(run.directory / checksums.FILE),
        "protocol": run.get("protocol.name"),
        "selection": run.get("selection"),
        "folds": len(run.folds),
        "heads": {head: parts["pooled"] for head, parts in run.all_scores.items()},
        "warnings": run.warnings,
    }
    return content
