"""Checks of choices inside folds: those of `protocol.inner`, and one search per fold."""

import inspect
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mer import metrics
from mer.audit.artefacts import Artefacts, Unavailable
from mer.audit.check_predictions import count, scores
from mer.audit.findings import Findings
from mer.callbacks.head import source_name
from mer.callbacks.svm_head import SVMHead
from mer.config import conversion, stored
from mer.errors import flaw
from mer.metrics import COSTS
from mer.runs import rundir
from mer.runs.head_columns import heads, main_head
from mer.training import inner, pipelines

#: What a nested search writes into the run that it assembles.
FILE = "nested.json"

#: Class of the heads whose fitted settings are compared.
SVM = "mer.callbacks.svm_head.SVMHead"

#: Settings of such a head where its configuration leaves them out.
DEFAULTS = {name: one.default for name, one in inspect.signature(SVMHead).parameters.items()}

#: Seconds for which the database of a search is read.
LONGEST_QUERY = 10.0


def check_inner(run: Artefacts, fold: str, findings: Findings) -> bool:
    """The inner choices of a fold: made on its training persons, the best, and followed.

    Returns:
        Whether the fold has inner choices.
    """
    node = run.config["protocol"].get("inner") or {}
    if not node.get("n_splits"):
        return False
    content = load(rundir.fold_folder(run.run_dir, fold) / inner.FILE, run.run_dir)
    training = {run.person_of[sample] for sample in run.sides(fold)["train"]}
    for number, split in enumerate(content["splits"]):
        train, validation = set(split["train"]), set(split["validation"])
        where = f"fold {fold}, inner split {number}"
        findings.add(f"{where}: {{}} persons on both sides", train & validation)
        outsiders = (train | validation) - training
        findings.add(f"{where}: {{}} persons from outside of the fold's training side", outsiders)
    chosen = inner.made(content["choices"])
    for name, choice in _flat(content["choices"]).items():
        best = choice["candidates"][int(np.argmax(np.round(choice["uf1"], 12)))]
        if choice["chosen"] != best:
            findings.problems.append(
                f"fold {fold}: inner choice of {name} is {choice['chosen']}, the best is {best}"
            )
    if run.weights(fold).provenance.get("inner") != chosen:
        findings.problems.append(f"fold {fold}: the weights do not name the inner choices")
    epochs = int(run.record(fold)["epochs"])
    if chosen.get("epochs", epochs) != epochs:
        findings.problems.append(f"fold {fold} trained {epochs} epochs, not {chosen['epochs']}")
    if "pipeline" in chosen:
        _check_pipeline(run, fold, content, findings)
    return True


def _check_pipeline(
    run: Artefacts, fold: str, content: Mapping[str, Any], findings: Findings
) -> None:
    """Scores of pipelines follow from what training persons were predicted; the best is used."""
    choice, judged = content["choices"]["pipeline"], content["judged"]
    train = run.sides(fold)["train"]
    findings.add(f"fold {fold}: {{}} samples judged pipelines twice", _twice(judged))
    findings.add(
        f"fold {fold}: {{}} samples from outside of its training side judged pipelines",
        set(judged) - train,
    )
    findings.add(f"fold {fold}: {{}} training samples judged no pipeline", train - set(judged))
    names = list(run.config["protocol"]["inner"]["pipelines"])
    if choice["candidates"] != names:
        findings.problems.append(f"fold {fold}: pipelines were judged that the run does not have")
        return
    classes = [str(name) for name in run.config["labels"]["classes"]]
    label_of = dict(zip(run.manifest["sample_id"], run.manifest["label"], strict=True))
    labels = [classes.index(label_of[sample]) for sample in judged if sample in label_of]
    for name, uf1, predicted in zip(names, choice["uf1"], choice["predicted"], strict=True):
        if len(predicted) != len(labels):
            findings.problems.append(f"fold {fold}: pipeline {name} has no prediction of samples")
        elif abs(metrics.scores(labels, predicted, len(classes))["uf1"] - uf1) > 1e-9:
            findings.problems.append(
                f"fold {fold}: the UF1 of pipeline {name} does not follow from its predictions"
            )
    expected = pipelines.settings_of(conversion.read(run.config), str(choice["chosen"]))
    _same(run, fold, rundir.flatten(conversion.to_plain(expected)), findings)
    used = {**conversion.to_plain(expected.input), "cache_gb": None}
    if {**run.weights(fold).provenance["input"], "cache_gb": None} != used:
        findings.problems.append(f"fold {fold}: the input is not that of the chosen pipeline")


def _same(run: Artefacts, fold: str, expected: Mapping[str, Any], findings: Findings) -> None:
    """A fold's own configuration is what its pipeline makes of the run's."""
    settings = rundir.flatten(run.fold_config(fold))
    findings.add(
        f"fold {fold}: {{}} settings are not those of the chosen pipeline",
        (
            key
            for key in {*expected, *settings}
            if expected.get(key) != settings.get(key) and not rundir.is_volatile(key)
        ),
    )


def check_svm(run: Artefacts, fold: str, findings: Findings) -> None:
    """SVMs were fitted with the settings of the fold, and with those that it chose."""
    path = rundir.fold_folder(run.run_dir, fold) / inner.FILE
    chosen = inner.made(load(path, run.run_dir)["choices"]) if path.is_file() else {}
    for key, node in (run.fold_config(fold).get("callbacks") or {}).items():
        if not node or node.get("_target_") != SVM:
            continue
        name = str(node.get("name", "svm"))
        settings = (run.heads(fold).get(name) or {}).get("settings")
        if settings is None:
            findings.problems.append(f"fold {fold}: heads.pt holds no head {name}")
            continue
        expected = {**DEFAULTS, **node, **(chosen.get("svm", {}) if name == "svm" else {})}
        expected["gamma_set"] = expected["gamma"]
        expected["sources"] = [source_name(one) for one in expected["sources"]]
        findings.problems += [
            f"fold {fold}: the head {name} was fitted with {key}={settings[key]}; "
            f"{expected[key]} was {'chosen' if key in chosen.get('svm', {}) else 'set'}"
            for key in ("kernel", "C", "gamma_set", "normalise", "sources", "decision")
            if key in settings and settings[key] != expected[key]
        ]
        gammas = settings["gamma"] if "widths" in settings else [settings["gamma"]]
        meant = expected["gamma_set"]
        if isinstance(meant, int | float) and any(gamma != meant for gamma in gammas):
            findings.problems.append(
                f"fold {fold}: the head {name} has gamma={gammas}, not {meant}"
            )


def _twice(samples: Iterable[str]) -> list[str]:
    return [sample for sample, count in Counter(samples).items() if count > 1]


def _flat(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> choice; thresholds have one choice per head."""
    return {name: choice for name, choice in choices.items() if name != "thresholds"} | {
        f"thresholds of {head}": choice for head, choice in choices.get("thresholds", {}).items()
    }


def check_nested(run: Artefacts, findings: Findings) -> str:
    """Each fold of an assembled run is the best trial of its own search, by validation."""
    content = load(run.run_dir / FILE, run.run_dir)
    objective, higher = str(content["objective"]), content["direction"] == "maximize"
    if objective not in COSTS and not run.config["protocol"].get("validation"):
        findings.problems.append("the searches optimised a score, but nobody validated")
    entries = {str(entry["fold"]): entry for entry in content["folds"]}
    findings.add("{} folds have no search in nested.json", set(run.folds) - set(entries))
    findings.add("{} folds of nested.json are not of this run", set(entries) - set(run.folds))
    database = run.run_dir.resolve().parent / "study.db"
    if not database.is_file():
        findings.gaps.append("the studies of the searches are not in the folder above (study.db)")
    total = 0
    for fold, entry in entries.items():
        tried = {int(trial["number"]): trial["value"] for trial in entry["trials"]}
        done = {number: float(value) for number, value in tried.items() if value is not None}
        total += len(done)
        if database.is_file():
            with findings.attempt():
                stored = _stored(database, str(entry["study"]))
                if {n: round(v, 9) for n, v in stored.items()} != {
                    n: round(v, 9) for n, v in done.items()
                }:
                    findings.problems.append(
                        f"fold {fold}: the study has other values of its trials"
                    )
                    done = stored
        # Numbers rise, so of equal trials the first is the best.
        best = min(done, key=lambda number: (-done[number] if higher else done[number], number))
        chosen = int(entry["trial"])
        if chosen != best:
            findings.problems.append(
                f"fold {fold} uses trial {chosen} ({objective} {done.get(chosen, np.nan):.4g}), "
                f"the best by its validation persons is trial {best} ({done[best]:.4g})"
            )
        with findings.attempt():
            _followed(run, fold, entry["overrides"], findings)
        if objective not in COSTS and fold in run.done:
            with findings.attempt():
                value = validation_scores(run, [fold])[objective]
                if not np.isclose(value, float(entry["value"]), rtol=0, atol=1e-9):
                    findings.problems.append(
                        f"fold {fold} is not of trial {chosen}: its validation persons' "
                        f"{objective} is {value:.4g}, nested.json says {entry['value']:.4g}"
                    )
    return (
        f"each of {len(entries)} folds is the best trial of its own search, {total} trials in all, "
        f"by {objective} of its validation persons alone."
    )


def _followed(run: Artefacts, fold: str, overrides: Mapping[str, Any], findings: Findings) -> None:
    """A fold's own configuration holds what was searched, and is the run's otherwise."""
    path = rundir.fold_folder(run.run_dir, fold) / "config.yaml"
    if not path.is_file():
        raise Unavailable(str(path.relative_to(run.run_dir)), "is missing", False)
    settings = rundir.flatten(stored.read(path))
    for key, value in overrides.items():
        if key in settings and str(settings[key]).lower() != str(value).strip("'\"").lower():
            findings.problems.append(
                f"fold {fold}: {key} is {settings[key]}, nested.json says {value}"
            )
    base = rundir.flatten(run.config)
    searched = tuple(key.replace("/", ".") for key in overrides)
    findings.add(
        f"fold {fold}: {{}} settings differ from the run's and were not searched",
        (
            key
            for key in {*base, *settings}
            if base.get(key) != settings.get(key)
            and not rundir.is_volatile(key)
            and not any(key == name or key.startswith(f"{name}.") for name in searched)
        ),
    )


def validation_scores(run: Artefacts, folds: list[str]) -> dict[str, float]:
    """UF1, UAR and accuracy of the validation persons, of the main head, pooled over some folds.

    Raises:
        Unavailable: If there are no validation persons.
    """
    frames = [frame for frame in map(run.fold_validation, folds) if frame is not None]
    if not frames:
        raise Unavailable(
            f"folds/{folds[0] if folds else ''}/validation.parquet", "is missing", False
        )
    table = pd.concat(frames)
    label_of = dict(zip(run.manifest["sample_id"], run.manifest["label"], strict=True))
    table["label"] = table["sample_id"].map(label_of)
    classes = [str(name) for name in run.config["labels"]["classes"]]
    return scores(count(table, main_head(heads(table)), classes))


def _stored(path: Path, study: str) -> dict[int, float]:
    """Number -> value of the complete trials of a study."""
    with read_study(path) as database:
        rows = database.execute(
            "SELECT t.number, v.value FROM trials AS t "
            "JOIN studies AS s ON s.study_id = t.study_id "
            "JOIN trial_values AS v ON v.trial_id = t.trial_id "
            "WHERE s.study_name = ? AND t.state = 'COMPLETE'",
            (study,),
        ).fetchall()
    if not rows:
        raise Unavailable("../study.db", f"has no complete trial of {study}", False)
    return {int(number): float(value) for number, value in rows}


@contextmanager
def read_study(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a search's database for reading; what is wrong with it is `Unavailable`.

    A query that takes longer than `LONGEST_QUERY` is ended, since a view may have no end.
    """
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as database:
            end = time.monotonic() + LONGEST_QUERY
            database.set_progress_handler(lambda: time.monotonic() > end, 10_000)
            yield database
    except sqlite3.Error as error:
        raise Unavailable("../study.db", f"cannot be read ({error})", True) from error


def load(path: Path, run_dir: Path) -> dict[str, Any]:
    """Read a JSON file of a run.

    Raises:
        Unavailable: If it is missing or damaged.
    """
    name = str(path.relative_to(run_dir))
    if not path.is_file():
        raise Unavailable(name, "is missing", False)
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise Unavailable(name, f"cannot be read ({flaw(error)})", True) from error
