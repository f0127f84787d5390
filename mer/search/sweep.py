"""A search: asks Optuna for trials, lets Hydra's launcher carry them out, and tells what came back.

Started again with the same words it goes on; started beside itself it shares the work. What is done
lies in the study and in the trials' run directories, never in this process.
"""

import contextlib
import logging
import math
import textwrap
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf, open_dict
from optuna.distributions import CategoricalDistribution
from optuna.trial import Trial, TrialState

from mer.config.stored import check_folder
from mer.errors import MerError
from mer.randomness import derived_seed
from mer.runs import rundir
from mer.search import commands, nested, search_checks, space, study_page, summary, trials
from mer.search.queue import Queue, worker
from mer.search.study import (
    build,
    claim,
    open_storage,
    open_study,
    require_alone,
    require_maker,
)

if TYPE_CHECKING:
    from hydra_plugins.mer_optuna import OptunaSweeper

log = logging.getLogger(__name__)

#: Name of the logger of Hydra's own launcher.
LAUNCHER = "hydra._internal.core_plugins.basic_launcher"

#: Longest message of a failed trial, characters.
LONGEST = 500


class Search:
    """One worker of a search.

    Args:
        sweeper: Hydra's sweeper with its launcher and options.
        arguments: Words of the command line that concern the configuration.
    """

    def __init__(self, sweeper: "OptunaSweeper", arguments: Sequence[str]) -> None:
        self.sweeper, self.config = sweeper, sweeper.config
        self.options: dict[str, Any] = OmegaConf.to_container(
            OmegaConf.create(sweeper.options), resolve=True
        )  # type: ignore[assignment]
        loader = sweeper.hydra_context.config_loader
        params = [f"{key}={value}" for key, value in self.options["params"].items()]
        shipped = space.parse(params, loader)
        kept = space.without(params, OmegaConf.select(self.config, "search.without") or ())
        self.space = space.parse([*kept, *arguments], loader)
        # A parameter that the user fixed by hand is not searched; one of the options' own may be
        # fixed there too, and then belongs to the settings of the search.
        self.fixed = space.parse(arguments, loader).fixed
        self._name(shipped)
        self.folder = Path(self.config.hydra.sweep.dir)
        if self.folder.is_dir():
            check_folder(self.folder)
        self.suggest = space.function(self.options["custom_search_space"])
        self.nested = bool(OmegaConf.select(self.config, "search.nested", default=False))

    def _name(self, shipped: space.Space) -> None:
        """Give a search of other ranges than its file's a name, and so a directory, of its own."""
        typed = [*self.fixed, *self.config.hydra.overrides.hydra]
        named = ("search.name=", "search.dir=", "hydra.sweep.dir=", "hydra.sweeper.study_name=")
        if shipped.params == self.space.params or any(one.startswith(named) for one in typed):
            return
        name = space.name(self.space, shipped, self.config.search.name)
        self.space.fixed.append(f"search.name={name}")
        OmegaConf.update(self.config, "search.name", name)
        self.options["study_name"] = name

    def run(self) -> None:
        """Carry out trials until the study has as many as it should; then say what was found.

        Raises:
            MerError: If the options contradict each other, the study is another search's, or too
                many trials in a row have failed.
        """
        self.shared = self._check()
        self.typed = commands.typed(
            self.config, self.trial_config, self.space, self.fixed, self.seeds
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.storage = open_storage(self.options["storage"], self.folder)
        if self.options["storage"] is None:
            require_alone(self.storage, self._study_name(None), self.nested, self.folder)
        with worker(self.folder) as number:
            if self.nested:
                nested.run(self, number)
                return
            study, queue = self.open(number)
            try:
                self.work(study, queue)
            finally:
                page_path = self._report(study)
        summary.show(study, self.folder, self.typed)
        if page_path is not None:
            log.info("page of the search: %s", page_path)

    def open(self, number: int, fold: str | None = None) -> tuple[optuna.Study, Queue]:
        """Open the study, of a nested search that of a fold, and the queue of its trials.

        Args:
            number: Number of this worker.
            fold: Name of the fold, or None.
        """
        options = self.options
        directions = options["direction"]
        directions = [directions] if isinstance(directions, str) else list(directions)
        study = open_study(self._study_name(fold), self.storage, directions, self.folder)
        claim(study, self._study_name(None), self.space, self.shared)
        OmegaConf.save(self.config, self.folder / "multirun.yaml")
        folder = self.folder if fold is None else self.folder / fold
        folder.mkdir(exist_ok=True)
        limits = (options["n_trials"], options["max_attempts"])
        queue = Queue(study, self.storage, folder, self.space, *limits, fold=fold)
        seed = self.config.seed if options["seed"] is None else options["seed"]
        drawn = derived_seed(seed, "sampler", number, len(study.trials))
        sampler = options["sampler"]
        queue.begin(self.default, self.has_default, self.setting)
        if search_checks.is_grid(options, self.space):
            queue.fill(seed)
            sampler = "optuna.samplers.RandomSampler"  # never asked: every point is queued
        study.sampler = build(sampler, "sampler", "optuna.samplers.TPESampler", seed=drawn)
        require_maker(study, study.sampler, self.folder)
        # For its errors and for the page: the trials prune, each in its own process.
        study.pruner = build(options["pruner"], "pruner", "optuna.pruners.NopPruner")
        log.info(
            "search in %s: worker %d, %d of %s trials are done",
            folder,
            number,
            len(queue.trials(TrialState.COMPLETE, TrialState.PRUNED)),
            queue.total or "endless",
        )
        return study, queue

    def _study_name(self, fold: str | None) -> str:
        name = self.options["study_name"] or "search"
        return name if fold is None else f"{name}-{fold}"

    def work(self, study: optuna.Study, queue: Queue) -> bool:
        """Carry out trials of a study until it has all of them; False if there were none to do."""
        failures, done = 0, False
        while taken := queue.take(self.options["n_jobs"]):
            for trial, job in zip(taken, self._launch(taken, queue), strict=True):
                failures = 0 if self._tell(trial, job, queue) else failures + 1
            done = True
            summary.write(study, queue.folder, self.typed)
            if failures >= self.options["max_failures"]:
                raise MerError(
                    f"{failures} trials in a row have failed, so the search has stopped; see the "
                    f"logs, the last one in {queue.folder / str(taken[-1].number)}. Mend the "
                    "cause; the same command goes on."
                )
        return done

    def _launch(self, taken: Sequence[Trial], queue: Queue) -> Sequence[JobReturn | None]:
        """Carry out some trials; None for each when their launcher itself failed.

        Interrupted trials go back to the queue, with the folds that they have finished.
        """
        numbers = [trial.number for trial in taken]
        try:
            batch = [self._words(trial, queue) for trial in taken]
            for trial in taken:
                values = " ".join(space.words(trial.params, self.space)) or "the default setting"
                log.info("trial %d: %s", trial.number, values)
            # The launcher would write a line for every trial, with all that they have in common.
            logging.getLogger(LAUNCHER).setLevel(logging.WARNING)
            jobs: Sequence[JobReturn] = self.sweeper.launcher.launch(
                batch, initial_job_idx=numbers[0]
            )
            return jobs
        except Exception as error:
            # A worker process was killed, or a cluster refused a job. The trials stay in state
            # running without a lock, so `Queue.take` finds them as it does after a power cut.
            log.warning("the launcher failed: %s: %s", type(error).__name__, error)
            for number in numbers:
                queue.release(number)
            return [None] * len(numbers)
        except BaseException as stop:
            queue.put_back(numbers)
            raise KeyboardInterrupt(
                f"Trial {', '.join(map(str, numbers))} is queued again and keeps its finished "
                "folds; the same command goes on."
            ) from stop

    def _words(self, trial: Trial, queue: Queue) -> list[str]:
        if self.suggest is not None and trials.DEFAULT not in trial.user_attrs:
            self.suggest(self.config, trial)
        own = [f"trial.number={trial.number}"]
        if queue.fold is not None:
            own += nested.words(queue, trial.number, self._study_name(queue.fold))
        return [*self.space.fixed, *space.words(trial.params, self.space), *own]

    def _tell(self, trial: Trial, job: JobReturn | None, queue: Queue) -> bool:
        """Write down how a trial ended; False if it failed."""
        if job is None:
            return False
        # The property `return_value` would raise a job's error again.
        value = job._return_value
        if queue.fold is not None and job.status == JobStatus.COMPLETED:
            directory = queue.folder / str(trial.number)
            value = nested.value(directory, queue.fold, self.shared["objective"])
        if job.status != JobStatus.COMPLETED:
            if isinstance(value, optuna.TrialPruned):
                queue.finish(trial.number, TrialState.PRUNED, str(value))
                return True
            if isinstance(value, OSError):  # the machine's fault: it would end every other trial
                with contextlib.suppress(Exception):  # else the next worker queues it again
                    queue.put_back([trial.number])
                raise value
            message = textwrap.shorten(str(value) or "without a message", LONGEST)
            outcome = f"raised {type(value).__name__}: {message}"
        elif value is None:
            outcome = "gave no value: folds are missing, or there are no validation persons"
        else:
            values = [float(number) for number in (value if isinstance(value, list) else [value])]
            if not any(math.isnan(number) for number in values):
                queue.finish(trial.number, TrialState.COMPLETE, values=values)
                return True
            outcome = "not a number"
        log.warning("trial %d failed: %s", trial.number, outcome)
        queue.finish(trial.number, TrialState.FAIL, outcome)
        return False

    def _report(self, study: optuna.Study) -> Path | None:
        """Write tables and page; a page that cannot be made loses no search."""
        summary.write(study, self.folder, self.typed)
        try:
            return study_page.write(study, self.folder, self.typed)
        except Exception as error:
            log.warning("no page of the search: %s", error)
            return None

    def _check(self) -> dict[str, Any]:
        """Check the search before anything is computed; return what all its trials share."""
        if not self.space.params and self.suggest is None:
            raise MerError(
                "There is nothing to search: write sweeps such as "
                "'model.optimizer.lr=tag(log, interval(1e-4, 1e-2))', or hydra.sweeper.params."
            )
        options, cfg = self.options, self.trial_config
        search_checks.check_options(options, cfg, self.space)
        search_checks.check_ranges(cfg, self.space)
        self.seeds = search_checks.check_seeds(self.config, self.space, self.nested)
        if self.nested:
            nested.check(cfg, self.space, options)
        basic = "basic_launcher" in self.config.hydra.launcher._target_
        if options["n_jobs"] > 1 and basic:
            log.warning(
                "hydra.sweeper.n_jobs=%d, but the basic launcher does one trial after the other: "
                "use hydra/launcher=joblib, or start the same command several times",
                options["n_jobs"],
            )
        samples = search_checks.check_trials(cfg, *self._choices())
        several = {"search.seeds": self.seeds} if self.seeds > 1 else {}
        shared = {"objective": rundir.flatten(cfg.objective)[""], "samples": samples}
        return rundir.lasting(cfg) | several | shared

    def _choices(self) -> tuple[dict[str, DictConfig], bool]:
        """The default setting with each choice of each parameter; whether others may mend one.

        A choice may need another parameter than the default setting has.
        """
        finite = {
            key: values.choices
            for key, values in self.space.params.items()
            if isinstance(values, CategoricalDistribution) and not key.startswith("+")
        }
        words = [space.words({key: one}, self.space)[0] for key in finite for one in finite[key]]
        configs = {word: self._compose([*self.space.fixed, word])[0] for word in words}
        return configs, len(finite) > 1

    @cached_property
    def trial_config(self) -> DictConfig:
        """The configuration that all trials share, with defaults for what is searched."""
        cfg, self._groups = self._compose(self.space.fixed)
        return cfg

    def _compose(self, words: Sequence[str]) -> tuple[DictConfig, dict[str, Any]]:
        """A trial's configuration, and group -> its choice."""
        loader = self.sweeper.hydra_context.config_loader
        cfg = loader.load_sweep_config(self.config, list(words))
        groups = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg["hydra"]
        return DictConfig(OmegaConf.to_container(cfg, resolve=True)), groups

    @cached_property
    def setting(self) -> dict[str, Any]:
        """The default setting's values of the parameters."""
        return space.setting(self.space, self.trial_config, self._groups)

    @cached_property
    def default(self) -> dict[str, Any]:
        """The same, as far as the space has them."""
        return space.default(self.space, self.setting)

    @property
    def has_default(self) -> bool:
        """Whether the default setting is a point of the space."""
        return self.suggest is None and len(self.default) == len(self.space.params)
