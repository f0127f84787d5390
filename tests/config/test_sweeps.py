"""Sweeps of a command line: found out before the first run, whatever their syntax."""

from pathlib import Path

import pytest

from mer.config import sweeps
from mer.config.composition import check_words, conf_dir
from mer.errors import MerError


def test_the_first_value_of_every_kind_of_sweep(tmp_path: Path) -> None:
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone" / "mobilevit_a.yaml").write_text("name: mine\n")
    folders = [conf_dir(), tmp_path]
    for typed, first in [
        ("backbone=glob(mobilevit*)", "backbone=mobilevit_a"),
        ("seed=range(3,5)", "seed=3"),
        ("+a.b=choice(x,y)", "+a.b=x"),
        ("model.optimizer.lr=tag(log, interval(1e-4, 1e-2))", "model.optimizer.lr=0.0001"),
        ("callbacks=[a,b]", "callbacks=[a,b]"),
        ("a=choice(", "a=choice("),
    ]:
        assert sweeps.first_value(typed, folders) == first
    with pytest.raises(MerError, match=r"nothing\*\): nothing is meant by it; there is dual_inc"):
        sweeps.first_value("backbone=glob(nothing*)", folders)


def test_every_value_of_a_sweep_is_checked() -> None:
    with pytest.raises(MerError) as caught:
        check_words(["-m", "seed=1,2,a", "backbone=tiny,nowhere", "model.dropout=0.1,7"])
    said = str(caught.value).splitlines()[1:]
    assert said[0].endswith("seed=1,2,a: seed is a; set a whole number")
    assert "backbone=nowhere: there is only dual_inception, " in said[1]
    assert said[2].endswith("model.dropout is 7; set a number below 1") and len(said) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "model.dropout=interval(0,0.5)"], "an interval is searched.*add search=optuna"),
        (["model.dropout=interval(0,0.5)"], "type mer train -m search=optuna"),
        (["search=optuna", "model.dropout=interval(0,0.5)"], r"type mer train -m \.\.\."),
        (
            ["-m", "model.learning_rate=interval(0,1)"],
            r"- model.learning_rate=interval\(0,1\): there",
        ),
        (
            ["-m", "search=optuna", "seed=interval(3,1)"],
            r"seed=interval\(3,1\): .*interval\(1.0, 3.0\)",
        ),
        (["-m", "search=optuna", "seed=tag(log,interval(0,1))"], r"interval\(0,1\)\): .* above 0"),
        (
            ["-m", "search=optuna", "model.dropout=interval(-1,1.5)"],
            r"1.5\): model.dropout is -1.0; set 0 or more\n.* is 1.5; set a number below 1",
        ),
        (
            ["-m", "search=optuna", "model.batch_size=tag(log,interval(8,16))"],
            r"type 'model.batch_size=tag\(log, int\(interval\(8, 16\)\)\)'",
        ),
        (["-m", "backbone.name=resnet18,tinyy"], "18,tinyy: timm has no backbone.name=tinyy"),
        (["backbone=glob(mobilevit*)"], r"backbone=glob.*several values.*mer train -m \.\.\."),
    ],
)
def test_a_sweep_says_what_it_needs(words: list[str], said: str) -> None:
    with pytest.raises(MerError, match=said):
        check_words(words)
