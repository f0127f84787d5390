"""What a configuration names and this machine lacks: packages and networks of timm.

Neither is imported, so that a mistyped name is refused at once.
"""

import difflib
import importlib.util
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mer.config import trust
from mer.config.composition import conf_dir


def problems(config: Mapping[str, Any]) -> list[str]:
    """Say what a composed configuration names that is not there.

    Packages of loggers are left to the loggers, which know how each is installed.
    """
    macro = config.get("macro")
    unused = isinstance(macro, Mapping) and macro.get("enabled") is False
    left_out = {"logger", *(["macro"] if unused else [])}
    found = [
        trust.no_package(target, key)
        for key, target in trust.names(
            {key: node for key, node in config.items() if key not in left_out}
        ).items()
        if not _is_installed(str(target).partition(".")[0])
    ]
    backbone = config.get("backbone")
    if isinstance(backbone, Mapping) and "_target_" not in backbone:
        name = str(backbone.get("name"))
        if re.fullmatch(r"\w+", name) and name not in _names():
            found.append(no_network(name))
    return found


def no_network(name: str) -> str:
    """Say that timm has no network of a name, and which are closest."""
    if (conf_dir() / "backbone" / f"{name}.yaml").exists():
        return f"timm has no backbone.name={name}; for mer's own type backbone={name}"
    known = re.findall(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)", _timm(), re.MULTILINE)
    close = difflib.get_close_matches(name, known, n=4)
    hint = f"closest: {', '.join(close)}" if close else "timm.list_models() lists all"
    return f"timm has no backbone.name={name}; {hint}"


def _is_installed(package: str) -> bool:
    # What is no name of a package has an error of its own where it is imported.
    known = not package.isidentifier() or package in sys.modules
    return known or importlib.util.find_spec(package) is not None


@cache
def _names() -> set[str]:
    """Names of timm's functions, and the keys of its dictionaries, former names among them."""
    found = re.findall(r"def (\w+)\(|['\"](\w+)['\"]\s*:", _timm())
    return {name for pair in found for name in pair}


@cache
def _timm() -> str:
    """The sources of timm's networks."""
    spec = importlib.util.find_spec("timm")
    folders = (spec and spec.submodule_search_locations) or []
    files = [path for folder in folders for path in Path(folder, "models").glob("*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)
