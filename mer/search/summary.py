"""What a search has found so far: two files that are rewritten after every trial, and a report."""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState
from rich import box
from rich.table import Table
from rich.text import Text

from mer.config.short_names import short_names
from mer.files import csv_cell, write_text
from mer.runs import terminal
from mer.search import commands, gain, trials
from mer.search.commands import Typed

#: Rows of the table on the terminal.
BEST = 10


def write(study: optuna.Study, sweep_dir: Path, typed: Typed) -> None:
    """Write `trials.csv` and `optimization_results.yaml`, each atomically.

    Keys of the latter that mean the same as in Hydra's published Optuna plugin have its names.

    Args:
        study: The study of the search.
        sweep_dir: Directory of the search.
        typed: What was typed for it.
    """
    study = trials.copy(study)
    table = rows(study)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]) if table else ["number"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in table)
    write_text(text.getvalue(), sweep_dir / "trials.csv")

    found: dict[str, Any] = {"name": "optuna"}
    entries: list[dict[str, Any]] = [
        {
            "params": trial.params,
            "values": [float(value) for value in trial.values],
            "trial": trial.number,
            "directory": trials.directory(trial),
            "command": commands.of_search(study, trial, typed, sweep_dir)[0].line,
        }
        for trial in trials.best(study)
    ]
    if len(study.directions) > 1:
        found["solutions"] = entries
    elif entries:
        first = entries[0]
        found["best_params"], found["best_value"] = first["params"], first["values"][0]
        found["best_trial"] = first["trial"]
        found["directory"] = first["directory"]
        steps = commands.of_search(study, trials.best(study)[0], typed, sweep_dir)
        found["commands"] = {step.name: step.line for step in steps}
    default = trials.default(study)
    if default is not None and default.state == TrialState.COMPLETE:
        values = [float(value) for value in default.values]
        found["default"] = {"trial": default.number, "values": values}
    counts = Counter(trials.kind(trial) for trial in trials.shown(study))
    found["n_trials"] = len(table)
    found["counts"] = {kind: counts[kind] for kind in trials.KINDS}
    dumped = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=1_000_000)
    write_text(dumped, sweep_dir / "optimization_results.yaml")


def rows(study: optuna.Study) -> list[dict[str, Any]]:
    """One row per trial, as in `trials.csv`; None where there is nothing."""
    found, names = trials.shown(study), trials.objectives(study)
    columns = ["value"] if len(names) == 1 else [f"value_{name}" for name in names]
    keys = trials.parameters(found)
    table = []
    for trial in found:
        # Optuna gives pruned trials a value as well, but it is one of their first folds alone.
        values = trial.values if trial.state == TrialState.COMPLETE else [None] * len(names)
        row = {
            "number": trial.number,
            "state": trials.STATES[trial.state],
            "outcome": trials.reason(trial) if trial.state.is_finished() else "",
            **dict(zip(columns, values, strict=True)),
            "seconds": trials.seconds(trial),
            "folds": trials.folds(trial),
            **{key: trials.value(trial, key) for key in keys},
            "directory": trials.directory(trial),
        }
        table.append(row)
    return table


def show(study: optuna.Study, sweep_dir: Path, typed: Typed) -> None:
    """Print what a search has found: the best trials, those without a value, how to go on.

    Args:
        study: The study of the search.
        sweep_dir: Directory of the search.
        typed: What was typed for it.
    """
    study = trials.copy(study)
    console = terminal.console()

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    say(f"Search {study.study_name} in {sweep_dir}: {count(study)}.")
    best = trials.best(study)
    if best:
        console.print(_to_table(study, sweep_dir))
    else:
        say("No trial is complete yet, so there is no best one.")
    for kind in trials.KINDS[1:-1]:
        listed = [trial for trial in trials.shown(study) if trials.kind(trial) == kind]
        if listed:
            say(f"{kind.capitalize()} ({len(listed)}):")
        for trial in listed:
            why = " ".join(trials.reason(trial).split()).removeprefix(f"{kind} ")
            say(f"  trial {trial.number}: {why}  ({trials.directory(trial) or 'no directory'})")
    if not best:
        return
    for sentence in gain.sentences(study):
        say(sentence)
    first = best[0]
    what = f"Trial {first.number}, the best"
    if len(study.directions) > 1:
        what += f" in {trials.objectives(study)[0]} (others: optimization_results.yaml)"
    say(f"{what}, is in {trials.directory(first)}. What to type next, in any folder:")
    for step in commands.of_search(study, first, typed, sweep_dir):
        say(f"{step.does}:")
        say(f"  {step.line}")
    for place, name in enumerate(trials.objectives(study)):
        found = trials.importances(study, place)
        if isinstance(found, dict):
            names = short_names(list(found))
            shares = ", ".join(f"{names[key]} {share:.2f}" for key, share in found.items())
            found = f"Importance of the parameters for {name}: {shares}"
        say(found)
    say(trials.caution(study))


def count(study: optuna.Study) -> str:
    """Say how many trials there are in which state."""
    found = trials.shown(study)
    states = Counter(trials.STATES[trial.state] for trial in found)
    parts = ", ".join(f"{states[name]} {name}" for name in trials.STATES.values())
    return f"{trials.plural(len(found), 'trial')}: {parts}"


def brief(value: Any) -> str:
    """Write a value for a table: about four digits of a number, nothing for None."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def place(trial: FrozenTrial, sweep_dir: Path) -> str:
    """Directory of a trial, relative to that of the search where it is inside."""
    path = trials.directory(trial)
    inside = path and Path(path).is_relative_to(sweep_dir.resolve())
    return str(Path(path).relative_to(sweep_dir.resolve())) if inside else path


def _to_table(study: optuna.Study, sweep_dir: Path) -> Table:
    several = len(study.directions) > 1
    listed = trials.best(study) if several else trials.complete(study)[:BEST]
    objectives = trials.objectives(study)
    keys = [
        key
        for key in trials.parameters(listed)
        if len({repr(trials.value(trial, key)) for trial in trials.complete(study)}) > 1
    ]
    names = short_names(keys)
    title = "Pareto front: no other trial is better in all" if several else "Best trials"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    headers = [
        f"{name}, {direction[:3]}."
        for name, direction in zip(objectives, trials.directions(study), strict=True)
    ]
    for header in ("trial", *headers, *names.values(), "seconds"):
        table.add_column(Text(header), justify="right", overflow="fold")
    table.add_column("directory", overflow="fold")
    for trial in listed:
        shown = [trial.number, *trial.values, *(trials.value(trial, key) for key in keys)]
        cells = [*map(brief, shown), brief(trials.seconds(trial)), place(trial, sweep_dir)]
        table.add_row(*(Text(cell) for cell in cells))
    return table
