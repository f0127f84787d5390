"""Options that several commands have."""

import argparse
import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from mer.errors import MerError, raise_all
from mer.files import output_faults


class Parser(argparse.ArgumentParser):
    """A parser that says in one sentence which words are wrong, and what to type."""

    def error(self, message: str) -> NoReturn:
        """Refuse the words.

        Raises:
            MerError: With the sentence.
        """
        what, _, words = message.partition(": ")
        said = f"{self.prog}: {message}"
        if what == "the following arguments are required":
            said = f"type {self.prog} {words.split(', ')[0]}"  # others may be absent
        elif what == "unrecognized arguments":
            close = get_close_matches(words.split()[0], self._option_string_actions, n=1)
            said += f" (closest: {close[0]})" if close else ""
        raise MerError(f"{said}; `{self.prog} --help` explains it")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add `--trust PACKAGE`, which gives a list of names, empty by default."""
    parser.add_argument(
        "--trust",
        type=lambda text: text.replace(",", " ").split(),
        action="extend",
        default=[],
        metavar="PACKAGE",
        help="let the run's files name classes of this package (also PACKAGE,PACKAGE; MER_TRUST)",
    )


def require_writable(
    files: dict[str, Path | str | None], folders: dict[str, Path | str | None]
) -> None:
    """Refuse outputs that could not be written, before anything is computed.

    Args:
        files: Option -> file; `-` stands for the terminal, None for no file.
        folders: Option -> folder.

    Raises:
        MerError: With all of them.
    """
    kinds = ((files, False), (folders, True))
    raise_all(
        "this cannot be written:",
        [
            fault
            for outputs, is_folder in kinds
            for option, path in outputs.items()
            if path is not None and str(path) != "-"
            for fault in output_faults(f"{option}{path}", Path(path), is_folder)
        ],
    )


def is_setting(word: str) -> bool:
    """Whether a word is KEY=VALUE, and no path with `=` in it, such as the run `a/lr=1` of a sweep.

    >>> is_setting("data.root=/d"), is_setting("runs/a/lr=1")
    (True, False)
    """
    key, equals, _ = word.partition("=")
    # Path.exists would raise for a word longer than a file name.
    return bool(equals) and "/" not in key and not os.access(word, os.F_OK)


def cache_to_make(path: str) -> dict[str, Path | str | None]:
    """The cache for `require_writable`, unless it is there: one that is shared may be read-only."""
    return {} if Path(path).is_dir() else {"paths.cache=": path}


def split_places(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part words into those that say where data and cache are now, and all others.

    Raises:
        MerError: With all words of the form KEY=VALUE that say something else.
    """
    settings = [word for word in words if is_setting(word)]
    raise_all(
        "this cannot be set here, only where data and cache are now:",
        [
            f"{word}: type data.root=FOLDER, data.micro.NAME.root=FOLDER or paths.cache=FOLDER"
            for word in settings
            if not re.fullmatch(r"(data\.((micro|macro)\.[^.=]+\.)?root|paths\.cache)=.+", word)
        ],
    )
    return [word for word in words if word not in settings], settings


def add_config_dir(parser: argparse.ArgumentParser) -> None:
    """Add `--config-dir FOLDER`, None by default."""
    parser.add_argument(
        "--config-dir",
        "-cd",
        type=Path,
        metavar="FOLDER",
        help="folder with configuration files of your own, in groups as in conf/",
    )
