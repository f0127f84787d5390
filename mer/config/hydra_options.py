"""What Hydra does not read itself of a command line: `--config-dir`, `--trust`, own classes."""

import os
from collections.abc import Sequence
from pathlib import Path

from mer.config.quoting import quoted
from mer.errors import MerError

#: Nodes that may name a class of the user's, and in `conf/` name none: Hydra has no such key there.
OWN_CLASSES = (
    "backbone",
    "input",
    "macro.loss",
    "macro.optimizer",
    "model.loss",
    "model.optimizer",
    "prepare.flow",
)


def own_classes(words: Sequence[str]) -> list[str]:
    """Let Hydra add the keys of a node that gets a class of the user's; a typed `+` is not needed.

    >>> own_classes(["model.loss._target_=my.Loss", "model.loss.gamma=2", "model.dropout=0"])
    ['++model.loss._target_=my.Loss', '++model.loss.gamma=2', 'model.dropout=0']
    """
    typed = {word.lstrip("+").partition("=")[0] for word in words}
    nodes = tuple(f"{node}." for node in OWN_CLASSES if f"{node}._target_" in typed)
    return [f"++{word}" if word.startswith(nodes) else word for word in words]


def split_config_dir(words: list[str]) -> tuple[list[str], str | None]:
    """Take the option `--config-dir FOLDER` (or `-cd`) out of a command line.

    Raises:
        MerError: If the option has no value.
    """
    rest, folder = [], None
    remaining = iter(words)
    for word in remaining:
        option, equals, value = word.partition("=")
        if option not in ("--config-dir", "-cd"):
            rest.append(word)
            continue
        folder = value if equals else next(remaining, None)
        if not folder:
            raise MerError(f"{option} needs the folder of your configuration files")
    return rest, folder


def options_first(words: list[str]) -> list[str]:
    """Put the options of a command line before its overrides, since Hydra takes no other order.

    >>> options_first(["seed=1", "-m", "input=apex", "--config-dir", "my"])
    ['-m', '--config-dir', 'my', 'seed=1', 'input=apex']
    """
    rest, folder = split_config_dir(words)
    if any(word.startswith("-") and word not in ("-m", "--multirun") for word in rest):
        return words  # options that may have values
    named = [] if folder is None else ["--config-dir", folder]
    return sorted([*rest, *named], key=lambda word: word not in ("-m", "--multirun", *named))


def take_trust(words: list[str]) -> list[str]:
    """Take `--trust PACKAGE` out of a command line, and add the package to MER_TRUST.

    Raises:
        MerError: If the option has no value.
    """
    rest, trusted = [], [os.environ.get("MER_TRUST", "")]
    remaining = iter(words)
    for word in remaining:
        option, equals, value = word.partition("=")
        if option != "--trust":
            rest.append(word)
        elif name := value if equals else next(remaining, ""):
            trusted.append(name)
        else:
            raise MerError("--trust needs the name of a package, such as mypackage")
    if len(trusted) > 1:  # so that processes of this command know too
        os.environ["MER_TRUST"] = ",".join(filter(None, trusted))
    return rest


def search_path(config_dir: str | Path | None) -> list[str]:
    """The override that adds a folder to those that Hydra searches."""
    if config_dir is None:
        return []
    folder = Path(config_dir).expanduser().absolute()
    if not folder.is_dir():
        raise MerError(f"--config-dir: there is no folder {folder}")
    return [f"hydra.searchpath=[{quoted(f'file://{folder}')}]"]
