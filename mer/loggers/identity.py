"""Identity of a run at Weights & Biases: id, name, group, job type, tags, and the login."""

import hashlib
import os
import re
import shlex
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from filelock import FileLock

from mer.config.conversion import to_plain
from mer.config.settings import Settings
from mer.errors import MerError
from mer.files import write_json
from mer.loggers import run_columns
from mer.loggers.typed_words import Typed
from mer.protocols import EVERYBODY
from mer.runs import run_files
from mer.runs.rundir import mark

#: Longest name of a W&B run.
NAME_LENGTH = 120


def job_type(settings: Settings, typed: Typed) -> str:
    """What kind of run this is: train, trial, nested, sweep, final or null."""
    if settings.labels.get("permutation") is not None:
        return "null"  # the labels are permuted
    if settings.trial.number is not None:
        return "nested" if settings.protocol.folds is not None else "trial"
    if settings.protocol.name == EVERYBODY:
        return "final"
    return "train" if typed.sweep is None else "sweep"


def names(settings: Settings, run_dir: Path, typed: Typed) -> tuple[str, str | None]:
    """Name and group of a W&B run, where the configuration gives none.

    The name says what differs: the number of the trial and what the sweep varies; otherwise the
    name of the run directory, where somebody has given it one, and what was typed.
    """
    number, differences = settings.trial.number, typed.differences
    if number is not None:
        fold = [] if settings.protocol.folds is None else [f"fold {settings.protocol.folds}"]
        several = (settings.search or {}).get("seeds", 1) > 1
        seed = [f"seed={settings.seed}"] if several else []
        name = " ".join([*fold, f"trial {number}", differences, *seed])
        return _short(name), typed.sweep
    if settings.protocol.folds is not None:
        return _short(f"{run_dir.name} folds {settings.protocol.folds}"), run_dir.name
    if typed.sweep is not None:
        return _short(differences or f"job {typed.job}"), typed.sweep
    stamped = re.fullmatch(r"\d{8}-\d{6}.*", run_dir.name)
    experiment = typed.experiment if stamped else None
    kept = [experiment or "", "" if stamped else run_dir.name, differences]
    return _short(" ".join(filter(None, kept)) or run_dir.name), None


def tags(settings: Settings, typed: Typed) -> list[str]:
    """Tags of a W&B run: dataset, labels, protocol, input, backbone, pretraining, what is wrong."""
    chosen = run_columns.groups(settings, typed)
    macro = chosen.pop("macro")
    marks = mark(to_plain(settings)).split("-")[1:]
    known = [*chosen.values(), f"macro {macro}", *marks]
    return list(dict.fromkeys(tag[:64] for tag in known))


def _short(name: str) -> str:
    """A name of as many signs as W&B shows."""
    name = name.strip()
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def macro_run(folder: Path) -> str:
    """Id of the W&B run of a macro-pretraining, whose folder's name ends with its digest."""
    return f"macro-{folder.name.rpartition('-')[2]}"


def agent_run() -> str | None:
    """Id that `wandb agent` has given the run of this process; None without an agent."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def keep(
    settings: Settings, run_dir: Path, project: str, typed: Typed, macro: Path | None = None
) -> tuple[dict[str, Any], Path]:
    """Id, name and group of a run's W&B run, made once and kept in its directory, and their file.

    Processes that share the folds of a run work at the same time, which one W&B run cannot bear.
    """
    folds = None if settings.protocol.folds is None else str(settings.protocol.folds)
    end = "" if folds is None else f"-{hashlib.sha256(folds.encode()).hexdigest()[:8]}"
    path = run_dir / f"wandb{end}.json"
    with FileLock(run_dir / ".lock"):
        if not path.exists():
            name, group = names(settings, run_dir, typed)
            # Random whatever the seed: two runs of one seed are two runs.
            write_json(
                {
                    "id": agent_run() or uuid.uuid4().hex[:12],
                    "project": project,
                    "name": name,
                    "group": group,
                    "job_type": job_type(settings, typed),
                    "folds": folds,
                    "macro_run": None if macro is None else macro_run(macro.parent),
                    "macro_dir": None if macro is None else str(macro.parent.absolute()),
                },
                path,
            )
        kept = run_files.read_json(path)
    named = re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(kept.get("id")))  # is part of folders' names
    if not (named and {"name", "group"} <= set(kept)):
        raise MerError(f"{path} holds no id of a W&B run; remove it, and the run gets a new one")
    return kept, path


def sync_command(written: Sequence[tuple[Path, str]]) -> str | None:
    """The command that sends what was logged offline, all parts of it; None where nothing was.

    Args:
        written: Folder of W&B's files and id of each W&B run; one that makes an artifact comes
            before those that use it.
    """
    found = [
        str(part)
        for folder, run in written
        for part in sorted(folder.glob(f"wandb/offline-run-*-{run}"))
    ]
    return shlex.join(["wandb", "sync", *dict.fromkeys(found)]) if found else None


def server() -> str:
    """Address of the W&B server: WANDB_BASE_URL, that of `wandb login --host`, or W&B's own."""
    from wandb.sdk import wandb_setup

    return os.environ.get("WANDB_BASE_URL") or str(wandb_setup.singleton().settings.base_url)


def logged_in() -> bool:
    """Whether there is a login at the W&B server.

    Raises:
        MerError: If there is one that W&B cannot use.
    """
    import wandb
    from wandb.sdk.lib import wbauth

    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        return wbauth.read_netrc_auth(host=server()) is not None
    except (wandb.Error, ValueError) as error:
        raise MerError(
            f"W&B cannot use its login: {error}. Type `wandb login --relogin`"
        ) from error


def require_connection() -> None:
    """Find out whether the W&B server answers, unless a proxy stands before it.

    Raises:
        MerError: If it does not within some seconds; `wandb.init` would wait for minutes.
    """
    parts = urlsplit(server())
    if getproxies():
        return
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        socket.create_connection((parts.hostname or "", port), timeout=5).close()
    except OSError as error:
        raise MerError(
            f"logger.wandb.mode is online, but {server()} does not answer ({error}). Set "
            "logger.wandb.mode=offline and send the run later with `wandb sync`."
        ) from error
