"""The configuration of a run as W&B's table of runs shows it: first what people filter by.

The first level holds short values under the names of the configuration's groups, so that a column
means the same in a plain run, a search of mer's and a sweep of W&B's. Below `settings` is all that
decides a result, with a hash in place of long tables: `settings.model.optimizer.lr`.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from mer.config.conversion import to_plain
from mer.config.settings import Settings
from mer.loggers.typed_words import Typed

#: Nodes that say where things lie, or that the first level has.
LEFT_OUT = ("hydra", "paths", "run", "logger", "search", "trial", "seed", "selection")


def columns(settings: Settings, run_dir: Path, typed: Typed) -> dict[str, Any]:
    """The configuration of a W&B run.

    Args:
        settings: Settings of the run.
        run_dir: Its directory.
        typed: What was typed for it.
    """
    plain: dict[str, Any] = to_plain(settings)
    return {
        **groups(settings, typed),
        "heads": ",".join(name for name, node in plain["callbacks"].items() if node) or "softmax",
        "seed": settings.seed,
        "selection": settings.selection,
        "epochs": settings.model.epochs,
        "lr": settings.model.optimizer.lr,
        "experiment": typed.experiment,
        "sweep": typed.sweep,
        "search": (settings.search or {}).get("name"),
        "trial": settings.trial.number,
        "command": typed.command,
        "run_dir": str(run_dir.absolute()),
        "overrides": typed.differences or None,
        "settings": _rest(plain),
    }


def pretraining(settings: Settings, folder: Path) -> dict[str, Any]:
    """The configuration of the W&B run of a macro-pretraining, kept in a folder of the cache."""
    chosen, rest = groups(settings, Typed()), _rest(to_plain(settings))
    return {
        **{name: chosen[name] for name in ("macro", "input", "backbone")},
        "seed": settings.seed,
        "epochs": settings.macro.epochs,
        "lr": settings.macro.optimizer.lr,
        "run_dir": str(folder.absolute()),
        "settings": {name: rest[name] for name in ("macro", "input", "backbone", "prepare")},
    }


def groups(settings: Settings, typed: Typed) -> dict[str, str]:
    """Group of the configuration -> what was chosen of it, as it was typed or by its name."""
    plain: dict[str, Any] = to_plain(settings)
    chosen = {}
    for group in ("data", "labels", "protocol", "input", "backbone"):
        node = plain[group]
        own = str(node.get("_target_") or node.get("name")).rpartition(".")[2]
        renamed = f"{group}.name" in typed.words
        chosen[group] = own if renamed else typed.words.get(group, own)
    return {**chosen, "macro": _macro(settings)}


def _macro(settings: Settings) -> str:
    """What macro-pretraining learns from, in a word or two."""
    if not settings.macro.enabled:
        return "none"
    if settings.macro.weights is not None:
        return "given"
    real = settings.macro.reads_datasets
    parts = ["motion"] * (settings.macro.motion is not None)
    parts += sorted(settings.data.macro or {}) if real else []
    return "+".join(parts) or "none"


def _rest(plain: dict[str, Any]) -> dict[str, Any]:
    """All settings but those that are left out; label schemes and preparation by name and hash."""
    rest = {key: value for key, value in plain.items() if key not in LEFT_OUT}
    rest["labels"] = _scheme(plain["labels"])
    rest["macro"] = {**plain["macro"], "labels": _scheme(plain["macro"]["labels"])}
    prepare = plain["prepare"]
    rest["prepare"] = {
        "faces": prepare["faces"],
        "apex": prepare["apex"],
        "flow": prepare["flow"].get("_target_") or prepare["flow"]["method"],
        "hash": _hash(prepare),
    }
    return rest


def _scheme(labels: dict[str, Any]) -> dict[str, Any]:
    """Name, version and classes of a label scheme, and a hash of what it maps."""
    names = ("name", "version", "permutation")
    kept: dict[str, Any] = {key: labels[key] for key in names if key in labels}
    return {**kept, "classes": list(labels.get("classes") or []), "hash": _hash(labels)}


def _hash(node: Any) -> str:
    return hashlib.sha256(json.dumps(node, sort_keys=True, default=str).encode()).hexdigest()[:12]
