"""TAB completion of `mer`: the shell asks what may follow, and this answers from names of files.

`eval "$(mer --shell-completion install=bash)"` in ~/.bashrc (zsh: ~/.zshrc, install=zsh), or `mer
--shell-completion install=fish | source`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from mer.config.composition import conf_dir, config_folders
from mer.config.hydra_options import split_config_dir
from mer.errors import MerError

BASH = r"""_mer() {
  local IFS=$'\n' line="${COMP_LINE:0:$COMP_POINT}"
  COMPREPLY=($(mer --shell-completion query "$line" "$COMP_WORDBREAKS" 2>/dev/null))
}
complete -o nospace -o default -F _mer mer"""

SCRIPTS = {
    "bash": BASH,
    "zsh": f"(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit; }}\n"
    f"autoload -Uz bashcompinit && bashcompinit\n{BASH}",
    "fish": "complete -c mer -a '(mer --shell-completion query (commandline -cp | string collect) "
    '"" 2>/dev/null | string trim -r)\'',  # fish ends words itself
}

#: Commands that take words as `mer train` does.
OVERRIDES = ("train", "prepare", "cache", "weights")

OPTIONS = ("--config-dir ", "--help ", "--test ", "--trust ", "--cfg=job ", "-m ")


def main(argv: list[str]) -> int:
    """Print the script of a shell (`install=bash`), or what may follow (`query LINE BREAKS`).

    Raises:
        MerError: If it is another shell.
    """
    if argv[:1] == ["query"] and len(argv) == 3:
        print("\n".join(answers(*argv[1:])))
        return 0
    shell = argv[0].partition("=")[2] if argv else ""
    if shell not in SCRIPTS:
        raise MerError(f"--shell-completion: type install=NAME, one of {', '.join(SCRIPTS)}")
    print(SCRIPTS[shell])
    return 0


def answers(line: str, breaks: str) -> list[str]:
    """What may stand in place of the last word of a line.

    Args:
        line: What was typed, up to the cursor.
        breaks: Characters that part words in the shell, which replaces what follows the last one.
    """
    *before, last = line.split(" ")
    before = [word for word in before if word]
    found = [one for one in _words(before, last) if one.startswith(last)]
    kept = 1 + max((last.rfind(sign) for sign in breaks.strip()), default=-1)
    return sorted({one[kept:] for one in found})


def _words(before: list[str], last: str) -> Iterator[str]:
    from mer.cli import COMMANDS

    command = before[1] if len(before) > 1 else None
    if command is None:
        yield from (f"{name} " for name in COMMANDS)
    elif command == "list":
        from mer.config.catalogue import KINDS

        yield from (f"{kind} " for kind in KINDS)
    elif command in OVERRIDES and last.startswith("-"):
        yield from OPTIONS
    elif command in OVERRIDES:
        yield from _overrides(before, last)


def _overrides(before: list[str], last: str) -> Iterator[str]:
    """Choices of a group, or the groups and the keys of one level."""
    try:
        folders = config_folders(split_config_dir(before)[1])
    except MerError:  # --config-dir is the word before
        folders = [conf_dir()]
    group, equals, _ = last.partition("=")
    if equals:
        found = {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
        yield from (f"{group}={name} " for name in found)
        return
    level = last.rpartition(".")[0]
    if not level:
        yield from (f"{name}=" for name in groups(folders))
    node: Any = keys()
    for part in level.split(".") if level else []:
        node = node.get(part) if isinstance(node, dict) else None
    start = f"{level}." if level else ""
    for name, value in node.items() if isinstance(node, dict) else []:
        yield f"{start}{name}{'.' if isinstance(value, dict) and value else '='}"


def groups(folders: Iterable[Path]) -> set[str]:
    """Names of the groups of configuration files in some folders."""
    return {path.name for folder in folders for path in folder.iterdir() if path.is_dir()}


def keys() -> dict[str, Any]:
    """The tree of keys of `mer train`: those of the default groups and of searches."""
    folder = conf_dir()
    primary = _load(folder / "train.yaml")
    tree = {key: value for key, value in primary.items() if key not in ("defaults", "hydra")}
    for entry in primary["defaults"]:
        if isinstance(entry, dict):
            ((group, name),) = entry.items()
            path = folder / group / f"{name}.yaml"
            if path.exists():
                content = {key: value for key, value in _load(path).items() if key != "defaults"}
                tree[group] = {**tree.get(group, {}), **content}
    tree["search"] = _load(folder / "search" / "optuna.yaml")["search"]
    return tree


def _load(path: Path) -> dict[str, Any]:
    content = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return content if isinstance(content, dict) else {}
