"""The page of a search: what was searched, what came out, every trial."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from mer.config.short_names import short_names
from mer.files import write_text
from mer.pages.rendering import render
from mer.search import commands, gain, study_plots, summary, trials
from mer.search.commands import Typed
from mer.search.space import described


def write(study: optuna.Study, sweep_dir: Path, typed: Typed, repeatable: bool = True) -> Path:
    """Write `search.html`, atomically.

    Args:
        study: The study of the search, with the sampler and the pruner in use.
        sweep_dir: Directory of the search.
        typed: What was typed for it.
        repeatable: Whether a trial is a run of its own, which commands can repeat.
    """
    study = trials.copy(study)
    states = Counter(trials.STATES[trial.state] for trial in trials.shown(study))
    best = trials.best(study)
    page = render(
        "search.html.j2",
        title=f"Search {study.study_name}",
        caution=trials.caution(study),
        searched=searched(study, sweep_dir, typed.fixed),
        parameters=parameters(study),
        search=typed.search,
        counts={name: states[name] for name in trials.STATES.values() if states[name]},
        several=len(study.directions) > 1,
        best=_best(study, best[0]) if best else {},
        against=gain.sentences(study),
        commands={
            t.number: commands.of_search(study, t, typed, sweep_dir) for t in best if repeatable
        },
        chapters=list(study_plots.chapters(study)),
        rows=_rows(study, sweep_dir),
        brief=summary.brief,
        front={trial.number for trial in best},
        names=short_names(trials.parameters(trials.shown(study))),
    )
    path = sweep_dir / "search.html"
    write_text(page, path)
    return path


def searched(study: optuna.Study, sweep_dir: Path, fixed: Sequence[str]) -> dict[str, str]:
    """What was searched, by what, on which data."""
    sampler = type(study.sampler).__name__.removesuffix("Sampler")
    pruner = type(study.pruner).__name__.removesuffix("Pruner")
    settings = trials.noted(study).get("settings", {})
    typed = dict(word.split("=", 1) for word in fixed if "=" in word)
    pairs = zip(trials.objectives(study), trials.directions(study), strict=True)
    return {
        "objective": ", ".join(f"{name}: {direction}" for name, direction in pairs),
        "sampler": "every point of the grid" if "grid" in study.user_attrs else sampler,
        "pruner": "none" if pruner == "Nop" else pruner,
        "saved by pruning": _saved(study),
        "seed": settings.get("seed"),
        "data": settings.get("data.name") or typed.get("data", "as conf/train.yaml sets it"),
        "directory": str(sweep_dir.absolute()),
    }


def _saved(study: optuna.Study) -> str:
    """About how long the pruned trials would have taken longer."""
    of = {
        state: [trials.seconds(t) or 0.0 for t in trials.shown(study) if t.state == state]
        for state in (TrialState.COMPLETE, TrialState.PRUNED)
    }
    whole, pruned = of[TrialState.COMPLETE], of[TrialState.PRUNED]
    if not (whole and pruned):
        return ""
    saved = sum(max(0.0, sum(whole) / len(whole) - one) for one in pruned)
    if saved < 60:
        return ""
    return f"about {saved / 60:.0f} minutes of {(sum(whole) + sum(pruned) + saved) / 60:.0f}"


def parameters(study: optuna.Study) -> list[list[str]]:
    """Rows of a parameter, the values that it may take and, of one objective, the best trial's."""
    best = trials.best(study) if len(study.directions) == 1 else []
    return [
        [key, described(values), *(summary.brief(trial.params.get(key)) for trial in best)]
        for key, values in trials.space(trials.shown(study)).items()
    ]


def _best(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    """The best trial of one objective."""
    return {
        "trial": trial.number,
        trials.objectives(study)[0]: summary.brief(trial.values[0]),
        "directory": trials.directory(trial),
    }


def _rows(study: optuna.Study, sweep_dir: Path) -> list[dict[str, Any]]:
    """One row per trial, as in `trials.csv`, for people to read."""
    rows = summary.rows(study)
    for row, trial in zip(rows, trials.shown(study), strict=True):
        row["directory"] = summary.place(trial, sweep_dir)
        row["outcome"] = row.pop("outcome")  # the longest comes last
    return rows
