"""Whether the best trial of a search beats the default setting, and by how much."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from mer import metrics
from mer.config import stored
from mer.errors import MerError
from mer.runs import run_files
from mer.runs.head_columns import heads
from mer.search import trials

DRAWS = 2000


class Gain(NamedTuple):
    """A trial against the default setting.

    Args:
        difference: Score of the trial minus that of the default, pooled over validation persons.
        interval: Its 95 % interval when these persons are drawn again, the same ones for both.
        persons: Number of them.
    """

    difference: float
    interval: tuple[float, float]
    persons: int


def sentences(study: optuna.Study) -> list[str]:
    """Say whether the best trial of a search beats the default setting.

    Args:
        study: From `trials.copy`.
    """
    default, best = trials.default(study), trials.best(study)
    if default is None:
        return []
    name = f"the default setting (trial {default.number})"
    if default.state != TrialState.COMPLETE:
        why = trials.reason(default) or trials.STATES[default.state]
        return [f"There is nothing to compare the best with: {name} has no value ({why})."]
    objectives = trials.objectives(study)
    front = {trial.number for trial in best}
    if default.number in front:
        if len(objectives) > 1:
            return [f"{_upper(name)} is on the Pareto front."]
        return [f"No trial is better than {name}, {objectives[0]} {default.values[0]:.3f}."]
    if len(objectives) > 1:
        signs = [1 if one == "maximize" else -1 for one in trials.directions(study)]
        both = [(one.values, default.values) for one in best]
        better = [
            trial.number
            for trial, (new, old) in zip(best, both, strict=True)
            if all(s * (a - b) >= 0 for s, a, b in zip(signs, new, old, strict=True))
        ]
        return [f"{_upper(name)} is beaten in all objectives by trial {_listed(better)}."]
    return [_against(study, best[0], default, name, objectives[0])]


def _against(
    study: optuna.Study, best: FrozenTrial, default: FrozenTrial, name: str, score: str
) -> str:
    """One objective: by how much the best trial differs, and whether that may be chance."""
    difference = best.values[0] - default.values[0]
    text = f"Against {name}, {score} {default.values[0]:.4g}, trial {best.number} has "
    try:
        gained = gain(_runs(default), _runs(best), score)
    except (MerError, OSError, KeyError):
        gained = None
    if gained is None:
        return f"{text}{difference:+.4g}; there is no interval."
    low, high = gained.interval
    text += (
        f"{difference:+.3f} [{low:+.3f}, {high:+.3f}] (95 % interval over "
        f"{trials.plural(gained.persons, 'validation person')})"
    )
    tried = trials.plural(len(trials.complete(study)), "complete trial")
    if low <= 0:
        return f"{text}: that may be chance, the more so as it is the best of {tried}."
    return f"{text}: better, though as the best of {tried} it looks better than it is."


def gain(default: Sequence[Path], best: Sequence[Path], score: str) -> Gain | None:
    """Compare the validation predictions of two settings.

    Args:
        default: Run directories, one per seed.
        best: Likewise.
        score: One of `metrics.SCORES`; scores of several seeds are averaged.

    Returns:
        None for what is no score, and where the two did not validate the same persons.
    """
    if score not in metrics.SCORES or not (default and best):
        return None
    counted = [[_counts(run) for run in runs] for runs in (default, best)]
    persons = counted[0][0][0]
    if not persons or any(names != persons for runs in counted for names, _ in runs):
        return None
    drawn = metrics.draw_persons(len(persons), DRAWS, seed=0)
    real = np.ones((1, len(persons)), dtype=np.int64)
    means = [
        [
            np.mean(
                [
                    metrics.scores_from_confusion(np.tensordot(times, counts, axes=1))[score]
                    for _, counts in runs
                ],
                axis=0,
            )
            for times in (real, drawn)
        ]
        for runs in counted
    ]
    (real_default, drawn_default), (real_best, drawn_best) = means
    low, high = np.nanquantile(drawn_best - drawn_default, [0.025, 0.975])
    difference = float((real_best - real_default)[0])
    return Gain(difference, (float(low), float(high)), len(persons))


def _runs(trial: FrozenTrial) -> list[Path]:
    """The run directories of a trial: its own, or one per seed."""
    folder = Path(trials.directory(trial))
    return sorted(folder.glob("seed-*")) or [folder]


def _counts(run_dir: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Validation persons in order, and their confusion matrices by the main head: (P, K, K)."""
    manifest = run_files.read_table(run_dir / "manifest.parquet", ["sample_id", "label", "person"])
    folds = sorted((run_dir / "folds").rglob("validation.parquet"))
    frame = pd.concat(map(run_files.read_table, folds), ignore_index=True)
    number = {
        name: place
        for place, name in enumerate(stored.read(run_dir / "config.yaml").labels.classes)
    }
    known = manifest.set_index("sample_id")
    ids = frame["sample_id"]
    persons = ids.map(known["person"]).tolist()
    counts = metrics.confusion_by(
        ids.map(known["label"]).map(number),
        frame[heads(frame)[0]].map(number),
        persons,
        len(number),
        metrics.once_each(ids.tolist()),
    )
    return sorted(set(persons)), counts


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
