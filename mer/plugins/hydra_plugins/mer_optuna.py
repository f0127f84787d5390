"""Hydra's side of the Optuna sweeper: its options and its registration.

Hydra imports this module at the start of every application, so everything else, Optuna included, is
imported when a search starts. The work is done in `mer.search`.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class OptunaSweeperConf:
    """Options of `hydra/sweeper=mer_optuna`; names as in the published plugin where they agree.

    Attributes:
        direction: maximize | minimize, or a list with one for each objective.
        n_trials: Finished and pruned trials of the study in total, whichever process ran them; a
            default setting outside the space comes beside them. Null goes on until it is stopped,
            or through the whole grid. A space of no more points is gone through once.
        n_jobs: Trials that are handed to the launcher together. The next ones start when all of
            them are done, so several workers (the same command, started again) are better.
        study_name: Name in the storage; null for `search`.
        storage: Null for `study.db` (SQLite) in the directory of the search; `journal:FILE` (for
            network file systems); or an SQLAlchemy address such as `postgresql://user@host/name`.
        sampler: An Optuna sampler: its name, or `_target_` and options; null for TPE.
            `optuna.samplers.GridSampler` goes through every combination of `params` once, in a
            random order.
        pruner: An Optuna pruner, likewise; null never ends a trial early.
        seed: Seed of the sampler; null for the seed of the run.
        max_failures: Failures in a row that end the search.
        max_attempts: Starts of a trial whose process was killed, before it counts as failed.
        custom_search_space: Dotted name of a function (cfg, trial) that suggests more parameters,
            such as conditional ones.
        params: Override key -> search space in Hydra's syntax: `interval(1e-4, 1e-2)`,
            `tag(log, interval(1e-4, 1e-2))`, `int(interval(1, 8))`, `range(1, 9)`, `choice(a, b)`.
            A value without a sweep is fixed.
    """

    _target_: str = "hydra_plugins.mer_optuna.OptunaSweeper"
    _recursive_: bool = False
    direction: Any = "maximize"
    n_trials: Any = 20
    n_jobs: int = 1
    study_name: str | None = None
    storage: str | None = None
    sampler: Any = None
    pruner: Any = None
    seed: int | None = None
    max_failures: int = 3
    max_attempts: int = 3
    custom_search_space: str | None = None
    params: dict[str, Any] = field(default_factory=dict)


class OptunaSweeper(Sweeper):
    """Searches with Optuna. Holds no study, so that launchers can pickle it."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra gives, and make the launcher."""
        from hydra.core.plugins import Plugins

        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Search, with the words of the command line."""
        from mer.search.sweep import Search

        Search(self, arguments).run()


ConfigStore.instance().store(
    group="hydra/sweeper", name="mer_optuna", node=OptunaSweeperConf, provider="mer"
)
