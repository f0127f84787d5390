"""What a W&B run gets of a run: tables, curves, pictures and artifacts."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mer.runs import log_values, run_files
from mer.runs.head_columns import heads
from mer.runs.observers import RunContext
from mer.runs.pictures import examples
from mer.runs.rundir import fold_folder

if TYPE_CHECKING:
    import wandb


def define_axes(run: Any) -> None:
    """Say against what each value is drawn; none of them is a result of the run."""
    for pattern, step in (
        ("val/*", "folds/done"),
        ("fold/*", "folds/done"),
        ("curves/*", "curves/epoch"),
        ("fold_curves/*", "curves/epoch"),
        ("pretrain/*", "pretrain/epoch"),
    ):
        run.define_metric(pattern, step_metric=step, summary="none")


def log_tables(run: Any, context: RunContext, choosing: bool) -> None:
    """Log folds, predictions, and a confusion matrix per head.

    Args:
        run: The W&B run.
        context: The run.
        choosing: Whether something is being chosen: then nothing of the test persons is logged.
    """
    import wandb

    values: dict[str, Any] = {
        "tables/folds": _table(run_files.read_csv(context.run_dir / "folds.csv"))
    }
    if not choosing:
        classes = context.corpus.classes
        predictions = log_values.predictions(context.run_dir)
        number = {name: place for place, name in enumerate(classes)}
        values["tables/predictions"] = _table(predictions)
        for head in heads(predictions):
            values[f"confusion/{head}"] = wandb.plot.confusion_matrix(
                y_true=predictions["label"].map(number).tolist(),
                preds=predictions[head].map(number).tolist(),
                class_names=classes,
                title=f"{head}, pooled over all folds",
            )
    run.log(values)


def log_examples(run: Any, context: RunContext, count: int) -> None:
    """Log pictures of the surest wrong and right predictions."""
    import wandb

    predictions = log_values.predictions(context.run_dir)
    shown = examples(context.dataset, predictions, count)
    pictures = [wandb.Image(example.picture, caption=example.caption) for example in shown]
    run.log({"examples": pictures})


def log_weights(run: Any, context: RunContext, metadata: Mapping[str, Any]) -> None:
    """Log networks and heads of all folds; the files are named where they lie, not copied."""
    import wandb

    artifact = wandb.Artifact(f"weights-{run.id}", "model", metadata=dict(metadata))
    for fold in context.folds:
        folder = fold_folder(context.run_dir, fold.name)
        for name in ("model.ckpt", "heads.pt"):
            artifact.add_file(
                str(folder / name), f"{fold.name}/{name}", skip_cache=True, policy="immutable"
            )
    run.log_artifact(artifact)


def pretraining_artifact(
    weights: Path, metadata: Mapping[str, Any] | None, whole: bool
) -> "wandb.Artifact":
    """The result of macro-pretraining as an artifact.

    Args:
        weights: The checkpoint; `pretraining.json` lies beside it.
        metadata: Scores and digest.
        whole: Whether the weights belong to it, or their settings and scores alone.
    """
    import wandb

    name = f"macro-{_plain(weights.parent.name)}"
    artifact = wandb.Artifact(name, "model", metadata=dict(metadata or {}))
    for path in [weights.with_name("pretraining.json"), *([weights] if whole else [])]:
        artifact.add_file(str(path), path.name, skip_cache=True, policy="immutable")
    return artifact


def use_artifact(run: Any, artifact: "wandb.Artifact", online: bool) -> None:
    """Declare an artifact as an input of a W&B run.

    W&B's own method refuses to do so offline; what it calls writes down that `wandb sync` shall.
    """
    if online:
        run.use_artifact(artifact)
    else:
        run._log_artifact(artifact, is_user_created=True, use_after_commit=True)


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[None]:
    """Let W&B keep copies of tables in a folder; its default is in the home directory."""
    before = os.environ.get("WANDB_DATA_DIR")
    if before is None:
        os.environ["WANDB_DATA_DIR"] = str(folder.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]


def _table(frame: pd.DataFrame) -> "wandb.Table":
    import wandb

    plain = frame.astype(object).where(frame.notna(), None)
    return wandb.Table(columns=list(frame), data=plain.to_numpy().tolist())


def _plain(name: str) -> str:
    """A name of the characters that W&B allows in one."""
    return re.sub(r"[^\w.-]", "-", name)[:100]
