"""Configuration files of a run directory, which may come from somebody else.

They are read within bounds, and as plain values. A directory with links that lead out of it is
refused, since whatever is written into it would land elsewhere.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mer.config import yaml_parser
from mer.config.conversion import to_plain
from mer.config.settings import MACHINE, Input, Trainer
from mer.errors import MerError, one_line, raise_all

#: Bounds of a YAML file: bytes, nested levels. `mer train` writes some 10,000 bytes, 6 levels.
MOST_BYTES, MOST_LEVELS = 1_000_000, 30

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path) -> DictConfig:
    """Read the configuration of a run as it stands, see `read_mapping`."""
    try:
        return OmegaConf.create(read_mapping(path))
    except OmegaConfBaseException as error:
        raise MerError(f"{path} is damaged ({one_line(error)}); copy the run again") from error


def read_mapping(path: Path) -> dict[Any, Any]:
    """Read the configuration of a run as plain values; nothing in it is carried out.

    Raises:
        MerError: If it is damaged or out of bounds, if it holds an interpolation, which could read
            this machine's environment (`mer train` writes values), or if the directory is refused.
    """
    check_folder(path.parent)
    plain = read_plain(path)
    if not isinstance(plain, dict) or not plain:
        raise MerError(f"{path} is damaged (no mapping in it); copy the run again")
    for key, text in _interpolations(plain):
        raise MerError(f"{path}: `mer train` writes no interpolation, and {key} is {text}")
    return plain


def read_plain(path: Path) -> Any:
    """Read a YAML file as plain values; interpolations in it stay text.

    Raises:
        MerError: If it is damaged or out of bounds.
    """
    try:
        problem = _out_of_bounds(path)
        text = path.read_text(encoding="utf-8")
        content = None if problem else yaml.load(text, Loader=yaml_parser.loader())
    except Exception as error:  # of the YAML library or the file system
        raise MerError(f"{path} is damaged ({one_line(error)}); copy the run again") from error
    if problem:
        raise MerError(f"{path} {problem}: it is none of `mer train`")
    return content


def check_folder(folder: Path) -> None:
    """Refuse a run directory that holds links out of it, or anything but files and folders.

    Raises:
        MerError: With the first few.
    """
    root, problems = folder.resolve(), []
    for parent, folders, files in os.walk(folder):
        inside = Path(parent).relative_to(folder).parts
        # W&B links its logs into the home folder.
        logs = "wandb" in inside and "folds" not in inside
        for path in (Path(parent, name) for name in [*folders, *files]):
            try:
                mode = path.lstat().st_mode
            except OSError:  # another process has removed it
                continue
            if logs and stat.S_ISLNK(mode) and path.suffix == ".log":
                continue
            if stat.S_ISLNK(mode) and not (target := path.resolve()).is_relative_to(root):
                problems.append(f"{path} is a link to {target}")
            elif not (stat.S_ISLNK(mode) or stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                problems.append(f"{path} is a pipe, a socket or a device")
    raise_all(
        f"{folder} is not used, since not all of it lies inside it. Copy the files in place of the "
        "links (cp -rL), or leave these out:",
        problems[:5],
    )


def use_here(config: DictConfig) -> None:
    """Replace what a stored configuration says of its maker's machine by what is right on this one.

    Data are looked for below MER_DATA (generated ones below MER_SYNTH), the cache is MER_CACHE; a
    dataset that lay elsewhere is looked for under the last part of its path. Devices, workers and
    bars are the defaults.
    """
    data = config.get("data") or {}
    preset = data.get("preset")
    if preset is None:
        data["root"] = os.environ.get("MER_DATA", "data")
    else:
        made = os.environ.get("MER_SYNTH", "data/synthetic")
        data["root"] = str(Path(made, PurePosixPath(str(preset)).name))
    for role in ("micro", "macro"):
        for node in (data.get(role) or {}).values():
            for key, value in (node or {}).items():
                if isinstance(value, str) and key != "_target_":
                    node[key] = _inside(value)
    config["paths"] = {"cache": os.environ.get("MER_CACHE", "cache")}
    defaults = to_plain(Trainer())
    for key in (key for key in MACHINE if key in (config.get("trainer") or {})):
        config["trainer"][key] = defaults.get(key)
    if "workers" in (config.get("prepare") or {}):
        config["prepare"]["workers"] = None
    if "cache_gb" in (config.get("input") or {}):
        config["input"]["cache_gb"] = Input().cache_gb


def _inside(value: str) -> str:
    """A path below a folder; of one that leads elsewhere the last part."""
    for path in (PurePosixPath(value), PureWindowsPath(value)):
        if path.is_absolute() or path.drive or value.startswith("~") or ".." in path.parts:
            return path.name.lstrip("~") or "."
    return value


def _out_of_bounds(path: Path) -> str | None:
    """What of a YAML file is too large, as the rest of a sentence."""
    if (size := path.stat().st_size) > MOST_BYTES:
        return f"has {size:,} bytes"
    level = 0
    for event in yaml.parse(path.read_bytes(), Loader=Loader):
        if isinstance(event, yaml.AliasEvent):
            return f"repeats a part by its name (*{event.anchor})"
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
        if level > MOST_LEVELS:
            return f"has more than {MOST_LEVELS} nested levels"
    return None


def _interpolations(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _interpolations(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _interpolations(value, f"{key}.{place}")
    elif isinstance(node, str) and "${" in node:
        yield key, node
