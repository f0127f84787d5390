"""The command that repeats a run."""

import re
import shlex
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mer.config.composition import compose, conf_dir
from mer.errors import MerError
from mer.runs.rundir import flatten, is_volatile

#: Keys of words that name a directory or a sweep, and mean nothing to a repetition.
OWN = ("run", "trial", "search", "hydra", "protocol.folds")

#: Groups of the configuration whose nodes say by their `name` which file they come from.
GROUPS = ("data", "labels", "protocol", "input", "backbone")


def command(run_dir: Path, cfg: DictConfig) -> str | None:
    """The shell command of a run, from what was typed or else from its configuration.

    Returns:
        One line; None where the configuration cannot be composed from this version's files.
    """
    typed = run_dir / ".hydra" / "overrides.yaml"
    words = _typed(typed) if typed.exists() else derive(cfg)
    if words is None:
        return None
    return shlex.join(["mer", "train", *(word for word in words if not _own(word))])


def _typed(path: Path) -> list[str]:
    """Words as they were typed, interpolations included."""
    words = OmegaConf.to_container(OmegaConf.load(path))
    return [str(word) for word in words] if isinstance(words, list) else []


def derive(cfg: DictConfig) -> list[str] | None:
    """Find overrides that give a configuration, as few as the groups' files allow.

    Returns:
        Words; None if there are none that give the same configuration, apart from what says where
        and how fast.
    """
    words = [
        f"{group}={name}"
        for group in GROUPS
        if (name := OmegaConf.select(cfg, f"{group}.name"))
        and (conf_dir() / group / f"{name}.yaml").exists()
    ]
    wanted = _decisive(cfg)
    try:
        plain = _decisive(compose([]))
        words = [word for word in words if _choice(word) != plain.get(_choice_key(word))]
        there = _decisive(compose(words))
        words += [f"~{key}" for key in sorted({_gone(key, wanted) for key in there} - {""})]
        for key in sorted(wanted):
            if key not in there:
                words.append(f"+{key}={quote(wanted[key])}")
            elif wanted[key] != there[key]:
                words.append(f"{key}={quote(wanted[key])}")
        return words if _decisive(compose(words)) == wanted else None
    except (MerError, ValueError):
        return None


def _gone(key: str, wanted: dict[str, Any]) -> str:
    """The uppermost node above a key, or itself, of which nothing is wanted; empty if it is."""
    parts = key.split(".")
    nodes = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    return next((n for n in nodes if not any(f"{k}.".startswith(f"{n}.") for k in wanted)), "")


def quote(value: Any) -> str:
    """Write a plain value in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(quote, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{quote(str(k))}:{quote(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str) and not (
        re.fullmatch(r"[A-Za-z_][\w./@-]*", value) and value.lower() not in _WORDS
    ):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value)


#: Text that Hydra would not read as text.
_WORDS = ("null", "true", "false", "nan", "inf")


def _choice(word: str) -> str:
    return word.partition("=")[2]


def _choice_key(word: str) -> str:
    return f"{word.partition('=')[0]}.name"


def _own(word: str) -> bool:
    key = word.lstrip("+~").partition("=")[0].replace("/", ".")
    return any(key == own or key.startswith(f"{own}.") for own in OWN)


def _decisive(cfg: DictConfig) -> dict[str, Any]:
    plain = {key: cfg[key] for key in cfg if key not in ("run", "hydra", "paths")}
    resolved = OmegaConf.to_container(
        OmegaConf.create({"paths": cfg.get("paths"), **plain}), resolve=True
    )
    return {key: value for key, value in flatten(resolved).items() if not is_volatile(key)}
