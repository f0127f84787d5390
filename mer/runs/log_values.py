"""What every logger says of a run, read from its directory."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mer.metrics import COSTS, SCORES
from mer.runs import run_files
from mer.runs.curves import last_train_loss
from mer.runs.head_columns import MAJORITY, REFERENCES, heads
from mer.runs.rundir import find, fold_folder

if TYPE_CHECKING:
    from mer.runs.observers import Progress

log = logging.getLogger(__name__)


def running(run_dir: Path, progress: "Progress") -> dict[str, float]:
    """What is known after a fold: its cost, its last loss, the scores of the validation persons.

    Returns:
        `folds/done`, `fold/seconds`, `fold/epochs`, `fold/train_loss`, and `val/<head>/<score>`,
        pooled over the finished folds; a key is absent where there is no value.
    """
    values = {
        "folds/done": progress.done,
        "fold/seconds": progress.record["seconds"],
        "fold/epochs": progress.record["epochs"],
        "fold/best_epoch": progress.record.get("best_epoch"),
        "fold/train_loss": last_train_loss(fold_folder(run_dir, progress.fold)),
    }
    for head, scores in progress.validation.items():
        values |= {f"val/{head}/{name}": value for name, value in scores.items()}
    return {key: value for key, value in values.items() if value is not None}


def final(result: dict[str, Any], choosing: bool = False) -> dict[str, float]:
    """All numbers of a complete run.

    Args:
        result: Content of `metrics.json`; without scores while a fold is missing.
        choosing: Whether something is being chosen (`mer.runs.choice`), so that the scores of the
            test persons are left out.

    Returns:
        `test/<head>/<score>` with `_low` and `_high` (95 % interval), of heads also `weighted_f1`,
        `kappa` and `recall/<class>`, and the scores of each dataset as
        `test/<head>/<dataset>/<score>`; of the validation persons, `val/<head>/...` likewise; then
        `seconds`, `parameters` and `latency_ms`. The majority class has its three scores alone.
    """
    values: dict[str, float] = {}
    sides = {"val": "validation"} if choosing else {"test": "heads", "val": "validation"}
    for side, key in sides.items():
        for head, parts in result.get(key, {}).items():
            for part, scores in parts.items():
                if head in REFERENCES and part != "pooled":
                    continue
                prefix = f"{side}/{head}/" + ("" if part == "pooled" else f"{part}/")
                values |= _scores(prefix, head, scores, whole=part == "pooled")
    if "seconds" in result:
        values["seconds"] = result["seconds"]
    cost = result.get("cost", {})
    return values | {name: cost[name] for name in COSTS if name in cost}


def _scores(prefix: str, head: str, scores: dict[str, Any], whole: bool) -> dict[str, float]:
    """The numbers of one head on one part; `whole` if that is all samples."""
    values: dict[str, float | None] = {f"{prefix}{name}": scores[name] for name in SCORES}
    if head != MAJORITY:
        for name in SCORES:
            low, high = scores["intervals"][name]
            values |= {f"{prefix}{name}_low": low, f"{prefix}{name}_high": high}
    if whole and head not in REFERENCES:
        values |= {f"{prefix}{name}": scores.get(name) for name in ("weighted_f1", "kappa")}
        for name, of_class in scores.get("classes", {}).items():
            values[f"{prefix}recall/{name}"] = of_class["recall"]
    return {key: value for key, value in values.items() if value is not None}


def predictions(run_dir: Path) -> pd.DataFrame:
    """One row per sample: who and what it is, what each head said, and whether that is right."""
    path = find(run_dir, "predictions.parquet") or run_dir / "predictions.parquet"
    frame = run_files.read_table(path)
    for head in heads(frame):
        frame[f"{head}_correct"] = frame[head] == frame["label"]
    return frame


def origin(run_dir: Path, macro: Path | None) -> dict[str, Any]:
    """Where a result comes from: package, revision, machine, data, macro weights."""
    entry = run_files.read_json(run_dir / "environment.json", list)[-1]
    kept = ("mer", "git", "data_hash", "python", "platform", "accelerator", "packages")
    weights = None if macro is None else macro_origin(macro)
    return {**{name: entry.get(name) for name in kept}, "macro_weights": weights}


def macro_origin(weights: Path) -> dict[str, Any]:
    """Name, digest, path and scores of the weights of a macro-pretraining."""
    report = weights.with_name("pretraining.json")
    scores = run_files.read_json(report) if report.exists() else {}
    name = weights.parent.name
    return {
        "name": name,
        "digest": name.rpartition("-")[2],
        "path": str(weights),
        **{score: scores[score] for score in SCORES if score in scores},
    }


@contextlib.contextmanager
def careful(what: str, lost: list[str]) -> Iterator[None]:
    """Say that something could not be logged, note it, and go on: the run has it on disk."""
    try:
        yield
    except Exception as error:
        lost.append(what)
        log.error("%s could not be logged: %s: %s", what, type(error).__name__, error)
