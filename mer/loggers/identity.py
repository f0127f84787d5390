"""Identity of a run at Weights & Biases: id, name, group, settings and login."""

import hashlib
import netrc
import os
import re
import uuid
from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from mer.config.conversion import to_plain
from mer.config.settings import Settings
from mer.errors import MerError
from mer.files import write_json
from mer.runs import run_files


def plain_settings(settings: Settings) -> dict[str, Any]:
    """The resolved configuration as plain values, without what says where things lie."""
    plain: dict[str, Any] = to_plain(settings)
    return {key: value for key, value in plain.items() if key not in ("hydra", "paths")}


def names(settings: Settings, run_dir: Path) -> tuple[str, str | None]:
    """Name and group of a W&B run, where the configuration gives none."""
    sweep = None
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        sweep = Path(HydraConfig.get().sweep.dir).name
    if settings.protocol.folds is not None:
        return f"{run_dir.name} folds {settings.protocol.folds}", run_dir.name
    if sweep is None:
        return run_dir.name, None
    if settings.trial.number is not None:
        return f"{sweep} trial {settings.trial.number}", sweep
    return f"{sweep} job {HydraConfig.get().job.num}", sweep


def keep(settings: Settings, run_dir: Path, project: str) -> tuple[dict[str, Any], Path]:
    """Id, name and group of a run's W&B run, made once and kept in its directory, and their file.

    Processes that share the folds of a run work at the same time, which one W&B run cannot bear.
    """
    folds = None if settings.protocol.folds is None else str(settings.protocol.folds)
    end = "" if folds is None else f"-{hashlib.sha256(folds.encode()).hexdigest()[:8]}"
    path = run_dir / f"wandb{end}.json"
    with FileLock(run_dir / ".lock"):
        if not path.exists():
            name, group = names(settings, run_dir)
            # Random whatever the seed: two runs of one seed are two runs.
            own = {"id": uuid.uuid4().hex[:12], "project": project, "name": name, "group": group}
            write_json({**own, "folds": folds}, path)
        kept = run_files.read_json(path)
    named = re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(kept.get("id")))  # is part of folders' names
    if not (named and {"name", "group"} <= set(kept)):
        raise MerError(f"{path} holds no id of a W&B run; remove it, and the run gets a new one")
    return kept, path


def logged_in() -> bool:
    """Whether there is a W&B login; only its presence is looked at."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    address = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    host = address.partition("://")[2].strip("/")
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
