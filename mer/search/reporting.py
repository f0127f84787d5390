"""A trial's side of a search: it reports after every fold, and ends when it is hopeless."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import optuna
from omegaconf import DictConfig, OmegaConf
from optuna.trial import Trial

from mer import metrics
from mer.runs import results
from mer.runs.observers import Observer, Progress, RunContext
from mer.search.study import build, open_storage
from mer.search.trials import DEFAULT


class TrialReporter(Observer):
    """Reports the running validation score of a trial; the pruner of the search may end it.

    The step of a report is the number of finished folds; all trials train their folds in the same
    order, so reports of the same step compare. With several objectives, or one that is a cost,
    there is nothing to report.

    Args:
        sweeper: The `hydra.sweeper` node: storage, study name, pruner.
        folder: Directory of the search.
        number: Number of the trial.
        earlier: Values of its runs with other seeds, which this one follows; scores are means over
            these and the running one, and steps go on.
    """

    def __init__(
        self,
        sweeper: DictConfig,
        folder: Path,
        number: int,
        earlier: Sequence[Sequence[float]] = (),
    ) -> None:
        self._earlier = [values[0] for values in earlier]
        options: dict[str, Any] = OmegaConf.to_container(sweeper, resolve=True)  # type: ignore[assignment]
        self._storage = open_storage(options["storage"], folder)
        # The sampler plays no part here: the trial has its parameters.
        study = optuna.load_study(
            study_name=options["study_name"] or "search",
            storage=self._storage,
            sampler=optuna.samplers.RandomSampler(),
            pruner=build(options["pruner"], "pruner", "optuna.pruners.NopPruner"),
        )
        study_id = self._storage.get_study_id_from_name(study.study_name)
        self._trial = Trial(
            study, self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        )
        self._reported = set(study.get_trials(deepcopy=False)[number].intermediate_values)

    def start(self, run: RunContext) -> None:
        """Remember what the objective is."""
        self._objective = run.settings.objective

    def fold(self, progress: Progress) -> None:
        """Report, and raise `optuna.TrialPruned` when the pruner says so."""
        if self._objective not in metrics.SCORES or not progress.validation:
            return
        step = len(self._earlier) * progress.total + progress.done
        if step not in self._reported:
            value = results.objective(progress.validation, {}, [self._objective])[0]
            self._trial.report(mean([*self._earlier, value]), step)
        if DEFAULT in self._trial.user_attrs:
            return  # what all others are compared with
        if progress.done < progress.total and self._trial.should_prune():
            seeds = f" of seed {len(self._earlier) + 1}" if self._earlier else ""
            said = f"pruned after {progress.done} of {progress.total} folds{seeds}"
            raise optuna.TrialPruned(said)
