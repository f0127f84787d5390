"""The comparison itself: a row per run, what differs between them, and what forbids comparing."""

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mer.compare.candidates import NO_SCORE, Parts, Run
from mer.config.short_names import short_names
from mer.errors import MerError
from mer.metrics import QUIET, SCORES, chance, scores_from_confusion
from mer.runs.head_columns import BASELINE

#: What the rows can be sorted by, and whether the smallest value comes first.
SORTS = {
    **dict.fromkeys((*SCORES, "validation"), False),
    **dict.fromkeys(("seconds", "parameters", "latency_ms", "name"), True),
}

#: How a note begins that forbids comparing.
FORBIDDEN = "Not comparable"

#: Said where something is to be chosen, and there is nothing to choose by.
NO_VALIDATION = (
    "None of these runs has validation persons, so nothing but test persons could choose among "
    "them: train with protocol.validation=0.2, say."
)

#: Value of a key that a run's configuration does not have.
ABSENT = "absent"

COUNTS = ["samples", "persons", "parameters"]


class Comparison(NamedTuple):
    """Runs side by side.

    Attributes:
        part: `pooled` or a dataset.
        test: Whether the scores on test persons are in it.
        frame: A row per run: `name`, `status`, `group` (at W&B), `head`, each score with its `_low`
            and `_high`, `baseline` (UF1 of an SVM on the input itself), `validation` (UF1 of the
            same head on the validation persons, pooled), `samples`, `persons`, `seconds`,
            `parameters`, `latency_ms`, `warnings` (why its score is none to report), and a column
            per differing key.
        keys: Differing key -> its short name.
        chance: Scores of guessing on these samples; empty where the runs do not share them.
        notes: Sentences: what must not be reported, what not be compared blindly, and scores over
            seeds.
    """

    part: str
    test: bool
    frame: pd.DataFrame
    keys: dict[str, str]
    chance: str
    notes: list[str]


def to_choose_from(runs: Sequence[Run]) -> bool:
    """Whether there is a choice among these runs: several are candidates of a sweep or search."""
    return sum(run.candidate for run in runs) > 1


def side_by_side(
    runs: Sequence[Run],
    head: str | None = None,
    part: str = "pooled",
    sort: str | None = None,
    test: bool = True,
) -> Comparison:
    """Compare runs by the scores that they hold.

    Args:
        runs: Runs of `read`.
        head: Name of a head, or `majority`; by default the first head of each run, and of a file
            what it predicts. There is no choice of the better one, since the test persons would
            make it.
        part: `pooled` or the name of a dataset.
        sort: One of `SORTS`; scores fall, costs rise, and runs without a value come last. None
            takes `uf1`, without test scores `validation`.
        test: Whether to show scores on test persons, by which nothing may be chosen.

    Raises:
        MerError: If there are complete runs, but none has such a head or part, or if the order
            would tell the test scores that are not shown.
    """
    if not test and sort in SCORES:
        raise MerError(f"--sort {sort} sorts by test scores, which are not shown: add --test")
    sort = sort or ("uf1" if test else "validation")
    complete = [run for run in runs if run.complete]
    without = [run.name for run in complete if not run.scores(head, part)[1]]
    if complete and len(without) == len(complete):
        heads = {name: parts for run in complete for name, parts in run.metrics["heads"].items()}
        raise MerError(
            f"No run has scores of the head {head or 'of each run'}, part {part}. There are the "
            f"heads {', '.join(heads)} and the parts "
            f"{', '.join(dict.fromkeys(part for parts in heads.values() for part in parts))}."
        )
    keys = differing_keys(runs)
    rows = [_row(run, head, part) | {key: _cell(run, key) for key in keys} for run in runs]
    frame = pd.DataFrame(rows)
    if not test:
        frame[[column for column in frame if _is_test(column)]] = None
    frame[COUNTS] = frame[COUNTS].astype("Int64")
    if sort != "name":  # the order in which they were read
        frame = frame.sort_values(sort, ascending=SORTS[sort], kind="stable", ignore_index=True)
    notes = [f"{run.shown} {reason}." for run in runs for reason in run.warnings]
    notes += [f"{run.name}: {remark}." for run in runs for remark in run.remarks]
    notes += [f"{run.name} is the mean of {_list(run.members)}." for run in runs if run.members]
    notes += grounds(runs, part)
    if without:
        notes.append(f"No score of this head on this part: {_list(without)}.")
    if test:
        notes += over_seeds(runs, head, part)
    elif frame["validation"].isna().all():
        notes.append(NO_VALIDATION)
    chance = guessing(complete, part) if test else ""
    return Comparison(part, test, frame, keys, chance, notes)


def _is_test(column: str) -> bool:
    """Whether a column holds scores on test persons."""
    return column == "baseline" or any(
        column in (name, f"{name}_low", f"{name}_high") for name in SCORES
    )


def _row(run: Run, head: str | None, part: str) -> dict[str, Any]:
    chosen, values = run.scores(head, part)
    row = {"name": run.name, "status": run.status, "group": run.group}
    row |= {"head": chosen if values else None}
    for name in SCORES:
        low, high = values["intervals"][name] if values else (None, None)
        row |= {name: values.get(name), f"{name}_low": low, f"{name}_high": high}
    validation = run.metrics.get("validation", {}).get(chosen, {}).get("pooled", {})
    cost = run.metrics.get("cost", {})
    return row | {
        "baseline": run.scores(BASELINE, part)[1].get("uf1") if not run.is_file else None,
        "validation": validation.get("uf1"),
        "samples": values.get("samples"),
        "persons": values.get("persons"),
        "seconds": run.metrics.get("seconds"),
        "parameters": cost.get("parameters"),
        "latency_ms": cost.get("latency_ms"),
        "warnings": "; ".join(run.warnings) or None,
    }


def differing_keys(runs: Sequence[Run]) -> dict[str, str]:
    """Keys whose values are not the same in all runs that use them, each with its short name."""
    runs = [run for run in runs if run.has_settings]
    everything = dict.fromkeys(key for run in runs for key in run.config)
    return short_names(
        [
            key
            for key in everything
            if len({_text(_cell(run, key)) for run in runs if run.uses(key)}) > 1
        ]
    )


def _cell(run: Run, key: str) -> Any:
    """The value as it is typed after `mer train`; numbers stay numbers; None where it has no part.

    Nor has it in a file or mean.
    """
    if not (run.has_settings and run.uses(key)):
        return None
    value = run.config.get(key, ABSENT)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def grounds(runs: Sequence[Run], part: str) -> list[str]:
    """Say in which respect runs were not judged on the same ground, and which ones."""
    notes = []
    trained = [run for run in runs if not run.is_file and run.status != NO_SCORE]
    for what, members, value in (("classes", runs, _classes), ("protocol", trained, _protocol)):
        groups = _groups(members, value)
        if len(groups) > 1:
            notes.append(f"{FORBIDDEN}, different {what}: {_spell(groups)}.")
    started = [run for run in runs if run.samples]
    tested = _groups(started, lambda run: _tested(run, part))
    if len(tested) > 1:
        sizes = "; ".join(f"{len(rows)} in {_list(names)}" for rows, names in tested.items())
        shared = len(frozenset.intersection(*tested))
        notes.append(
            f"{FORBIDDEN}, different samples, persons or labels: {sizes}; {shared} in every run."
        )
    for names in _groups(started, lambda run: run.samples).values():
        notes += _pictures([run for run in started if run.name in names])
    timed = [run for run in runs if run.metrics.get("cost")]
    machines = _groups(timed, _machine)
    if len(machines) > 1:
        notes.append(f"Latencies are of different machines: {_spell(machines)}.")
    busy = [run.name for run in timed if (run.metrics["cost"].get("other_cores") or 0) >= QUIET]
    if busy:
        notes.append(f"Latencies measured while other processes were busy: {_list(busy)}.")
    foreign = [run.name for run in runs if run.is_file]
    if foreign:
        notes.append(f"How the predictions of {_list(foreign)} were made is not known here.")
    return notes


def _pictures(runs: Sequence[Run]) -> list[str]:
    """Compare the data hashes of runs over the same samples."""
    hashes = _groups([run for run in runs if run.data_hash], lambda run: run.data_hash)
    if len(hashes) < 2:
        return []
    if any(key.startswith(("data.", "prepare.")) for key in differing_keys(runs)):
        return [
            f"The same samples, from other data or prepare settings (data hash): {_spell(hashes)}."
        ]
    return [
        f"{FORBIDDEN}, the data changed between the runs, though no setting did (data hash): "
        f"{_spell(hashes)}."
    ]


def guessing(runs: Sequence[Run], part: str) -> str:
    """Say what predictions score that know nothing of the samples, but how many each class has."""
    tested = _groups(runs, lambda run: (_classes(run), _tested(run, part)))
    if len(tested) != 1:
        return ""
    label = Counter(row[3] for row in _tested(runs[0], part))
    counts = [label[name] for name in runs[0].config["labels.classes"]]
    if not sum(counts):
        return ""
    always = np.zeros((len(counts), len(counts)))
    always[:, np.argmax(counts)] = counts
    prior, constant = chance(counts, len(counts))["prior"], scores_from_confusion(always)
    drawn, same = (
        f"UF1 {found['uf1']:.3f}, UAR {found['uar']:.3f}, accuracy {found['accuracy']:.3f}"
        for found in (prior, constant)
    )
    return (
        f"Guessing by class frequency gives {drawn} on average; always the commonest class {same}."
    )


def _tested(run: Run, part: str) -> frozenset[Parts]:
    return frozenset(row for row in run.samples if part in ("pooled", row[1]))


def _classes(run: Run) -> str:
    return _text(run.config.get("labels.classes"))


def _protocol(run: Run) -> str:
    """The protocol and how it splits; how validation persons serve is part of the method."""
    own = {
        key: value
        for key, value in run.config.items()
        if key.startswith("protocol.") and not key.startswith("protocol.inner")
    }
    name = str(own.pop("protocol.name"))
    own.pop("protocol.validation", None)
    settings = [f"{key.removeprefix('protocol.')}={_text(own[key])}" for key in sorted(own)]
    return f"{name} ({', '.join(settings)})" if settings else name


def _machine(run: Run) -> str:
    cost = run.metrics["cost"]
    return f"{cost.get('device')} with {cost.get('threads')} threads"


def over_seeds(runs: Sequence[Run], head: str | None, part: str) -> list[str]:
    """Sum up runs that differ in nothing but their seed."""

    def apart_from_seed(run: Run) -> Hashable:
        config = {
            key: _text(value)
            for key, value in run.config.items()
            if key != "seed" and run.uses(key)
        }
        return run.scores(head, part)[0], run.samples, frozenset(config.items())

    notes = []
    scored = {r.name: r for r in runs if r.has_settings and r.scores(head, part)[1]}
    for names in _groups(scored.values(), apart_from_seed).values():
        seeds = [scored[name].config["seed"] for name in names]
        if len(set(seeds)) > 1:
            values = [scored[name].scores(head, part)[1]["uf1"] for name in names]
            notes.append(
                f"{_list(names)}: seeds {', '.join(map(str, sorted(seeds)))}: UF1 mean "
                f"{sum(values) / len(values):.3f} (min {min(values):.3f}, max {max(values):.3f})."
            )
    return notes


def _groups(runs: Iterable[Run], value: Callable[[Run], Hashable]) -> dict[Any, list[str]]:
    """Value -> names of the runs that have it, the largest group first."""
    groups: dict[Any, list[str]] = {}
    for run in runs:
        groups.setdefault(value(run), []).append(run.name)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def _spell(groups: dict[Any, list[str]]) -> str:
    return "; ".join(f"{value} in {_list(names)}" for value, names in groups.items())


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 5 else ""
    return ", ".join(names[:4] if more else names) + more
