"""Words of `mer train` that Hydra would refuse without saying what to type, or take in silence."""

import difflib
from collections.abc import Iterator
from pathlib import Path

from mer.cli.completion import groups, keys
from mer.cli.train_help import choices, flat
from mer.config.composition import conf_dir, config_folders
from mer.config.hydra_options import split_config_dir
from mer.errors import raise_all

#: Options of `mer train`, Hydra's own among them.
OPTIONS = (
    *("--help", "--multirun", "--test", "--config-dir", "--trust", "--cfg", "--resolve"),
    *("--package", "--info", "--version", "--hydra-help", "--run", "--config-name"),
    *("--config-path", "--shell-completion", "--experimental-rerun"),
    *("-h", "-m", "-c", "-p", "-i", "-r", "-cd", "-cn", "-cp", "-sc"),
)

#: Those that no value follows.
ALONE = ("-m", "--multirun", "--test", "--resolve", "--run", "-r")

#: First line of a file that sets keys outside of its own group.
GLOBAL = "# @package _global_"


def check(words: list[str]) -> None:
    """Refuse unknown options, names without a key, and files of one's own without their package.

    Args:
        words: As typed, without `--trust`.

    Raises:
        MerError: With all of them, and what to type.
    """
    _, config_dir = split_config_dir(words)
    folders = config_folders(config_dir)
    raise_all("mer train does not understand:", _faults(words, folders))


def _faults(words: list[str], folders: list[Path]) -> Iterator[str]:
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        name, equals, value = word.partition("=")
        if word.startswith("-"):
            if name not in OPTIONS:
                after = "".join(words[place + 1 : place + 2])
                yield f"{word}: {_meant(name, value if equals else after)}"
        elif equals and name in ("experiment", "search"):
            yield from _without_package(name, value, folders)
        elif not equals and (not before.startswith("-") or before in ALONE):
            yield from _without_key(word, folders)


def _meant(option: str, value: str) -> str:
    """What to type in place of an option that does not exist."""
    if close := difflib.get_close_matches(option, OPTIONS, n=1, cutoff=0.7):
        return f"there is no such option; type {close[0]}"
    name = option.lstrip("-").replace("-", "_")
    known = sorted(flat(keys()), key=lambda key: ("." in key, not key.startswith("model.")))
    key = next((key for key in known if name in (key, key.rpartition(".")[2])), "")
    typed = f"{key}={value if value and not value.startswith('-') else 'VALUE'}"
    return f"a setting has no dashes; type {typed if key else 'KEY=VALUE'} (`mer train --help`)"


def _without_key(word: str, folders: list[Path]) -> Iterator[str]:
    """What to type in place of the name of a group or of a choice."""
    if word == "help":
        yield "help: type mer train --help"
    elif choices(word, folders):
        yield f"{word}: type {word}=NAME; `mer train --help {word}` lists the names"
    elif word in flat(keys()):
        yield f"{word}: type {word}=VALUE"
    elif holding := [one for one in sorted(groups(folders)) if word in choices(one, folders)]:
        yield f"{word}: type {' or '.join(f'{group}={word}' for group in holding)}"


def _without_package(group: str, name: str, folders: list[Path]) -> Iterator[str]:
    """A file of the user's that would set its keys below `experiment` or `search`."""
    path = folders[-1] / group / f"{name}.yaml"
    if folders[-1] != conf_dir() and path.is_file():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        if not any(line.replace(" ", "").startswith("#@package") for line in lines):
            yield f"{group}={name}: let {path} begin with the line `{GLOBAL}`"
