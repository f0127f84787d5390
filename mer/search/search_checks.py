"""What speaks against a search, found before its first trial."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import CategoricalDistribution

from mer import metrics
from mer.config import sweeps
from mer.config.composition import typed
from mer.config.settings import Settings
from mer.data import sources
from mer.data.few_samples import shortened
from mer.errors import MerError, raise_all
from mer.loggers import make_observers
from mer.search.queue import GRID
from mer.search.space import Space, interval, option
from mer.search.study import build

log = logging.getLogger(__name__)


def check_options(options: Mapping[str, Any], cfg: DictConfig, space: Space) -> None:
    """Find settings of the search itself that cannot work.

    Args:
        options: Options of the sweeper.
        cfg: Configuration that all trials share.
        space: Searched parameters.
    """
    for name in ("n_trials", "n_jobs", "max_failures", "max_attempts"):
        value = options[name]
        if (name != "n_trials" or value is not None) and not (
            isinstance(value, int) and value >= 1
        ):
            raise option(name, value, "1 or more" + (", or null" if name == "n_trials" else ""))
    several = not isinstance(cfg.objective, str)
    names = list(cfg.objective) if several else [cfg.objective]
    directions = options["direction"]
    listed = [directions] if isinstance(directions, str) else directions
    if not listed or set(listed) - {"maximize", "minimize"}:
        raise option("direction", directions, "maximize, minimize or a list of them")
    if several == isinstance(directions, str) or (several and len(directions) != len(names)):
        raise MerError(
            f"objective={names} and hydra.sweeper.direction={directions} do not belong "
            "together; set one direction for each objective."
        )
    if set(names) & set(metrics.SCORES) and not cfg.protocol.validation:
        raise MerError(
            f"objective={','.join(names)} is a score of validation persons, and there are none;"
            " set protocol.validation to a share of the training persons, such as 0.2."
        )
    if cfg.protocol.folds is not None:
        raise MerError("protocol.folds belongs to one run; a search trains all folds.")
    if is_grid(options, space):
        space.grid()
    else:
        build(options["sampler"], "sampler", "optuna.samplers.TPESampler", seed=0)
    build(options["pruner"], "pruner", "optuna.pruners.NopPruner")


def check_ranges(cfg: DictConfig, space: Space) -> None:
    """Find ranges whose ends no run can have; those of a file are not known before."""
    ranges = {
        key: values
        for key, values in space.params.items()
        if not isinstance(values, CategoricalDistribution)
    }
    sweeps.check([interval(key, values) for key, values in ranges.items()], cfg, [])


def is_grid(options: Mapping[str, Any], space: Space) -> bool:
    """Whether a search goes through every combination of finite lists of values.

    So does any search that has as many trials as there are combinations, or more.
    """
    sampler, total = options["sampler"], options["n_trials"]
    if (sampler.get("_target_") if isinstance(sampler, Mapping) else sampler) == GRID:
        return True
    size = space.size()
    return None not in (size, total) and size <= total and not options["custom_search_space"]


def check_seeds(cfg: DictConfig, space: Space, nested: bool) -> int:
    """Give the number of runs of a trial, `search.seeds`."""
    seeds = OmegaConf.select(cfg, "search.seeds", default=1)
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise MerError(f"search.seeds is {seeds}; set 1 or more.")
    if seeds > 1 and (nested or "seed" in space.params):
        raise MerError(
            f"search.seeds={seeds} averages over seeds; it goes neither with a search over the "
            "seed nor with search.nested, whose folds have one network each. Set search.seeds=1."
        )
    return seeds


def check_trials(cfg: DictConfig, choices: Mapping[str, DictConfig], mendable: bool) -> str:
    """Find what would end trials: contradictions, missing data, networks that cannot be built.

    Args:
        cfg: Configuration of the default setting.
        choices: Word such as `backbone=resnet18` -> the default setting with this choice.
        mendable: Whether other parameters may mend a choice that the default setting forbids; then
            it is only warned of.

    Returns:
        Samples and persons of the default setting, and a digest of who has which label.

    Raises:
        MerError: With what `mer train` would say.
    """
    from mer.training import runner  # which takes seconds: what needs no network is refused before

    settings = shortened(typed(cfg))
    runner.check(settings, make_observers(cfg.logger))
    found = runner.read(settings)
    problems = []
    for word, config in choices.items():
        try:
            chosen = shortened(typed(config))
            runner.check(chosen, make_observers(config.logger))
            if _what_is_read(chosen) != _what_is_read(settings):
                runner.read(chosen)
        except MerError as error:
            problems.append(f"{word}: {error}")
    if mendable:
        for problem in problems:
            log.warning("with the other defaults this cannot be tried: %s", problem)
    else:
        raise_all("These choices cannot be tried:", problems)
    return _described(sources.labelled(settings, found["micro"]))


def _what_is_read(settings: Settings) -> Sequence[Any]:
    """The settings that decide about samples, their labels and folds."""
    macro = settings.macro
    samples = (settings.data, settings.labels, settings.debug, settings.protocol, settings.seed)
    return (*samples, macro.labels if macro.reads_datasets else None)


def _described(table: pd.DataFrame) -> str:
    columns = [table[name].astype(str) for name in ("sample_id", "person", "label")]
    rows = sorted(zip(*columns, strict=True))
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()[:6]
    return f"{len(table)} of {table['person'].nunique()} persons (digest {digest})"
