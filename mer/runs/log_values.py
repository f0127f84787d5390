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
from mer.runs.head_columns import heads
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


def final(result: dict[str, Any]) -> dict[str, float]:
    """All numbers of a complete run.

    Args:
        result: Content of `metrics.json`; without scores while a fold is missing.

    Returns:
        `test/<head>/<score>` with `_low` and `_high` (95 % interval), the same as
        `test/<head>/<dataset>/<score>` and, of the validation persons, `val/<head>/<score>`; then
        `seconds`, `parameters` and `latency_ms`.
    """
    values: dict[str, float] = {}
    for side, key in (("test", "heads"), ("val", "validation")):
        for head, parts in result.get(key, {}).items():
            for part, scores in parts.items():
                prefix = f"{side}/{head}/" + ("" if part == "pooled" else f"{part}/")
                for name in SCORES:
                    low, high = scores["intervals"][name]
                    values |= {
                        f"{prefix}{name}": scores[name],
                        f"{prefix}{name}_low": low,
                        f"{prefix}{name}_high": high,
                    }
    if "seconds" in result:
        values["seconds"] = result["seconds"]
    cost = result.get("cost", {})
    return values | {name: cost[name] for name in COSTS if name in cost}


def predictions(run_dir: Path) -> pd.DataFrame:
    """One row per sample: who and what it is, what each head said, and whether that is right."""
    path = find(run_dir, "predictions.parquet") or run_dir / "predictions.parquet"
    frame = run_files.read_table(path)
    for head in heads(frame):
        frame[f"{head}_correct"] = frame[head] == frame["label"]
    return frame


def origin(run_dir: Path, macro: Path | None) -> dict[str, Any]:
    """Where a result comes from: package, revision, machine, data, macro weights.

    Args:
        run_dir: Run directory; the last entry of its `environment.json` counts.
        macro: Checkpoint of macro-pretraining, or None.
    """
    entry = run_files.read_json(run_dir / "environment.json", list)[-1]
    kept = ("mer", "git", "data_hash", "python", "platform", "accelerator", "packages")
    weights = None
    if macro is not None:
        report = macro.with_name("pretraining.json")
        scores = run_files.read_json(report) if report.exists() else {}
        weights = {
            "name": macro.parent.name,
            "digest": macro.parent.name.rpartition("-")[2],
            "path": str(macro),
            **{name: scores[name] for name in SCORES if name in scores},
        }
    return {**{name: entry.get(name) for name in kept}, "macro_weights": weights}


@contextlib.contextmanager
def careful(what: str, lost: list[str]) -> Iterator[None]:
    """Say that something could not be logged, and go on: the run has it on disk.

    Args:
        what: Named in the message.
        lost: Gets `what` in case.
    """
    try:
        yield
    except Exception as error:
        lost.append(what)
        log.error("%s could not be logged: %s: %s", what, type(error).__name__, error)
