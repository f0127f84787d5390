"""From Hydra overrides to distributions and back."""

import re
from typing import Any

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from mer.config import composition, yaml_parser
from mer.config.catalogue import entries
from mer.errors import MerError
from mer.search.space import Space, default, name, parse, setting, words


def composed(*words: str) -> DictConfig:
    """A configuration with Hydra's own node."""
    yaml_parser.use()
    with hydra.initialize_config_dir(str(composition.conf_dir()), version_base="1.3"):
        return hydra.compose("train", list(words), return_hydra_config=True)


def default_of(space: Space, cfg: DictConfig, groups: dict[str, Any]) -> dict[str, Any]:
    return default(space, setting(space, cfg, groups))


@pytest.mark.parametrize(
    ("typed", "distribution"),
    [
        ("interval(0.0, 0.5)", FloatDistribution(0.0, 0.5)),
        ("int(interval(1, 8))", IntDistribution(1, 8)),
        ("tag(log, interval(1e-4, 1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("tag(log, int(interval(1, 64)))", IntDistribution(1, 64, log=True)),
        ("range(1, 9)", IntDistribution(1, 8)),  # Hydra's stop is exclusive
        ("range(10, 31, 5)", IntDistribution(10, 30, step=5)),
        ("range(0, 0.5, 0.25)", FloatDistribution(0.0, 0.25, step=0.25)),
        ("choice(16, 32)", CategoricalDistribution([16, 32])),
        ("1e-3,3e-3,null", CategoricalDistribution([0.001, 0.003, None])),
        ("true,false,1", CategoricalDistribution(["true", "false", "1"])),  # Python's 1 is True
        ("null,balanced,'16'", CategoricalDistribution([None, "balanced", "'16'"])),
        ("choice('a b', 'c,d')", CategoricalDistribution(["a\\ b", "c\\,d"])),
        ("choice([1,2], [3])", CategoricalDistribution(["[1,2]", "[3]"])),
    ],
)
def test_each_kind_of_sweep_becomes_its_distribution(
    typed: str, distribution: BaseDistribution
) -> None:
    assert parse([f"key={typed}"]).params == {"key": distribution}


def test_values_without_a_sweep_are_fixed_and_the_last_word_on_a_key_counts() -> None:
    space = parse(["a=choice(1, 2)", "b=3", "~c", "+d=x", "a=5", "b=interval(0, 1)"])
    assert space.fixed == ["~c", "+d=x", "a=5"]
    assert list(space.params) == ["b"]


def test_glob_gives_the_files_of_a_group() -> None:
    from mer.config.composition import conf_dir

    class Loader:
        def get_group_options(self, name: str, results_filter: object = None) -> list[str]:
            return sorted(path.stem for path in (conf_dir() / name).glob("*.yaml"))

    found = parse(["backbone=glob(mobilevit*)"], Loader()).params["backbone"]
    assert found == CategoricalDistribution(
        ["mobilevit_s", "mobilevit_xs", "mobilevit_xxs", "mobilevitv2_050"]
    )


def test_all_words_that_cannot_be_searched_are_named_at_once() -> None:
    with pytest.raises(MerError) as caught:
        parse(["a=choice(", "b=range(3, 1)", "c=1", "d=interval(3, 1)"])
    assert "a=choice(" in str(caught.value) and "b=range(3, 1)" in str(caught.value)
    assert "d=interval(3, 1): an interval goes up; type interval(1.0, 3.0)" in str(caught.value)
    assert "c=1" not in str(caught.value)


@pytest.mark.parametrize("key", ["protocol.folds", "trial.number"])
def test_keys_of_the_trial_as_a_whole_cannot_be_searched(key: str) -> None:
    with pytest.raises(MerError, match=key):
        parse([f"{key}=1,2"])


def test_choices_come_back_as_hydra_reads_them_and_own_text_is_quoted() -> None:
    space = parse(["a='a b','c,d','it\\'s','x=1',[1,2],null,{y:1},''"])
    parser = OverridesParser.create()
    found = space.params["a"]
    assert isinstance(found, CategoricalDistribution)
    values = [parser.parse_override(words({"a": one}, space)[0]).value() for one in found.choices]
    plain = [getattr(value, "text", value) for value in values]
    assert plain == ["a b", "c,d", "it's", "x=1", [1, 2], None, {"y": 1}, ""]
    own = {"b": "it's, so \\", "c": True, "d": None, "e": 0.5, "f": 3}
    back = {o.key_or_group: o.value() for o in parser.parse_overrides(words(own, space))}
    assert back["b"] == "it's, so \\"
    assert (back["c"], back["d"], back["e"], back["f"]) == (True, None, 0.5, 3)


def test_the_default_setting_is_found_where_the_space_has_it() -> None:
    cfg = OmegaConf.create({"a": {"lr": 1e-3, "size": 64, "k": True, "w": [1, 2]}, "b": None})
    typed = [
        *("a.lr=interval(1e-4,1e-2)", "a.size=32,64", "a.k=false,true", "a.w=[1],[1,2]"),
        *("b=null,x", "net=choice('my net', tiny)"),
    ]
    found = default_of(parse(typed), cfg, {"net": "my net"})
    expected = {"a.lr": 1e-3, "a.size": 64, "a.k": True, "a.w": "[1,2]", "b": None}
    assert found == {**expected, "net": "my\\ net"} and type(found["a.size"]) is int
    typed = ["a.lr=interval(1e-5,1e-4)", "a.size=range(30,70,4)", "a.k=1,2", "+c=1,2", "b=0,1"]
    assert default_of(parse(typed), cfg, {}) == {}
    assert default_of(parse(["a.size=range(32,70,16)"]), cfg, {}) == {"a.size": 64}


@pytest.mark.parametrize("name", [e.name for e in entries("searches")])
def test_the_space_of_every_search_has_the_default_setting(name: str) -> None:
    cfg = OmegaConf.create(composed(f"search={name}"))
    space = parse([f"{key}={value}" for key, value in cfg.hydra.sweeper.params.items()])
    assert set(default_of(space, cfg, cfg.hydra.runtime.choices)) == set(space.params)


def test_a_grid_has_every_combination_and_needs_an_end() -> None:
    space = parse(["a=choice(x, y)", "b=range(1, 4)", "c=range(0, 0.5, 0.25)"])
    points = space.grid()
    assert len(points) == 2 * 3 * 2
    assert len({tuple(point.values()) for point in points}) == 12
    assert {"a": "y", "b": 3, "c": 0.25} in points
    with pytest.raises(MerError, match=r"(?s)finite.*c"):
        parse(["a=choice(x, y)", "c=interval(0, 1)"]).grid()


def test_searches_of_other_ranges_have_other_names() -> None:
    file = parse(["model.dropout=interval(0,0.5)", "model.optimizer.lr=interval(0,1)"])
    other = parse(["model.dropout=interval(0,0.5)", "model.optimizer.lr=interval(0,2)"])
    assert re.fullmatch(r"tpe-lr-[0-9a-f]{6}", name(other, file, "tpe"))
    fewer = parse(["model.dropout=interval(0,0.5)"])
    assert re.fullmatch(r"tpe-[0-9a-f]{6}", name(fewer, file, "tpe"))
    own = [parse([f"+a.b@c=1,{end}", "backbone=x,y"]) for end in (2, 3)]
    names = [name(one, parse([]), "optuna") for one in own]
    assert all(re.fullmatch(r"a-b-c-backbone-[0-9a-f]{6}", one) for one in names)
    assert len(set(names)) == 2
