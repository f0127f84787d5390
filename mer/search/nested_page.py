"""The pages of a nested search: one of all folds, and one of each fold's own search."""

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.trial import FrozenTrial, TrialState

from mer.config.short_names import short_names
from mer.files import write_text
from mer.pages.rendering import render
from mer.search import study_page, summary, trials
from mer.search.commands import Typed

log = logging.getLogger(__name__)

CAUTION = (
    "The best trial of each fold was chosen by that fold's validation persons, so the scores here "
    "are optimistic. The test score of the assembled run is not: no test person took part in a "
    "choice."
)


def write(
    studies: Mapping[str, optuna.Study], folder: Path, typed: Typed, run_dir: Path
) -> Path | None:
    """Write `search.html`, of all folds and of each; a page that cannot be made loses no search.

    Args:
        studies: Fold -> its study, with the sampler and the pruner in use.
        folder: Directory of the search.
        typed: What was typed for it.
        run_dir: Directory of the assembled run.

    Returns:
        The page of all folds.
    """
    try:
        for name, study in studies.items():
            study_page.write(study, folder / name, typed, repeatable=False)
        path = folder / "search.html"
        write_text(_page(studies, folder, typed, run_dir), path)
        return path
    except Exception as error:
        log.warning("no page of the nested search: %s", error)
        return None


def _page(studies: Mapping[str, optuna.Study], folder: Path, typed: Typed, run_dir: Path) -> str:
    copied = {name: trials.copy(study) for name, study in studies.items()}
    found = [trial for study in copied.values() for trial in trials.shown(study)]
    keys = trials.parameters(found)
    names = short_names(keys)
    first = next(iter(copied.values()))
    done = sum(trial.state == TrialState.COMPLETE for trial in found)
    return render(
        "nested_search.html.j2",
        title=f"Nested search in {folder.name}",
        caution=CAUTION,
        count=f"{trials.plural(len(copied), 'fold')}, {len(found)} trials, {done} of them complete",
        searched=study_page.searched(first, folder, typed.fixed),
        parameters=[row[:2] for row in study_page.parameters(first)],
        search=typed.search,
        header=["fold", "trials", "best", trials.objectives(first)[0], "default", *names.values()],
        rows=[[name, *_row(study, keys)] for name, study in copied.items()],
        folds=[(name, f"{quote(name)}/search.html") for name in copied],
        finished=(run_dir / "metrics.json").exists(),
        commands=[
            shlex.join(["mer", verb, str(run_dir.absolute())]) for verb in ("report", "audit")
        ],
    )


def _row(study: optuna.Study, keys: list[str]) -> list[Any]:
    """Complete trials, the best one's number and value, the default's value, the parameters."""
    best, default = trials.best(study), trials.default(study)
    complete = len(trials.complete(study))
    if not best:
        return [complete, None, None, None, *(None for _ in keys)]
    chosen = [summary.brief(best[0].params.get(key)) for key in keys]
    return [complete, str(best[0].number), best[0].values[0], _value(default), *chosen]


def _value(trial: FrozenTrial | None) -> float | None:
    done = trial is not None and trial.state == TrialState.COMPLETE
    return trial.values[0] if trial is not None and done else None
