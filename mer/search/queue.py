"""The queue of the trials of a search, which any number of workers share.

The worker that runs a trial locks the trial's run directory. A trial in state running without a
lock was killed; it is queued again under its own number, so its finished folds are not trained
again. Optuna's heartbeat cannot do this: it does not work with ask and tell.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from mer.search.space import Space
from mer.search.trials import BEFORE, DEFAULT, INSIDE, OUTSIDE, SETTING, VALUES, has_failed

log = logging.getLogger(__name__)

#: The one sampler that is not asked for points but lists them; see `Queue.fill`.
GRID = "optuna.samplers.GridSampler"


class Queue:
    """Hands out the trials of a study, to any number of workers.

    Args:
        study: The study.
        folder: Directory of the search; trial n has the folder n in it.
        space: Searched parameters and shared overrides.
        total: Trials in total, or None for no end.
        attempts: Starts of a killed trial before it counts as failed.
        fold: The one fold that its trials are runs of; None for all folds.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: BaseStorage,
        folder: Path,
        space: Space,
        total: int | None,
        attempts: int,
        fold: str | None = None,
    ) -> None:
        self.study, self.storage, self.folder, self.space = study, storage, folder.resolve(), space
        self.fold = fold
        self.total, self.attempts = total, attempts
        self._study_id = storage.get_study_id_from_name(study.study_name)
        self._lock = FileLock(self.folder / ".queue.lock")
        self._held: dict[int, FileLock] = {}

    def begin(
        self, values: Mapping[str, Any], inside: bool, setting: Mapping[str, Any] | None = None
    ) -> None:
        """Queue the default setting as the first trial of a new study.

        Where it has failed it is queued again: the cause may be mended by now.

        Args:
            values: Its values of the searched parameters, as far as the space has them.
            inside: Whether it is a point of the space.
            setting: Its values of them, whether the space has them or not, for reports.
        """
        with self._lock:
            tried = self.study.get_trials(deepcopy=False)
            defaults = [trial for trial in tried if DEFAULT in trial.user_attrs]
            again = defaults and all(map(has_failed, defaults))
            if not tried or again:
                attributes = {DEFAULT: INSIDE if inside else OUTSIDE, SETTING: setting or {}}
                self.study.enqueue_trial(dict(values) if inside else {}, user_attrs=attributes)

    def fill(self, seed: int) -> None:
        """Queue every point of the grid that is not tried yet, or has failed, in a random order.

        Optuna's own grid sampler may give two workers the same point.

        Args:
            seed: Seed of the order.
        """
        points = self.space.grid()
        if self.total is None or self.total > len(points):
            self.total = len(points)
        with self._lock:
            known = [
                trial.params or trial.system_attrs.get("fixed_params")
                for trial in self.study.get_trials(deepcopy=False)
                if trial.state != TrialState.FAIL
            ]
            for place in np.random.default_rng(seed).permutation(len(points)):
                if points[place] not in known:
                    self.study.enqueue_trial(points[place])
            self.study.set_user_attr("grid", len(points))

    def take(self, count: int) -> list[Trial]:
        """Take up to `count` trials: queued ones first, then new points of the sampler.

        None is left when the study has its total. Each trial taken is locked until `release`.
        """
        with self._lock:
            self._requeue_killed()
            taken: list[Trial] = []
            while len(taken) < count and self._free() > 0:
                if "grid" in self.study.user_attrs and not self.trials(TrialState.WAITING):
                    break
                trial = self.study.ask()
                if trial.user_attrs.get(DEFAULT) != OUTSIDE:
                    for key, distribution in self.space.params.items():
                        _suggest(trial, key, distribution)
                if self._is_surplus(trial.number):
                    self.finish(trial.number, TrialState.FAIL, "surplus")
                    break
                directory = self.folder / str(trial.number)
                directory.mkdir(parents=True, exist_ok=True)
                lock = FileLock(directory / ".trial.lock")
                lock.acquire()
                self._held[trial.number] = lock
                trial.set_user_attr("directory", str(directory))
                trial.set_user_attr("attempts", trial.user_attrs.get("attempts", 0) + 1)
                taken.append(trial)
            return taken

    def finish(
        self,
        number: int,
        state: TrialState,
        outcome: str | None = None,
        values: Sequence[float] | None = None,
    ) -> None:
        """Write down how a trial ended."""
        if outcome:
            self.storage.set_trial_user_attr(self._id(number), "outcome", outcome)
        known = self.study.get_trials(deepcopy=False)[number].user_attrs
        if state == TrialState.COMPLETE and known.get(DEFAULT) == OUTSIDE:
            self.storage.set_trial_user_attr(self._id(number), VALUES, values)
            state, values = TrialState.FAIL, None
        self.study.tell(number, values, state)
        self.release(number)

    def put_back(self, numbers: Sequence[int]) -> None:
        """Queue trials again under their numbers; any worker may take them."""
        for number in numbers:
            trial = self.study.get_trials(deepcopy=False)[number]
            self.storage.set_trial_user_attr(self._id(number), BEFORE, _lasted(trial))
            self.storage.set_trial_state_values(self._id(number), TrialState.WAITING)
            self.release(number)

    def release(self, number: int) -> None:
        """Give up the lock of a trial."""
        lock = self._held.pop(number, None)
        if lock is not None:
            lock.release()

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in some states."""
        return self.study.get_trials(deepcopy=False, states=states)

    def _free(self) -> float:
        """Trials that may still be taken."""
        if self.total is None:
            return float("inf")
        counted = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        taken = [t for t in self.trials(*counted) if t.user_attrs.get(DEFAULT) != OUTSIDE]
        return self.total - len(taken)

    def _is_surplus(self, number: int) -> bool:
        """Whether another machine's worker took the last trial at the same moment."""
        over = -self._free()
        if over <= 0:
            return False
        running = sorted(trial.number for trial in self.trials(TrialState.RUNNING))
        return number in running[-int(over) :]

    def _requeue_killed(self) -> None:
        """Queue the trials of this directory that no process carries out any more."""
        for trial in self.trials(TrialState.RUNNING):
            if trial.number in self._held or not self._is_dead(trial):
                continue
            if trial.user_attrs.get("attempts", 1) >= self.attempts:
                log.warning("trial %d was killed %d times; it failed", trial.number, self.attempts)
                self.finish(trial.number, TrialState.FAIL, f"killed {self.attempts} times")
            else:
                log.info("trial %d was interrupted; it goes on where it stopped", trial.number)
                self.put_back([trial.number])

    def _is_dead(self, trial: FrozenTrial) -> bool:
        directory = trial.user_attrs.get("directory")
        if directory is None:  # killed in the moment between its creation and its lock
            started = trial.datetime_start or datetime.now()
            return datetime.now() - started > timedelta(minutes=2)
        path = Path(directory)
        if path.parent != self.folder or not path.is_dir():
            return False  # another machine's
        try:
            with FileLock(path / ".trial.lock", timeout=0):
                return True
        except Timeout:
            return False

    def _id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self._study_id, number)


def _lasted(trial: FrozenTrial) -> float:
    """Seconds of a trial that is cut off, earlier starts included: until it last wrote a file."""
    began, folder = trial.datetime_start, Path(trial.user_attrs.get("directory", ""))
    files = folder.rglob("*") if "directory" in trial.user_attrs else ()
    written = max((path.lstat().st_mtime for path in files), default=0.0)
    last = max(0.0, written - began.timestamp()) if began else 0.0
    return float(trial.user_attrs.get(BEFORE, 0.0)) + last


def _suggest(trial: Trial, key: str, distribution: BaseDistribution) -> None:
    """Give a trial a parameter: the queued value, or one of the sampler's."""
    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(key, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        low, high, step = distribution.low, distribution.high, distribution.step
        trial.suggest_int(key, low, high, step=step, log=distribution.log)
    elif isinstance(distribution, FloatDistribution):
        bounds = distribution.low, distribution.high
        trial.suggest_float(key, *bounds, step=distribution.step, log=distribution.log)


@contextlib.contextmanager
def worker(folder: Path) -> Iterator[int]:
    """Give this process a number, from 0, that no other living worker on the folder has."""
    for number in range(10_000):
        lock = FileLock(folder / f".worker-{number}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            yield number
        finally:
            lock.release()
        return
