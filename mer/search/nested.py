"""A nested search (`search.nested=true`): every fold of the protocol has a search of its own.

Fold F has the study `<study_name>-F` in the storage of the search and the folder F in its
directory. A trial there is a run of that one fold; its value is the score of the fold's validation
persons, read from its run directory, since a run with missing folds has no score. When all studies
have their trials, the best trial of each fold becomes that fold of one run, `nested`, which is
pooled and scored as any run is: its test labels are opened once.

nested/nested.json                 per fold: trial, value, overrides, the values of all its trials
nested/folds/<fold>/config.yaml    the configuration of the fold's trial
"""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from filelock import FileLock
from omegaconf import DictConfig
from optuna.trial import TrialState

from mer.config import stored
from mer.config.composition import typed
from mer.config.settings import RunDirectory, Settings, Trial
from mer.config.short_names import short_names
from mer.data import sources
from mer.data.corpus import Corpus
from mer.errors import MerError, raise_all
from mer.files import link_or_copy, write_json
from mer.protocols import Fold
from mer.runs import claims, environment, fold_order, results, run_files, rundir, terminal, twins
from mer.search import nested_page, search_checks, summary, trials
from mer.search.queue import Queue
from mer.search.space import Space

if TYPE_CHECKING:
    from mer.search.sweep import Search

log = logging.getLogger(__name__)

#: Name of the assembled run in the directory of the search, and of the file that explains it.
RUN, FILE = "nested", "nested.json"

#: Keys that decide who trains and is tested, or whose score counts: the same for all trials.
COMMON = ("data", "labels", "prepare", "protocol", "seed", "selection", "objective", "search")


def check(cfg: DictConfig, space: Space, options: Mapping[str, Any]) -> None:
    """Find what a nested search cannot do.

    Args:
        cfg: Configuration that all trials share.
        space: What is searched.
        options: Settings of the sweeper.

    Raises:
        MerError: With all of it.
    """
    problems = [
        f"{key} is searched, but decides who is trained or tested; fix it for all folds"
        for key in space.params
        if any(key == common or key.startswith(f"{common}.") for common in COMMON)
    ]
    if not isinstance(cfg.objective, str):
        problems.append("objective is a list; each fold needs one best trial, so set one name")
    if options["n_trials"] is None and not search_checks.is_grid(options, space):
        problems.append("hydra.sweeper.n_trials is null; set the number of trials of each fold")
    raise_all("search.nested=true cannot work:", problems)


def run(search: "Search", number: int) -> None:
    """Carry out the searches of all folds as one worker, then assemble the run.

    Args:
        search: The search.
        number: Number of this worker.
    """
    settings = typed(search.trial_config)
    found = sources.read(settings, "micro")
    corpus = sources.load(settings, "micro", found["micro"])
    folds = sources.folds(settings, corpus.table)
    parts: dict[str, tuple[optuna.Study, Queue]] = {}
    for fold in fold_order.running_order(folds, corpus.table):
        parts[fold.name] = search.open(number, fold.name)
    studies = {name: study for name, (study, _) in parts.items()}
    try:
        _work(search, parts)
    finally:
        nested_page.write(studies, search.folder, search.typed, search.folder / RUN)
    busy = [
        name
        for name, (study, _) in parts.items()
        if study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    ]
    if busy:
        log.info("other workers are at fold %s; the last one assembles the run", ", ".join(busy))
        return
    with FileLock(search.folder / ".nested.lock"):
        _assemble(search.folder, settings, corpus, folds, studies)
        page = nested_page.write(studies, search.folder, search.typed, search.folder / RUN)
    log.info("page of the search: %s", page)


def _work(search: "Search", parts: Mapping[str, tuple[optuna.Study, Queue]]) -> None:
    """Carry out the trials of all folds that are this worker's."""
    again = True
    while again:  # a worker that was killed meanwhile has left trials in folds gone through before
        again = False
        for place, (name, (study, queue)) in enumerate(parts.items(), 1):
            log.info("fold %s, %d of %d", name, place, len(parts))
            again = search.work(study, queue) or again
            summary.write(study, queue.folder, search.typed)


def words(queue: Queue, number: int, study_name: str) -> list[str]:
    """The overrides that make a trial a run of one fold, in the fold's folder."""
    directory = queue.folder / str(number)
    return [
        f"protocol.folds='{queue.fold}'",
        f"run.dir='{directory}'",
        f"hydra.sweep.subdir='{queue.fold}/{number}'",
        f"hydra.sweeper.study_name='{study_name}'",
        "hydra.sweeper.pruner=null",  # the trial's one fold is all of it
    ]


def value(run_dir: Path, fold: str, objective: str) -> float | None:
    """The value of a trial: the score of its fold's validation persons, or the network's cost.

    Args:
        run_dir: Run directory of the trial.
        fold: Its fold.
        objective: See `objective` in conf/train.yaml.

    Returns:
        None while the fold is not done.
    """
    if not rundir.is_done(run_dir, fold):
        return None
    manifest = run_files.read_table(run_dir / "manifest.parquet", ["sample_id", "label"])
    classes = stored.read(run_dir / "config.yaml").labels.classes
    scores = results.RunningScore(run_dir, manifest, list(classes))([fold])
    cost = run_dir / "cost.json"
    known = run_files.read_json(cost) if cost.exists() else {}
    return results.objective(scores, known, [objective])[0]


def _assemble(
    folder: Path,
    settings: Settings,
    corpus: Corpus,
    folds: Sequence[Fold],
    studies: Mapping[str, optuna.Study],
) -> None:
    """Make one run of the best trial of each fold, score and show it.

    Raises:
        MerError: If a fold has no trial with a value.
    """
    studies = {name: trials.copy(study) for name, study in studies.items()}
    best = {name: trials.best(study) for name, study in studies.items()}
    nothing = [name for name in best if not best[name]]
    if nothing:
        raise MerError(
            f"no trial of fold {', '.join(nothing)} has a value, so there is no nested run; see "
            f"trials.csv there, mend the cause and give the same command with a higher "
            "search.n_trials."
        )
    run_dir = folder / RUN
    settings = replace(settings, trial=Trial(), run=RunDirectory(str(run_dir)))
    claims.claim(run_dir, settings)
    rundir.write_manifest(run_dir, corpus, folds)
    environment.write(run_dir, settings, corpus.hash)
    entries = []
    costs = []
    for fold in folds:
        trial = best[fold.name][0]
        source = Path(trials.directory(trial))
        entries.append(
            {
                "fold": fold.name,
                "study": studies[fold.name].study_name,
                "trial": trial.number,
                "directory": os.path.relpath(source, run_dir),
                "value": trial.values[0],
                "overrides": trial.params,
                "trials": [
                    {
                        "number": one.number,
                        "state": trials.STATES[one.state],
                        "value": one.values[0] if one.state == TrialState.COMPLETE else None,
                    }
                    for one in trials.shown(studies[fold.name])
                ],
            }
        )
        _copy(source, fold.name, run_dir)
        cost = source / "cost.json"
        costs.append(run_files.read_json(cost) if cost.exists() else {})
    twins.join(run_dir, [run_dir / entry["directory"] for entry in entries])
    direction = trials.directions(next(iter(studies.values())))[0]
    content = {"objective": settings.objective, "direction": direction, "folds": entries}
    write_json(content, run_dir / FILE)
    if len({cost.get("parameters") for cost in costs}) == 1:  # else it is no single network's
        write_json(costs[0], run_dir / "cost.json")
    from mer.training.baseline import write_baseline

    write_baseline(run_dir, settings, sources.dataset(settings, corpus), folds)
    result = results.pool(run_dir, settings)
    _show(entries, str(settings.objective))
    results.show(settings, run_dir, result)


def _copy(trial: Path, fold: str, run_dir: Path) -> None:
    """Put a fold's folder of a trial into the run, in place of an earlier choice."""
    source, target = rundir.fold_folder(trial, fold), rundir.fold_folder(run_dir, fold)
    shutil.rmtree(target, ignore_errors=True)
    new = target.with_name(f".{target.name}")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(source, new, ignore=shutil.ignore_patterns(".*"), copy_function=link_or_copy)
    shutil.copy2(trial / "config.yaml", new / "config.yaml")
    new.rename(target)


def _show(entries: Sequence[Mapping[str, Any]], objective: str) -> None:
    """Print what was chosen for each fold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    keys = list(dict.fromkeys(key for entry in entries for key in entry["overrides"]))
    names = short_names(keys)
    table = Table(
        title=f"Best trial of each fold, by {objective} of its validation persons",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("fold", "trial", objective, *names.values()):
        table.add_column(Text(name), justify="right", overflow="fold")
    for entry in entries:
        shown = [entry["trial"], entry["value"], *(entry["overrides"].get(key) for key in keys)]
        table.add_row(Text(entry["fold"]), *(Text(summary.brief(cell)) for cell in shown))
    terminal.console().print(table)
