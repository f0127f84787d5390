"""Every command in README and docs/ works: composed and checked here, carried out by the slow test.

A command of a kind that nobody has sorted fails `test_every_command_is_of_a_known_kind`.
"""

import argparse
import importlib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mer.cli import COMMANDS
from mer.config.composition import check_words, compose, typed
from mer.errors import MerError
from mer.training import checks
from tests.docs.pages import PAGES, ROOT, Typed, commands, titled

EVERY = {str(command): command for page in PAGES for command in commands(page)}
MER = [command for command in EVERY.values() if command.words[0] == "mer"]
OTHER = [command for command in EVERY.values() if command.words[0] != "mer"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that pages tell a reader to write."""
    top = tmp_path_factory.mktemp("reader")
    for page in PAGES:
        for name, text in titled(page).items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text)
    (top / "my_conf" / "backbone").mkdir(parents=True)
    (top / "my_conf" / "backbone" / "mine.yaml").write_text(
        "name: resnet10t\npretrained: false\nweights: null\nkwargs: {}\n"
    )
    return top


@pytest.fixture
def reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be where the reader is."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


def test_there_are_commands() -> None:
    assert len(MER) > 60
    assert {command.words[1] for command in MER if len(command.words) > 1} >= {
        "train", "compare", "audit", "predict", "prepare", "report", "export", "spot", "bench",
    }  # fmt: skip


class Parsed(Exception):
    """A command's words were understood; `args[0]` is what argparse made of them."""


def parsed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """Let a command read its words, and stop it there."""

    def stop(method: Callable[..., Any]) -> Callable[..., Any]:
        def parse(self: argparse.ArgumentParser, *args: Any, **options: Any) -> None:
            raise Parsed(method(self, *args, **options))

        return parse

    parser = argparse.ArgumentParser
    with monkeypatch.context() as patch:
        # The one calls the other.
        intermixed = stop(parser.parse_known_intermixed_args)
        patch.setattr(parser, "parse_intermixed_args", intermixed)
        patch.setattr(parser, "parse_args", stop(parser.parse_args))
        module, function = COMMANDS[words[0]].target.split(":")
        main = getattr(importlib.import_module(module), function)
        with pytest.raises(Parsed) as answer:
            try:
                main(words[1:])
            except (SystemExit, MerError):
                if any(not word.startswith("-") for word in words[1:]):
                    raise
                main([*words[1:], "runs/demo"])  # a text names the command, with options at most
    given = answer.value.args[0]
    return given[0] if isinstance(given, tuple) else given


@pytest.mark.parametrize("command", [pytest.param(one, id=str(one)[4:]) for one in MER])
def test_it_is_understood(command: Typed, reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = list(command.words[1:])
    if words[0] in ("--help", "--version", "--shell-completion") or words[1:] == ["--help"]:
        return
    assert words[0] in COMMANDS, f"{command.page}: {command}"
    if words[0] == "train":
        check_training(words[1:])
    elif words[0] == "synth":
        compose(words[1:], config_name="synth")
    else:
        given = parsed(words, monkeypatch)
        if words[0] == "prepare":
            checks.check(typed(compose(given.overrides, config_dir=given.config_dir)))


def check_training(words: list[str]) -> None:
    """Compose a run and find its contradictions, as `mer train` does before anything is read."""
    if {"--help", "--cfg"} & set(words):
        return
    words = [re.sub(r"split\((\d+)\)", r"1/\1", word) for word in words if word != "--test"]
    launched = [word for word in words if word.startswith("hydra/launcher=ray")]
    if launched:  # no part of the environment that the tests run in
        words = [word for word in words if not word.startswith("hydra")]
    config = check_words(words)
    assert config is not None
    settings = typed(config)
    checks.check(settings)


def make_target(words: tuple[str, ...]) -> None:
    assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def extras(words: tuple[str, ...]) -> None:
    """Look whether extras that `pip install` names are there."""
    assert words[1] == "install"
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words[2:]:
        for names in re.findall(r"\[([\w,]+)\]", word):
            assert set(names.split(",")) <= set(known)


def exported(words: tuple[str, ...]) -> None:
    names = [word.partition("=")[0] for word in words[1:]]
    assert set(names) <= {"MER_DATA", "MER_CACHE", "MER_TRUST", "MER_SYNTH", "PYTHONPATH"}


def script(words: tuple[str, ...]) -> None:
    """A script of the repository, or of a page."""
    assert words[1] == "-m" or any((ROOT / top / words[1]).exists() for top in (".", "docs"))


#: First word of a command that is not mer's -> what can be said of it without a network.
KINDS: dict[str, Callable[[tuple[str, ...]], None]] = {
    "make": make_target,
    "pip": extras,
    "export": exported,
    "python": script,
    "python3": script,
    "source": lambda words: None,
    "wandb": lambda words: None,
    "tensorboard": lambda words: None,
    "optuna-dashboard": lambda words: None,
    "eval": lambda words: None,
    "cd": lambda words: None,
}


@pytest.mark.parametrize("command", [pytest.param(one, id=str(one)) for one in OTHER])
def test_every_command_is_of_a_known_kind(command: Typed) -> None:
    assert command.words[0] in KINDS, (
        f"{command.page} shows `{command}`: sort it in KINDS of this file, so that it is tested"
    )
    KINDS[command.words[0]](command.words)
