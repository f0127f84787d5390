"""From Hydra overrides to an Optuna search space, and from a trial's values back to overrides."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from mer.config import sweeps, trust
from mer.config.short_names import short_names
from mer.errors import MerError, one_line, raise_all


@dataclass(frozen=True)
class Space:
    """What a search varies, and what all its trials share.

    Args:
        params: Override key -> distribution.
        fixed: Overrides of every trial, as typed.
    """

    params: dict[str, BaseDistribution]
    fixed: list[str]

    def as_json(self) -> dict[str, str]:
        """Describe the parameters as text, to compare them with a stored study's."""
        return {key: distribution_to_json(dist) for key, dist in sorted(self.params.items())}

    def size(self) -> int | None:
        """How many combinations of the parameters there are; None for no end."""
        lists = [_values(distribution) for distribution in self.params.values()]
        return None if None in lists else math.prod(len(one) for one in lists if one is not None)

    def grid(self) -> list[dict[str, Any]]:
        """Every combination of the parameters.

        Raises:
            MerError: If a parameter has no finite list of values; all such are named.
        """
        lists = {key: _values(dist) for key, dist in self.params.items()}
        endless = [key for key, values in lists.items() if values is None]
        raise_all(
            "A grid needs a finite list of values; write choice(...) or range(...) for:", endless
        )
        return [
            dict(zip(lists, point, strict=True)) for point in product(*filter(None, lists.values()))
        ]


def parse(words: Sequence[str], config_loader: Any = None) -> Space:
    """Sort overrides into searched and fixed ones; of a key given twice the last counts.

    `interval(1, 8)` gives a float, `int(interval(1, 8))` an integer, `range` one with a step; the
    tag `log` searches the exponent. Of everything else that sweeps (`choice`, `a,b`, `glob`)
    numbers, truth values and null keep their type; other values are text as Hydra would write it,
    so quotes and lists survive.

    Args:
        words: Overrides in Hydra's syntax.
        config_loader: Hydra's, for `glob` over the choices of a group.

    Raises:
        MerError: If an override cannot be understood; all are listed.
    """
    parser = OverridesParser.create(config_loader=config_loader)
    params: dict[str, BaseDistribution] = {}
    fixed: dict[str, str] = {}
    problems = []
    for word in words:
        try:
            override = parser.parse_override(word)
            override.config_loader = config_loader
            key = override.get_key_element()
            params.pop(key, None)
            fixed.pop(key, None)
            if override.is_sweep_override():
                params[key] = _distribution(override)
            else:
                fixed[key] = word
        except (HydraException, ValueError) as error:
            problems.append(f"{word}: {str(error).splitlines()[0]}")
    raise_all("These overrides cannot be searched:", problems)
    shared = [key for key in params if key.startswith(("protocol.folds", "hydra.", "trial."))]
    raise_all("A search cannot vary these keys, which belong to every trial as a whole:", shared)
    return Space(params, list(fixed.values()))


def without(params: Sequence[str], keys: Sequence[str]) -> list[str]:
    """The parameters of a search's file but for those that are not to be searched.

    Raises:
        MerError: If the file has no such parameter.
    """
    known = [one.partition("=")[0] for one in params]
    raise_all(
        f"search.without (or ~hydra.sweeper.params.KEY) takes parameters of the search out, which "
        f"are {', '.join(known) or 'none here'}:",
        [f"{key} is none of them" for key in keys if key not in known],
    )
    return [one for one, key in zip(params, known, strict=True) if key not in keys]


def function(name: str | None) -> Any:
    """The function `hydra.sweeper.custom_search_space`, or None.

    Raises:
        MerError: If there is no such function.
    """
    try:
        return None if name is None else trust.resolve(name, "hydra.sweeper.custom_search_space")
    except Exception as error:
        allowed = f"package.module.function(cfg, trial) ({one_line(error)})"
        raise option("custom_search_space", name, allowed) from error


def name(space: Space, shipped: Space, before: str) -> str:
    """A name for a search of other ranges than those of its file.

    Args:
        space: What is searched.
        shipped: What the file searches.
        before: Name in the file; that of the bare `search=optuna` says nothing and is left out.
    """
    own = [key for key, values in space.params.items() if shipped.params.get(key) != values]
    names = [re.sub(r"[^A-Za-z0-9_]+", "-", one).strip("-") for one in short_names(own).values()]
    digest = hashlib.sha256(json.dumps(space.as_json()).encode()).hexdigest()[:6]
    return "-".join([*([before] if shipped.params else []), *names[:3], digest])


def words(params: dict[str, Any], space: Space) -> list[str]:
    """Write a trial's values as overrides.

    Text from a `choice` is Hydra's own already; text that a custom search space suggested is
    quoted.
    """
    return [f"{key}={_text(value, key in space.params)}" for key, value in params.items()]


def setting(space: Space, cfg: DictConfig, groups: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the default setting, whether they lie in the space or not.

    Args:
        space: Searched parameters.
        cfg: Configuration without what is searched, interpolations resolved.
        groups: Group of the configuration -> its choice there.
    """
    found = {}
    for key in space.params:
        if key.startswith("+"):
            continue
        name = key.partition("@")[0]
        value = groups[name] if name in groups else OmegaConf.select(cfg, name)
        found[key] = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return found


def default(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `setting` as a trial has them, where they lie in the space."""
    inside = {key: _candidates(space.params[key], value) for key, value in values.items()}
    return {key: candidates[0] for key, candidates in inside.items() if candidates}


def _candidates(distribution: BaseDistribution, value: Any) -> list[Any]:
    """The values of a distribution that may be a given one: all choices, or the number itself."""
    if isinstance(distribution, CategoricalDistribution):
        return [one for one in distribution.choices if _is_same(_read(one), value)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    if (values := _values(distribution)) is not None:
        return [one for one in values if math.isclose(one, value, rel_tol=1e-9)]
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    kind = int if isinstance(distribution, IntDistribution) else float
    return [kind(value)] if low <= value <= high and kind(value) == value else []


def _is_same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _read(choice: Any) -> Any:
    """The value of a choice; text of a choice is Hydra's."""
    if not isinstance(choice, str):
        return choice
    return OverridesParser.create().parse_override(f"key={choice}").value()


def _text(value: Any, written: bool) -> str:
    if isinstance(value, str) and not written:
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def _distribution(override: Override) -> BaseDistribution:
    value: Any = override.value()
    log = "log" in getattr(value, "tags", ())
    if override.is_interval_sweep():
        low, high = sweeps.ends(value)
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(float(low), float(high), log=log)
    if isinstance(value, RangeSweep) and not value.shuffle and not log:
        steps: list[Any] = list(override.sweep_iterator())
        if not steps:
            raise ValueError("the range is empty")
        low, high, step = min(steps), max(steps), abs(cast("Any", value.step))
        if all(isinstance(number, int) for number in (low, high, step)):
            return IntDistribution(low, high, step=step)
        return FloatDistribution(float(low), float(high), step=float(step))
    every: list[Any] = list(override.sweep_iterator(_typed))
    choices, texts = list(dict.fromkeys(every)), list(dict.fromkeys(_text(v, True) for v in every))
    if not choices:
        raise ValueError("there is nothing to choose from")
    # Python takes 1 for True and 1.0, so Optuna could not tell such choices apart.
    return CategoricalDistribution(choices if len(choices) == len(texts) else texts)


def _typed(value: Any) -> Any:
    """A value of a choice as Optuna keeps it: with its type, or as Hydra's text."""
    plain = value is None or isinstance(value, bool | int | float)
    known = plain and not (isinstance(value, float) and math.isnan(value))
    return value if known else Override._get_value_element_as_str(value)


def _values(distribution: BaseDistribution) -> list[Any] | None:
    """The values of a distribution in order, or None when there is no end to them."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    step = distribution.step  # type: ignore[attr-defined]
    if isinstance(distribution, IntDistribution) and not distribution.log:
        return list(range(low, high + 1, step))
    if step is None or distribution.log:  # type: ignore[attr-defined]
        return None
    return [low + place * step for place in range(round((high - low) / step) + 1)]


def interval(key: str, distribution: BaseDistribution) -> str:
    """The override that searches between the ends of a distribution of numbers."""
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    typed = f"interval({low}, {high})"
    typed = f"tag(log, {typed})" if distribution.log else typed  # type: ignore[attr-defined]
    return f"{key}=int({typed})" if isinstance(distribution, IntDistribution) else f"{key}={typed}"


def described(distribution: BaseDistribution) -> str:
    """The values that a parameter may take, in words."""
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(_text(one, True) for one in distribution.choices)
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    step = distribution.step  # type: ignore[attr-defined]
    steps = "" if step is None else f"in steps of {step}"
    whole = isinstance(distribution, IntDistribution) and step == 1
    parts = [
        f"{low} to {high}",
        "whole numbers" if whole else steps,
        "on a log scale" if distribution.log else "",  # type: ignore[attr-defined]
    ]
    return ", ".join(filter(None, parts))


def option(name: str, value: Any, allowed: str) -> MerError:
    """The error of a sweeper option that cannot be used."""
    return MerError(f"hydra.sweeper.{name} is {value}; set {allowed}.")
