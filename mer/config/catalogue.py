"""All choices: files of the configuration's groups, the user's own included, and readers."""

import ast
import difflib
import re
from pathlib import Path
from typing import NamedTuple

from mer.config import trust
from mer.config.composition import conf_dir
from mer.errors import MerError

#: Kind of thing -> group of the configuration that names it. Readers are modules.
GROUPS = {
    "datasets": "data",
    "inputs": "input",
    "labels": "labels",
    "protocols": "protocol",
    "backbones": "backbone",
    "pretrainings": "macro",
    "heads": "callbacks",
    "trainers": "trainer",
    "loggers": "logger",
    "experiments": "experiment",
    "searches": "search",
}
KINDS = ("readers", *GROUPS)


class Entry(NamedTuple):
    """One thing that can be chosen.

    Attributes:
        kind: One of `KINDS`.
        name: Its name.
        choice: Word of the command line that chooses it.
        summary: One sentence.
        own: Whether it comes from the folder that was given.
    """

    kind: str
    name: str
    choice: str
    summary: str
    own: bool


def entries(kind: str, config_dir: Path | None = None) -> list[Entry]:
    """List what can be chosen.

    Raises:
        MerError: If there is no such kind or folder.
    """
    if kind not in KINDS:
        close = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"closest: {close[0]}; " if close else ""
        raise MerError(f"there is nothing of the kind {kind} ({hint}all: {', '.join(KINDS)})")
    if config_dir is not None and not config_dir.is_dir():
        raise MerError(f"--config-dir: there is no folder {config_dir}")
    if kind == "readers":
        folder = Path(__file__).parents[1] / "datasets" / "readers"
        summaries = {path.stem: _of_module(path) for path in sorted(folder.glob("*.py"))}
        return [
            Entry(kind, name, f"reader={name}", summary, False)
            for name, summary in summaries.items()
            if summary
        ]
    group = GROUPS[kind]
    found = [(path, False) for path in sorted((conf_dir() / group).glob("*.yaml"))]
    if config_dir is not None:
        found += [(path, True) for path in sorted((config_dir / group).glob("*.yaml"))]
    return [
        Entry(kind, path.stem, f"{group}={path.stem}", summarise(path), own) for path, own in found
    ]


def summarise(path: Path) -> str:
    """Describe a configuration file: its first comment, or what its `_target_` says of itself."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment: list[str] = []
    for line in lines:
        if line.startswith("#") and not line.startswith("# @package"):
            comment.append(line.lstrip("# "))
        elif comment or (line.strip() and not line.startswith("#")):
            break
    if comment:
        return _first_sentence(" ".join(comment))
    for name in trust.names(trust.as_plain(_content(path))).values():
        try:
            return _first_sentence(trust.resolve(name, path.stem).__doc__ or "")
        except MerError as error:
            return str(error)
    return ""


def _content(path: Path) -> object:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.load(path))


def _of_module(path: Path) -> str:
    """First line of the docstring of a reader's module; empty for modules that are no readers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return _first_sentence(ast.get_docstring(tree) or "") if "index" in functions else ""


def _first_sentence(text: str) -> str:
    """Text up to the first full stop that ends a sentence, on one line."""
    plain = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<!\bal\.)(?<!e\.g\.)(?<=[.!?])\s(?=[A-Z`])", plain)[0].removesuffix(".")
