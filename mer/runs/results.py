"""Pooling and scoring: from the folds' predictions to one table.

Predictions meet labels by sample id alone, and there is no score while a fold or a sample is
missing.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mer import metrics
from mer.config.conversion import to_plain
from mer.config.settings import Settings
from mer.errors import raise_all
from mer.files import write_csv, write_json, write_parquet
from mer.protocols import EVERYBODY
from mer.runs import calibration, checksums, label_access, run_files, terminal, untested
from mer.runs.head_columns import BASELINE, MAJORITY, REFERENCES, file_of, heading, heads, main_head
from mer.runs.rundir import UNTESTED, find, fold_folder, is_done, mark, marked
from mer.spotting.apexes import annotation_error


def pool(run_dir: Path, settings: Settings) -> dict[str, Any]:
    """Pool the folds' predictions by sample id and score them.

    Returns:
        The content of `metrics.json`. While a fold is missing, `status` is `incomplete` and there
        are no scores; of a model on everybody it is `untested`.

    Raises:
        MerError: If a finished fold lacks a sample, or predicts one twice or one of another fold.
    """
    with FileLock(run_dir / ".lock"):  # of several processes, the last one sees all folds
        return _pool(run_dir, settings)


def _pool(run_dir: Path, settings: Settings) -> dict[str, Any]:
    manifest = run_files.read_table(run_dir / "manifest.parquet", ["sample_id", "label", "fold"])
    names = list(dict.fromkeys(manifest["fold"]))
    missing = [name for name in names if not is_done(run_dir, name)]
    result: dict[str, Any] = {
        "status": "incomplete" if missing else "complete",
        "protocol": settings.protocol.name,
        "selection": settings.selection,
        "seed": settings.seed,
        "classes": list(settings.labels["classes"]),
        "folds": len(names),
        "missing_folds": missing,
    }
    if not missing:
        records = [run_files.read_json(fold_folder(run_dir, name) / "fold.json") for name in names]
        _add_to_folds(run_dir, records)
        result["seconds"] = round(sum(record["seconds"] for record in records), 1)
        cost = run_dir / "cost.json"
        result["cost"] = run_files.read_json(cost) if cost.exists() else {}
    if not missing and settings.protocol.name == EVERYBODY:
        result |= untested.result(run_dir, settings)
    elif not missing:
        frames = [
            run_files.read_table(path, ["sample_id", "fold"])
            for name in names
            if (path := find(fold_folder(run_dir, name), "predictions.parquet"))
        ]
        predictions = join(pd.concat(frames, ignore_index=True), manifest)
        write_parquet(predictions, run_dir / marked("predictions.parquet", to_plain(settings)))
        label_access.record(run_dir, predictions, "run")
        result |= label_access.state(run_dir)
        result["heads"] = score_with_baseline(
            run_dir, predictions, manifest, result["classes"], settings.seed
        )
        if (apexes := annotation_error(manifest)) is not None:
            result["apex_error"] = apexes._asdict()
        config = to_plain(settings)
        judged = calibration.judge_run(run_dir, config, predictions)
        calibration.write(run_dir, config, {head: one.calibration for head, one in judged.items()})
        result["fold_diagnostics"] = fold_diagnostics(predictions, result["classes"])
        if (frame := calibration.validation(run_dir, names, manifest)) is not None:
            result["validation"] = score(frame, result["classes"], settings.seed, per_dataset=False)
    write_json(result, run_dir / marked("metrics.json", to_plain(settings)))
    if missing:
        (run_dir / checksums.FILE).unlink(missing_ok=True)  # those of before do not fit
    else:
        checksums.write(run_dir, result)
    return result


def score_with_baseline(
    run_dir: Path,
    predictions: pd.DataFrame,
    manifest: pd.DataFrame,
    classes: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Score the heads, and the baseline of a run that has one."""
    names = heads(predictions)
    if path := find(run_dir, file_of(BASELINE)):
        baseline = join(run_files.read_table(path, ["sample_id", "fold", BASELINE]), manifest)
        columns = baseline[["sample_id", BASELINE]]
        predictions = predictions.merge(columns, on="sample_id", validate="one_to_one")
        names.append(BASELINE)
    return score(predictions, classes, seed, names=names)


class RunningScore:
    """Scores of the validation persons, pooled over the folds that are done."""

    def __init__(self, run_dir: Path, table: pd.DataFrame, classes: Sequence[str]) -> None:
        self.run_dir = run_dir
        self.number = {name: place for place, name in enumerate(classes)}
        self._labels = table.set_index("sample_id")["label"]
        self._validated: dict[str, pd.DataFrame] = {}

    def __call__(self, done: Sequence[str]) -> dict[str, dict[str, float]]:
        """Score some finished folds; every sample counts once.

        Returns:
            Head -> `uf1`, `uar`, `accuracy`, the main head first; empty without validation persons.
        """
        for name in done:
            if name not in self._validated:
                self._validated[name] = self._read(name)
        frames = [self._validated[name] for name in done if len(self._validated[name])]
        if not frames:
            return {}
        frame = pd.concat(frames, ignore_index=True)
        weights = metrics.once_each(frame["sample_id"].tolist())
        true = frame["sample_id"].map(self._labels).map(self.number)
        return {
            head: metrics.scores(true, frame[head].map(self.number), len(self.number), weights)
            for head in heads(frame)
        }

    def _read(self, name: str) -> pd.DataFrame:
        path = fold_folder(self.run_dir, name) / "validation.parquet"
        return run_files.read_table(path) if path.exists() else pd.DataFrame()


def objective(
    validation: dict[str, dict[str, float]], cost: dict[str, Any], names: Sequence[str]
) -> list[float]:
    """What a sweep optimises: scores of the validation persons, or the cost of the network.

    Args:
        validation: Head -> score -> value; the first head's are taken.
        cost: Content of `cost.json`.
        names: Out of `uf1`, `uar`, `accuracy`, `parameters`, `latency_ms`.
    """
    scores = validation.get(main_head(validation), {})
    return [float({**scores, **cost}[name]) for name in names]


def join(predictions: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """Join predictions to the manifest by sample id; rows never meet labels by their order.

    Raises:
        MerError: If an id is missing, unknown, repeated, or predicted by another fold than planned.
    """
    expected, found = set(manifest["sample_id"]), predictions["sample_id"]
    problems = []
    for text, ids in (
        ("not predicted", expected - set(found)),
        ("predicted but not in the manifest", set(found) - expected),
        ("predicted more than once", set(found[found.duplicated()])),
    ):
        if ids:
            problems.append(f"{len(ids)} samples {text}: {', '.join(sorted(ids)[:3])}")
    planned = manifest.set_index("sample_id")["fold"]
    moved = predictions[predictions["fold"] != found.map(planned)]["sample_id"].tolist()
    if moved and not problems:
        problems.append(f"{len(moved)} samples predicted by another fold: {', '.join(moved[:3])}")
    raise_all("The pooled predictions do not match the manifest:", problems)
    own = [c for c in predictions.columns if c not in manifest.columns or c == "sample_id"]
    return manifest.merge(predictions[own], on="sample_id", validate="one_to_one")


def score(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    seed: int,
    per_dataset: bool = True,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Score every head of a table of predictions, pooled and per dataset.

    A sample that several folds predict, as validation samples are, counts once: each of its
    predictions by its share.

    Args:
        predictions: `sample_id`, `label`, `dataset`, `person`, and the columns of the heads.
        classes: Class names in order.
        seed: Seed of the bootstrap.
        per_dataset: Whether to add the scores of each dataset.
        names: Columns with predicted classes; by default those of all heads.

    Returns:
        Head -> part (`pooled` or a dataset) -> scores, 95 % intervals, counts, confusion matrix,
        scores per class and, where samples come several times, the number of `predictions`. The
        head `majority` always says the most frequent label, and has the expected scores of
        guessing in `chance`.
    """
    counts = predictions["label"].value_counts()
    absent = [name for name in classes if name not in counts.index]
    raise_all("Classes without a single labelled sample cannot be scored:", absent)
    predictions = predictions.reset_index(drop=True)
    ids = predictions["sample_id"]
    weights = metrics.once_each(ids.tolist()) if ids.duplicated().any() else None
    number = {name: place for place, name in enumerate(classes)}
    columns = {head: predictions[head] for head in names or heads(predictions)}
    columns[MAJORITY] = pd.Series(counts.index[0], index=predictions.index)
    parts = {"pooled": predictions.index}
    if per_dataset:
        parts |= {name: part.index for name, part in predictions.groupby("dataset")}
    scored: dict[str, Any] = {}
    for head, column in columns.items():
        for part, rows in parts.items():
            true = predictions.loc[rows, "label"].map(number).to_numpy()
            pred = column.loc[rows].map(number).to_numpy()
            persons = predictions.loc[rows, "person"].tolist()
            share = None if weights is None else weights[rows]
            judged = (true, pred, len(classes), share)
            intervals = metrics.bootstrap_intervals(
                true, pred, persons, len(classes), seed=seed, weights=share
            )
            scored.setdefault(head, {})[part] = {
                **metrics.scores(*judged),
                **metrics.more_scores(*judged),
                "intervals": {name: list(bounds) for name, bounds in intervals.items()},
                "samples": int(ids[rows].nunique()),
                "persons": len(set(persons)),
                "confusion": metrics.confusion(*judged).tolist(),
                "classes": metrics.per_class(true, pred, classes, share),
            }
            if share is not None:
                scored[head][part]["predictions"] = len(rows)
            if head == MAJORITY:
                counts_here = np.bincount(true, minlength=len(classes)).tolist()
                scored[head][part]["chance"] = metrics.chance(counts_here, len(classes))
    return scored


def fold_diagnostics(predictions: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Averages over folds, head by head; see `metrics.fold_diagnostics` why they are no results."""
    number = {name: place for place, name in enumerate(classes)}
    true, folds = predictions["label"].map(number), predictions["fold"].tolist()
    return {
        head: metrics.fold_diagnostics(true, predictions[head].map(number), folds, len(classes))
        for head in heads(predictions)
    }


def _add_to_folds(run_dir: Path, records: list[dict[str, Any]]) -> None:
    path = run_dir / "folds.csv"
    folds = run_files.read_csv(path)
    folds = folds.drop(columns=["seconds", "epochs", "best_epoch"], errors="ignore")
    write_csv(folds.merge(pd.DataFrame(records), on="fold"), path)


def to_table(result: dict[str, Any], title: str) -> Table:
    """Lay out pooled scores as a table for the terminal: a row per head and part."""
    heading_lines = Text(title)
    for sentence in result.get("warnings", []):
        heading_lines.append(f"\n!! {sentence}")
    for sentence in result.get("remarks", []):
        heading_lines.append(f"\n{sentence}", style="yellow")
    table = Table(title=heading_lines, title_justify="left", caption_justify="left")
    table.add_column("head")
    table.add_column("data")
    for name in ("samples", "persons", "UF1", "UAR", "accuracy"):
        table.add_column(name, justify="right")
    for head, parts in result["heads"].items():
        for place, (part, values) in enumerate(parts.items()):
            cells = [
                f"{values[name]:.3f} [{low:.2f}, {high:.2f}]"
                for name in metrics.SCORES
                for low, high in [values["intervals"][name]]
            ]
            counts = [str(values["samples"]), str(values["persons"])]
            table.add_row(heading(head) if place == 0 else "", part, *counts, *cells)
        table.add_section()
    pooled = {head: parts["pooled"] for head, parts in result["heads"].items()}
    chance = pooled[MAJORITY]["chance"]["prior"]
    table.add_row("guessing", "pooled", "", "", *(f"{chance[name]:.3f}" for name in metrics.SCORES))
    table.caption = "\n".join(
        f"{heading(head)}: weighted F1 {values['weighted_f1']:.3f}, kappa {values['kappa']:.3f}"
        for head, values in pooled.items()
        if head not in REFERENCES
    )
    return table


def show(settings: Settings, run_dir: Path, result: dict[str, Any]) -> None:
    """Print the table of a run, or what is missing."""
    screen = terminal.console()
    if result["status"] == "incomplete":
        missing = result["missing_folds"]
        screen.print(
            f"{len(missing)} of {result['folds']} folds are missing ({', '.join(missing[:3])}): "
            f"no score. Start the same command with run.dir={run_dir} to do them."
        )
        return
    if result["status"] == UNTESTED:
        _show_untested(screen, run_dir, result)
        return
    title = f"{settings.data.name}, {settings.protocol.name}, "
    title += f"{settings.backbone.name} on {settings.input.name}"
    title += ", macro-pretrained" if settings.macro.enabled else ", not macro-pretrained"
    screen.print(to_table(result, f"{title}: pooled scores and 95 % intervals over persons"))
    screen.print(f"Run directory: {run_dir}", soft_wrap=True)
    if not mark(to_plain(settings)) and settings.protocol.name != "custom":
        screen.print(f"A model on everybody: {untested.command(run_dir)}", soft_wrap=True)


def _show_untested(screen: Console, run_dir: Path, result: dict[str, Any]) -> None:
    """Say that a model on everybody has no score, and whose scores stand for it."""
    screen.print(f"Scores: {untested.NO_SCORES}.")
    if like := result["like"]:
        head = main_head(like["heads"])
        values = like["heads"][head]
        low, high = values["intervals"]["uf1"]
        screen.print(
            f"For its settings stands {os.path.normpath(run_dir / like['run'])}: {heading(head)} "
            f"UF1 {values['uf1']:.3f} [{low:.2f}, {high:.2f}] under {like['protocol']}.",
            soft_wrap=True,
        )
    screen.print(f"Run directory: {run_dir}", soft_wrap=True)
    screen.print(f"One file to use: mer export {run_dir}", soft_wrap=True)
