"""Words that Hydra cannot read are answered with the form to type, and that form works."""

import re
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from mer.cli import main
from mer.config.composition import check_words, compose
from mer.config.quoting import quoted, readable, sentence
from mer.errors import MerError


def typed_by_bash(text: str) -> str:
    """What a sentence says to type, as bash hands it over."""
    (form,) = re.findall(r"type (?!before)(.+?)(?:, or leave it out|$)", text)
    command = ["bash", "-c", f"printf %s {form}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def parsed(word: str) -> str:
    override = OverridesParser.create().parse_override(word)
    return str(override.value())


DIRECTORIES = [
    "d/cas(me)3",
    "runs/héé",
    "runs/a=b",
    "runs/{x}",
    "runs/中文",
    "it's",
    'a"b',
    "back\\slash(\\",
    "a;b & c",
    "`x` !$HOME",
    "x#y",
    "~/runs",
    "(1",
]


@pytest.mark.parametrize("value", DIRECTORIES)
def test_the_form_to_type_gives_the_value_that_was_meant(value: str) -> None:
    key, _, typed = typed_by_bash(sentence(f"run.dir={value}", "")).partition("=")
    assert (key, parsed(f"a={typed}")) == ("run.dir", value)


def test_the_command_line_says_it_and_takes_it() -> None:
    words = ["data.root=d/cas(me)3", "run.dir=runs/héé", "paths.cache=a=b"]
    with pytest.raises(MerError) as refused:
        check_words(words)
    typed = [typed_by_bash(line) for line in str(refused.value).splitlines()[1:]]
    config = compose(typed)
    assert (config.data.root, config.run.dir) == ("d/cas(me)3", "runs/héé")
    assert config.paths.cache == "a=b"


def test_a_data_path_may_stand_in_a_variable_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MerError, match=r"type before: export MER_DATA='d/cas\(me\)3'"):
        check_words(["data.root=d/cas(me)3"])
    monkeypatch.setenv("MER_DATA", "d/cas(me)3")
    assert compose(["data=megc2019"]).data.root == "d/cas(me)3"


@pytest.mark.parametrize("word", ["runs/{x}", "runs/a=b", "runs/héé"])
def test_a_directory_without_its_key_gets_one(word: str) -> None:
    with pytest.raises(MerError) as refused:
        check_words([word])
    assert compose([typed_by_bash(str(refused.value))]).run.dir == word


@pytest.mark.parametrize(
    ("word", "form"),
    [
        ("lr=[1", "lr=[1]"),
        ("model.class_weights=[1,[2", "model.class_weights=[1,[2]]"),
        ("a={b: [1", "a={b: [1]}"),
        ("a=[é", 'a="[é"'),
        ("+note=héé", '+note="héé"'),
        ("é=3", None),
    ],
)
def test_open_brackets_are_closed_and_text_is_quoted(word: str, form: str | None) -> None:
    assert readable(word) == form


@pytest.mark.parametrize("value", ["interval(a,b)", "tag(log, interval(1e-4,))", "range(x)"])
def test_a_range_without_numbers_is_answered_with_ranges(value: str) -> None:
    assert "it takes numbers, as in interval(0, 0.5)" in sentence(f"model.dropout={value}", "")


def test_what_else_is_wrong_with_a_word_is_said_too(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "lr=[1", "seed=é", "modell=x"]) == 2
    lines = capfd.readouterr().err.splitlines()[1:]
    assert sorted(line.strip(" -").partition(": ")[0] for line in lines) == [
        "lr=[1",
        "lr=[1]",
        "modell=x",
        "seed is é; set a whole number",
        "seed=é",
    ]
    assert "type 'lr=[1]'" in "\n".join(lines) and "closest: model.optimizer.lr" in "\n".join(lines)


@pytest.mark.parametrize("value", [*DIRECTORIES, "", "\\", '\\"', '""', "a,b", "null", "1"])
def test_a_quoted_value_is_read_back_as_text(value: str) -> None:
    assert parsed(f"a={quoted(value)}") == value


def test_a_folder_of_ones_own_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "it's (mine)"
    (folder / "backbone").mkdir(parents=True)
    (folder / "backbone" / "mine.yaml").write_text("name: resnet18\n")
    assert compose(["backbone=mine"], config_dir=folder).backbone.name == "resnet18"
