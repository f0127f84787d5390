"""Checks of choices: the epoch, looks at the test labels, searches; and of completeness."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mer.audit.artefacts import Artefacts, Unavailable
from mer.audit.check_nested import (
    FILE,
    check_inner,
    check_nested,
    check_svm,
    load,
    read_study,
    validation_scores,
)
from mer.audit.check_predictions import count, scores
from mer.audit.findings import Findings, check, some
from mer.metrics import COSTS
from mer.runs import label_access
from mer.runs.head_columns import main_head
from mer.runs.run_folders import is_pruned
from mer.runs.rundir import find, mark


@check(
    "selection",
    "an epoch chosen on the test persons lifts even noise far above chance",
)
def check_selection(run: Artefacts, findings: Findings) -> str:
    """No epoch was chosen by labels of test persons, as config, weights and histories tell."""
    selection = str(run.config["selection"])
    if selection == "oracle":
        findings.problems.append(
            "selection=oracle: each fold's epoch was chosen on its test persons"
        )
    elif selection not in ("last", "validation"):
        findings.gaps.append(f"selection={selection} is not known to this audit")
    _marks(run, selection, findings)
    traced = nested = 0
    for fold in run.done:
        with findings.attempt():
            traced += _epoch(run, fold, selection, findings)
        with findings.attempt():
            nested += check_inner(run, fold, findings)
        with findings.attempt():
            check_svm(run, fold, findings)
        with findings.attempt():
            provenance = run.weights(fold).provenance
            if provenance.get("selection", selection) != selection:
                findings.problems.append(
                    f"fold {fold}: the weights say selection={provenance['selection']}, the "
                    f"configuration {selection}"
                )
            monitor = provenance.get("monitor")
            if monitor is not None and not str(monitor).startswith("val/"):
                findings.problems.append(f"fold {fold}: the epoch was chosen by {monitor}")
    what = "the last epoch" if selection == "last" else "the best epoch of the validation persons"
    each = "the network" if run.tests_nobody else "every fold"
    if nested:
        which = "it" if run.tests_nobody else f"{nested} folds"
        return (
            f"{each} keeps {what} of those that were chosen; {which} chose on inner splits of the "
            "own training persons, and kept the best candidates."
        )
    if selection == "last" and not traced:
        return f"{each} keeps {what}, and its history holds no score to choose by."
    return (
        f"{each} keeps {what}; its history equals the validation persons' predictions in "
        f"{traced} of {len(run.done)} folds."
    )


def _marks(run: Artefacts, selection: str, findings: Findings) -> None:
    """The names of scores and predictions say whether an oracle chose, or a leaky split."""
    files = [*run.run_dir.glob("*.*"), *run.run_dir.glob("folds/*/*.*")]
    judged = [path for path in files if path.name.startswith(("predictions", "metrics"))]
    judged = [path for path in judged if path.suffix in (".parquet", ".json")]
    due = mark(run.config).removeprefix("-")
    wrong = [path for path in judged if path.stem.partition("-")[2] != due]
    findings.add(
        f"{{}} files are named as if selection were not {selection}, or the split another",
        (str(path.relative_to(run.run_dir)) for path in wrong),
    )


def _epoch(run: Artefacts, fold: str, selection: str, findings: Findings) -> bool:
    """Compare the kept epoch with the history, and the history with who stands on which side.

    Returns:
        Whether the history's value at the kept epoch is that of the validation persons.
    """
    record, history = run.record(fold), run.history(fold)
    seen = [name for name in history if str(name).startswith("test/")]
    findings.add(f"fold {fold}: {{}} metrics of test persons during training", seen)
    epochs, best = int(record["epochs"]), record.get("best_epoch")
    if selection == "last" and best is not None:
        findings.problems.append(f"fold {fold} keeps epoch {best}, though selection=last")
    if selection != "last" and (best is None or not 0 <= int(best) < epochs):
        findings.problems.append(f"fold {fold}: the best epoch is {best}, of {epochs}")
        return False
    values = history["val/uf1"].dropna() if "val/uf1" in history else pd.Series(dtype=float)
    if not run.sides(fold)["validation"]:
        if len(values) or selection == "validation":
            findings.problems.append(
                f"fold {fold} has no validation persons, but values of some: they are the test's"
            )
        return False
    by_epoch = values.groupby(history["epoch"]).last()
    kept = int(best) if best is not None else epochs - 1
    if kept not in by_epoch.index:
        raise Unavailable(f"folds/{fold}/metrics.csv", f"lacks val/uf1 of epoch {kept}", False)
    if best is not None and by_epoch[kept] < by_epoch.max():
        findings.problems.append(
            f"fold {fold} keeps epoch {kept}, the best of the validation persons is "
            f"{int(by_epoch.idxmax())}"
        )
    return _equals_validation(run, fold, float(by_epoch[kept]), findings)


def _equals_validation(run: Artefacts, fold: str, value: float, findings: Findings) -> bool:
    """Whether a score of the history is that of the validation predictions, not the test's."""
    frames = {"validation": run.fold_validation(fold), "test": run.fold_predictions(fold)}
    if frames["validation"] is None:
        raise Unavailable(f"folds/{fold}/validation.parquet", "is missing", False)
    label_of = dict(zip(run.manifest["sample_id"], run.manifest["label"], strict=True))
    classes = [str(name) for name in run.config["labels"]["classes"]]
    same = {}
    for side, frame in frames.items():
        labelled = frame.assign(label=frame["sample_id"].map(label_of))
        matrix = count(labelled, "softmax", classes)
        same[side] = bool(np.isclose(scores(matrix)["uf1"], value, rtol=0, atol=1e-5))
    if same["test"] and not same["validation"]:
        findings.problems.append(
            f"fold {fold}: val/uf1 of the kept epoch is the test persons' score"
        )
    return same["validation"]


@check(
    "label access",
    "who looks at the test score, changes something and looks again, has chosen on it",
)
def check_label_access(run: Artefacts, findings: Findings) -> str:
    """The stored predictions are the first ones that were compared with the test labels."""
    looks, log = run.looks, label_access.FILE
    how = [str(entry["how"]) for entry in looks]
    digests = [entry["sha256"] for entry in looks]
    digest = label_access.digest_of(run.predictions)
    if not looks:
        findings.gaps.append(f"{log} holds no look at the test labels")
    elif digest not in digests:
        findings.problems.append(
            f"the predictions are not among those that {log} says were compared with the labels"
        )
    elif place := digests.index(digest):
        findings.problems.append(label_access.late(how[:place]))
    if digest in digests[:1]:
        findings.remarks += label_access.later(how[1:])
    stated = run.metrics.get("looks", len(looks))
    if stated != len(looks):
        findings.problems.append(
            f"metrics.json counts {stated} looks at the test labels, {log} {len(looks)}"
        )
    return "the stored predictions are the first that were compared with the test labels."


@check(
    "search",
    "settings chosen by the test score of many trials: the best of many is high without any merit",
)
def check_search(run: Artefacts, findings: Findings) -> str:
    """A trial of a search reported the score of validation persons."""
    number = (run.config.get("trial") or {}).get("number")
    nested = bool((run.config.get("search") or {}).get("nested"))
    if (run.run_dir / FILE).exists():
        return check_nested(run, findings)
    if number is None and nested:
        findings.gaps.append(f"a nested search chose per fold, and {FILE} is missing")
        return ""
    if number is None:
        return _several(run, findings)
    objective = run.config["objective"]
    names = objective if isinstance(objective, list) else [objective]
    if set(names) - set(COSTS) and not run.config["protocol"].get("validation"):
        findings.problems.append(
            "the search optimised a score, but there were no validation persons"
        )
        return ""
    path = run.run_dir.resolve().parents[int(nested)] / "study.db"  # a fold has a folder of trials
    if not path.is_file():
        findings.gaps.append("the study of this trial is not in the folder above (study.db)")
        return ""
    state, stored, total = _trial(path, int(number), run.run_dir)
    if state != "COMPLETE":
        findings.gaps.append(f"the study says of trial {number}: {state.lower()}")
        return ""
    validation, cost = run.metrics.get("validation") or {}, run.metrics.get("cost") or {}
    if nested:  # a run of one fold is not pooled
        validation = {"main": {"pooled": validation_scores(run, run.done)}}
        cost = load(run.run_dir / "cost.json", run.run_dir)
    reported = _values(validation, cost, names)
    if not np.allclose(stored, reported, rtol=0, atol=1e-9, equal_nan=True):
        tested = [
            _values({head: parts}, {}, names)
            for head, parts in run.metrics.get("heads", {}).items()
        ]
        leaked = any(np.isclose(stored, values, rtol=0, atol=1e-9).any() for values in tested)
        source = (
            "which is the score of the test persons" if leaked else "which this run does not have"
        )
        findings.problems.append(
            f"the study stores {some(map(str, stored))} for trial {number}, {source}; the "
            f"validation persons' is {some(map(str, reported))}"
        )
    return (
        f"trial {number} of {total} reported {some(map(str, names))} of the validation persons; "
        "the best of many is still optimistic."
    )


def _several(run: Artefacts, findings: Findings) -> str:
    """Whether a run that is no trial has its settings from a search, or is one of a sweep."""
    varied = (run.config.get("trial") or {}).get("varied")
    if varied:
        findings.remarks.append(
            f"this run is one of a sweep over {some(map(str, varied))}: the best of several by "
            "their test scores is optimistic"
        )
    elif (run.run_dir.resolve().parent / "optimization_results.yaml").is_file():
        findings.remarks.append(
            "this run lies in the folder of a search: if its settings were found there, they were "
            "chosen by persons who are tested in other folds, and its score is optimistic"
        )
    return "this run is no trial of a search."


def _values(validation: dict[str, Any], cost: dict[str, Any], names: list[str]) -> list[float]:
    scores_of = validation.get(main_head(validation), {}).get("pooled", {})
    values = {**scores_of, **cost}
    return [float(values.get(name, "nan")) for name in names]


def _trial(path: Path, number: int, run_dir: Path) -> tuple[str, list[float], int]:
    """State and values of a trial, and the number of trials of its study."""
    with read_study(path) as database:
        rows = database.execute(
            "SELECT trial_id, study_id, state, "
            "(SELECT value_json FROM trial_user_attributes AS a "
            "WHERE a.trial_id = t.trial_id AND a.key = 'directory') "
            "FROM trials AS t WHERE number = ?",
            (number,),
        ).fetchall()
        depth = len(run_dir.resolve().parts) - len(path.parent.parts)
        folder = run_dir.resolve().parts[-depth:]
        trials = [row for row in rows if Path((row[3] or "").strip('"')).parts[-depth:] == folder]
        if not trials:
            raise Unavailable("../study.db", f"has no trial {number} of this folder", False)
        trial, study, state, _ = trials[0]
        values = database.execute(
            "SELECT value FROM trial_values WHERE trial_id = ? ORDER BY objective", (trial,)
        ).fetchall()
        total = database.execute(
            "SELECT COUNT(*) FROM trials WHERE study_id = ?", (study,)
        ).fetchone()[0]
    return str(state), [float("nan") if v is None else float(v) for (v,) in values], int(total)


@check("complete", "there is no headline score while folds are missing")
def check_complete(run: Artefacts, findings: Findings) -> str:
    """Every fold is done and scored."""
    missing = [fold for fold in run.folds if fold not in run.done]
    if find(run.run_dir, "metrics.json") is None and is_pruned(run.run_dir):
        findings.gaps.append("no headline score: a search pruned this trial")
        return ""
    if run.metrics.get("status") != "complete":
        findings.gaps.append(
            f"no headline score: {len(missing)} of {len(run.folds)} folds are missing"
            if missing
            else "no headline score: the run was not pooled"
        )
    elif missing:
        findings.add("status is complete, but {} folds have no predictions", missing)
    elif not run.metrics.get("heads"):
        findings.problems.append("status is complete, but metrics.json holds no score")
    return f"all {len(run.folds)} folds are done."
