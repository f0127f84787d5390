"""The commands that a search ends with: what a shell, and then Hydra, make of them."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from mer.search import commands, trials
from mer.search.commands import Typed
from tests.search.search_inputs import Made, one_of_each


def parsed(line: str) -> dict[str, Any]:
    """What a shell, and then Hydra, make of a command."""
    program, verb, *words = shlex.split(line)
    assert (program, verb) == ("mer", "train")
    overrides = OverridesParser.create().parse_overrides(words)
    return {item.get_key_element(): item.value() for item in overrides}


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("'a b, c'", "a b, c"),
        ("a b", "a b"),
        ('"it\'s"', "it's"),
        ("'say \\'hi\\' $HOME `x`'", "say 'hi' $HOME `x`"),
        ("[32,'a b',null]", [32, "a b", None]),
        ("{a:1,b:[x]}", {"a": 1, "b": ["x"]}),
        ("null", None),
        ("'null'", "null"),
        ("true", True),
        ("16", 16),
        (16, 16),
        (1e-05, 1e-05),
        (0.1234567890123456, 0.1234567890123456),
    ],
)
def test_a_value_survives_the_shell_and_hydra(typed: Any, value: Any) -> None:
    found = parsed(commands.command(Typed(["data=synthetic"]), {"model.x": typed}))
    assert found == {"data": "synthetic", "model.x": value}
    assert type(found["model.x"]) is type(value) or isinstance(value, str)


def test_words_that_only_a_search_understands_are_left_out() -> None:
    fixed = [
        "search=mobilevit_tpe",
        "search.n_trials=3",
        "hydra/sweeper=mer_optuna",
        "hydra/sweeper/sampler=tpe",
        "hydra.sweeper.n_jobs=2",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "hydra.sweep.dir=x",
        "+trial.number=3",
        "-m",
        "searching=yes",
        "~data.micro.samm",
        "+data.name='my, data'",
    ]
    words = shlex.split(commands.command(Typed(fixed), {}))
    assert words == ["mer", "train", "searching=yes", "~data.micro.samm", "+data.name='my, data'"]


def test_of_a_key_given_twice_the_trial_counts_then_the_user() -> None:
    line = commands.command(
        Typed(
            ["model.epochs=3", "seed=1"], ["model.epochs=9", "+seed=5", "protocol.validation=0.2"]
        ),
        {"seed": 2},
    )
    assert line == "mer train protocol.validation=0.2 model.epochs=3 seed=2"


def test_text_of_a_custom_search_space_is_quoted_for_hydra(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.study.add_trial(
        create_trial(
            value=0.5,
            params={"model.own": "a, b", "model.loss": "[1,2]", "model.none": None},
            distributions={
                "model.own": CategoricalDistribution(["a, b"]),
                "model.loss": CategoricalDistribution(["[1,2]"]),
                "model.none": CategoricalDistribution([None]),
            },
        )
    )
    found = parsed(commands.repeat(made.study, made.study.trials[0], Typed([]), tmp_path))
    assert found.pop("run.dir") == str(tmp_path)
    assert found == {"model.own": "a, b", "model.loss": [1, 2], "model.none": None}


def test_files_are_named_from_the_root_and_weights_of_the_package_by_their_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = OmegaConf.create({"data": {"root": "here"}, "backbone": {"weights": "mer:motion-xxs"}})
    assert commands._places(cfg) == [f"data.root={tmp_path}/here"]
    cfg.backbone.weights = "own.pt"
    assert commands._places(cfg)[1:] == [f"backbone.weights={tmp_path}/own.pt"]


def test_every_command_of_a_search_works_in_any_folder(tmp_path: Path) -> None:
    made = one_of_each(tmp_path)
    typed = Typed(
        ["experiment=demo", "run.dir=runs/demo", "data.root=here", "seed=3"],
        ["protocol.validation=0.2"],
        places=["data.root=/data", 'paths.cache="/a b"', "backbone.weights=/own.pt"],
        options=["--config-dir", "/my conf"],
        withheld=True,
    )
    best = trials.best(made.study)[0]
    again, final, model = (
        step.line for step in commands.of_search(made.study, best, typed, Path("s"))
    )
    home = Path("s").absolute()
    start = "mer train --config-dir '/my conf' "
    assert again.startswith(
        f"{start}protocol.validation=0.2 experiment=demo seed=3 data.root=/data "
    )
    assert again.endswith(f" run.dir={home}/best-2") and final.endswith(f" run.dir={home}/final-2")
    assert "protocol.validation=0.2" not in final and " protocol.validation=0 " in final
    assert model.startswith(f"mer train protocol=all protocol.like={home}/final-2 data.root=/data ")
    assert model.endswith(f"&& mer export {home}/final-2-all")
    assert "backbone.weights=/own.pt" in final and "backbone.weights" not in model
    several = Typed(["data=synthetic", "seed=7"], seeds=[7, 8])
    again, model = (step.line for step in commands.of_search(made.study, best, several, home))
    assert again.startswith("mer train -m data=synthetic ") and " seed=7,8 " in again
    assert again.endswith(f" hydra.sweep.dir={home}/best-2")
    assert f"protocol.like={home}/best-2/0 " in model
