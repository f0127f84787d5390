"""How the trials of a study are read: which count, what became of each, which are the best.

The best of several objectives is their Pareto front. Surplus trials, which two workers took at the
same moment, are left out of everything.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from mer.errors import one_line

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "queued",
}

#: Start of a failed trial's outcome -> what the failure is called.
FAILURES = {
    "raised": "raised an error",
    "not a number": "gave no number",
    "gave no": "gave no number",
    "killed": "killed",
}

#: User attribute of the trial of the default setting. Where the space lacks one of its values it is
#: `OUTSIDE`: the study keeps the trial as a failed one without parameters, from which no sampler
#: learns, with its values in the attribute `VALUES`; reports show it as complete (`copy`).
DEFAULT, INSIDE, OUTSIDE, VALUES = "default", "inside", "outside", "values"

#: User attributes: the default setting's values of the parameters, inside the space or not; and the
#: seconds of the starts of a trial that were cut off, which Optuna forgets.
SETTING, BEFORE = "setting", "seconds_before"

LEAST = 20  # complete trials that importances of parameters need

#: What a trial may be, in the order of a report.
KINDS = (
    "complete",
    "raised an error",
    "gave no number",
    "killed",
    "failed otherwise",
    "pruned",
    "running",
    "queued",
)


def copy(study: optuna.Study) -> optuna.Study:
    """Copy a study into memory, so that all parts of a report see the same trials.

    Trials keep their numbers; of a surplus one nothing else is left. A default trial outside the
    space is complete.
    """
    quiet = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    copied = optuna.create_study(
        study_name=study.study_name,
        directions=study.directions,
        sampler=study.sampler,
        pruner=study.pruner,
    )
    optuna.logging.set_verbosity(quiet)
    for key, value in study.user_attrs.items():
        copied.set_user_attr(key, value)
    surplus = create_trial(state=TrialState.FAIL, user_attrs={"outcome": "surplus"})
    for trial in study.get_trials(deepcopy=False):
        copied.add_trial(surplus if _is_surplus(trial) else _completed(trial))
    return copied


def _completed(trial: FrozenTrial) -> FrozenTrial:
    """A default trial outside the space as the complete one that it is; others as they are."""
    values = trial.user_attrs.get(VALUES)
    if values is None or trial.state != TrialState.FAIL:
        return trial
    reported = trial.intermediate_values
    whole = create_trial(values=values, user_attrs=trial.user_attrs, intermediate_values=reported)
    whole.datetime_start, whole.datetime_complete = trial.datetime_start, trial.datetime_complete
    return whole


def default(study: optuna.Study) -> FrozenTrial | None:
    """The trial of the default setting, the last one where it failed and was tried again.

    None in a study that was begun without one.
    """
    return next((one for one in reversed(shown(study)) if DEFAULT in one.user_attrs), None)


def has_failed(trial: FrozenTrial) -> bool:
    """Whether a trial ended without a value; a default outside of the space has one beside it."""
    return trial.state == TrialState.FAIL and VALUES not in trial.user_attrs


def _is_surplus(trial: FrozenTrial) -> bool:
    return trial.user_attrs.get("outcome") == "surplus"


def shown(study: optuna.Study) -> list[FrozenTrial]:
    """The trials of a study, without surplus ones."""
    return [trial for trial in study.get_trials(deepcopy=False) if not _is_surplus(trial)]


def complete(study: optuna.Study) -> list[FrozenTrial]:
    """The complete trials, those with the best first objective first."""
    found = [trial for trial in shown(study) if trial.state == TrialState.COMPLETE]
    sign = -1 if study.directions[0] == StudyDirection.MAXIMIZE else 1
    return sorted(found, key=lambda trial: sign * trial.values[0])


def best(study: optuna.Study) -> list[FrozenTrial]:
    """The best trial, or the Pareto front of several objectives; empty while none is complete."""
    if len(study.directions) == 1:
        return complete(study)[:1]
    front = {trial.number for trial in study.best_trials if not _is_surplus(trial)}
    return [trial for trial in complete(study) if trial.number in front]


def kind(trial: FrozenTrial) -> str:
    """Which of `KINDS` a trial is."""
    if trial.state != TrialState.FAIL:
        return STATES[trial.state]
    found = (name for start, name in FAILURES.items() if reason(trial).startswith(start))
    return next(found, "failed otherwise")


def reason(trial: FrozenTrial) -> str:
    """Why a trial has no value, or that it is the default setting; else empty."""
    folds = plural(len(trial.intermediate_values), "fold")
    text = {
        TrialState.PRUNED: f"pruned after {folds}",
        TrialState.FAIL: "no reason recorded",
        TrialState.RUNNING: f"{folds} so far",
    }.get(trial.state, "")
    if DEFAULT in trial.user_attrs and trial.state == TrialState.COMPLETE:
        return "the default setting"
    known = trial.state in (TrialState.PRUNED, TrialState.FAIL)
    return str(trial.user_attrs.get("outcome", text)) if known else text


def plural(count: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def noted(study: optuna.Study) -> dict[str, Any]:
    """What the sweeper noted of a search: `space` and `settings`, each key -> value."""
    content: dict[str, Any] = json.loads(study.user_attrs.get("mer", "{}"))
    return content


def objectives(study: optuna.Study) -> list[str]:
    """Names of the objectives; `value` where the study does not know them."""
    count = len(study.directions)
    objective = noted(study).get("settings", {}).get("objective")
    names = [objective] if isinstance(objective, str) else objective
    if names and len(names) == count:
        return list(names)
    return ["value"] if count == 1 else [f"value {place}" for place in range(1, count + 1)]


def directions(study: optuna.Study) -> list[str]:
    """`maximize` or `minimize` for each objective."""
    return [direction.name.lower() for direction in study.directions]


def parameters(trials: Sequence[FrozenTrial]) -> list[str]:
    """Keys that the trials set, in their order of appearance."""
    return list(dict.fromkeys(key for trial in trials for key in trial.params))


def space(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Key -> the values that it may take, of every parameter that the trials set."""
    return {key: values for trial in trials for key, values in trial.distributions.items()}


def value(trial: FrozenTrial, key: str) -> Any:
    """A trial's value of a parameter, or None; of the default setting also outside the space."""
    return trial.params.get(key, trial.user_attrs.get(SETTING, {}).get(key))


def seconds(trial: FrozenTrial) -> float | None:
    """How long a finished trial took, all of its starts together."""
    if trial.duration is None:
        return None
    return round(trial.duration.total_seconds() + trial.user_attrs.get(BEFORE, 0.0), 1)


def folds(trial: FrozenTrial) -> int:
    """Finished folds: those on disk, or, where there are none, those that it reported.

    A trial that was killed does not report a fold again that was finished just before.
    """
    found = Path(directory(trial)).rglob("predictions*.parquet") if directory(trial) else ()
    inside = [path.relative_to(directory(trial)).parts for path in found]
    return sum("folds" in parts for parts in inside) or len(trial.intermediate_values)


def directory(trial: FrozenTrial) -> str:
    """Run directory of a trial; empty until it has started."""
    return str(trial.user_attrs.get("directory", ""))


def importances(study: optuna.Study, place: int = 0) -> dict[str, float] | str:
    """Share of each parameter in one objective, the largest first, or why there is none.

    They come from the one evaluator of Optuna's that does not need hundreds of trials.
    """
    done = complete(study)
    if len(done) < LEAST or len({trial.values[place] for trial in done}) < 2:
        return (
            f"Importances of parameters need at least {LEAST} complete trials with different "
            "values; fewer say nothing."
        )
    try:
        inside = optuna.create_study(directions=study.directions)
        inside.add_trials([trial for trial in done if trial.params])
        shares = optuna.importance.get_param_importances(
            inside,
            evaluator=FanovaImportanceEvaluator(seed=0),
            target=lambda trial: trial.values[place],
        )
    except Exception as error:
        return f"Importances of parameters cannot be computed: {one_line(error)}"
    return {key: float(share) for key, share in shares.items()}


def caution(study: optuna.Study) -> str:
    """What must be said wherever scores of a search are shown."""
    tried = [t for t in shown(study) if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    return (
        "Scores of trials are pooled over validation persons, and by them the best of "
        f"{plural(len(tried), 'trial')} was chosen, so they are optimistic. Only the test scores "
        "of a run that was fixed beforehand are results."
    )
