"""Whether the best trial of a search beats the default setting, and how sure that is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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

#: Persons below which an interval over persons is rough.
FEW = 30


class Drawn(NamedTuple):
    """The score of a setting when its validation persons are drawn again.

    Args:
        persons: Names of the persons, in order.
        score: Score of the persons themselves, the mean over the setting's seeds.
        again: Score of each draw, the same draws for every setting. Shape: (DRAWS,).
    """

    persons: list[str]
    score: float
    again: NDArray[np.float64]


def draw(runs: Sequence[Path], score: str) -> Drawn | None:
    """Draw the validation persons of a setting again.

    Args:
        runs: Its run directories, one per seed.
        score: One of `metrics.SCORES`.

    Returns:
        None for what is no score, and where there are no predictions, or of other persons by seed.
    """
    try:
        counted = [_counts(run) for run in runs] if score in metrics.SCORES else []
    except (MerError, OSError, KeyError, ValueError):
        return None
    if not counted or not counted[0][0] or any(names != counted[0][0] for names, _ in counted):
        return None
    persons = counted[0][0]
    times = np.vstack([np.ones(len(persons)), metrics.draw_persons(len(persons), DRAWS, seed=0)])
    of_seeds = [
        metrics.scores_from_confusion(np.tensordot(times, counts, axes=1))[score]
        for _, counts in counted
    ]
    mean, *again = np.mean(of_seeds, axis=0)
    return Drawn(persons, float(mean), np.array(again))


def interval(again: NDArray[np.float64], sign: str = "") -> str:
    """The 95 % interval of scores of draws, in brackets; numbers have a sign where one is given."""
    low, high = np.nanquantile(again, [0.025, 0.975])
    return f" [{low:{sign}.3f}, {high:{sign}.3f}]"


def sentences(study: optuna.Study) -> list[str]:
    """Say how good the best trial of a search is, and whether it beats the default setting.

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
    if len(study.directions) > 1:
        return [_on_front(study, best, default, name)]
    score = trials.objectives(study)[0]
    drawn = [draw(_runs(trial), score) for trial in (best[0], default)]
    first, second = (
        f"{trial.values[0]:.4g}" if one is None else f"{one.score:.3f}{interval(one.again)}"
        for trial, one in zip((best[0], default), drawn, strict=True)
    )
    if default.number == best[0].number:
        said = f"No trial is better than {name}, {score} {second}."
    else:
        said = f"Trial {best[0].number} has {score} {first}, {name} {second}: "
        said += _difference(study, best[0].values[0] - default.values[0], *drawn)
    return [said, *_persons(drawn[0])]


def _difference(
    study: optuna.Study, difference: float, best: Drawn | None, default: Drawn | None
) -> str:
    """By how much the best trial differs from the default setting, and whether by chance."""
    if best is None or default is None or best.persons != default.persons:
        return f"{difference:+.4g}; there is no interval."
    again = best.again - default.again
    text = f"{difference:+.3f}{interval(again, '+')}. "
    tried = trials.plural(len(trials.complete(study)), "complete trial")
    if np.nanquantile(again, 0.025) <= 0:
        return f"{text}That may be chance, the more so as it is the best of {tried}."
    return f"{text}It is better, though as the best of {tried} it looks better than it is."


def _persons(drawn: Drawn | None) -> list[str]:
    """Over whom the intervals are."""
    if drawn is None:
        return []
    number = len(drawn.persons)
    rough = "; with so few persons they are rough" if number < FEW else ""
    persons = trials.plural(number, "validation person")
    return [f"Intervals are 95 % when the {persons} are drawn again{rough}."]


def _on_front(
    study: optuna.Study, front: Sequence[FrozenTrial], default: FrozenTrial, name: str
) -> str:
    """Whether the default setting is on the Pareto front of several objectives."""
    if default.number in {trial.number for trial in front}:
        return f"{name[:1].upper()}{name[1:]} is on the Pareto front."
    signs = [1 if one == "maximize" else -1 for one in trials.directions(study)]
    better = [
        str(trial.number)
        for trial in front
        if all(
            s * (new - old) >= 0
            for s, new, old in zip(signs, trial.values, default.values, strict=True)
        )
    ]
    return f"{name[:1].upper()}{name[1:]} is beaten in all objectives by trial {', '.join(better)}."


def _runs(trial: FrozenTrial) -> list[Path]:
    """The run directories of a trial: its own, or one per seed."""
    folder = Path(trials.directory(trial))
    return sorted(folder.glob("seed-*")) or [folder]


def _counts(run_dir: Path) -> tuple[list[str], NDArray[Any]]:
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
