"""The baseline of a run: an SVM on the input itself, in the folds of the run.

It is what `backbone=pixels` gives: the pixels of each sample, z-scored with constants of a fold's
training samples, and an RBF SVM (C=1, balanced) on them. Most networks have to be good to beat it.
No label of a tested sample is read here; predictions and labels meet when the folds are pooled.
"""

import functools
import logging
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer import processes
from mer.callbacks.head import fit_heads
from mer.callbacks.svm_head import SVMHead
from mer.config.conversion import to_plain
from mer.config.settings import Settings
from mer.data.dataset import PART, UnifiedDataset
from mer.files import write_parquet
from mer.protocols import Fold
from mer.runs import rundir
from mer.runs.head_columns import BASELINE, file_of
from mer.training.predictions import WHO

log = logging.getLogger(__name__)

FILE = file_of(BASELINE)

#: Side in pixels that larger inputs are reduced to.
LARGEST = 32

#: Multiplications of one core in a second; from so many seconds on other processes help, and above
#: so many there is no baseline.
SPEED, HELP_FROM, MOST_SECONDS = 3e9, 4.0, 600.0


class Task(NamedTuple):
    """Samples for SVMs: pixels (N, D) float32, class numbers (N,), and the number of classes."""

    pixels: NDArray[np.float32]
    labels: NDArray[np.int64]
    n_classes: int


class Split(NamedTuple):
    """Positions of the samples that an SVM is fitted on, and of those that it scores."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def write_baseline(
    run_dir: Path, settings: Settings, dataset: UnifiedDataset, folds: Sequence[Fold]
) -> None:
    """Write `baseline.parquet` of a run whose folds are all done, unless it is there."""
    if not _is_due(run_dir, settings, folds):
        return
    splits = [Split(*map(dataset.positions, (fold.train, fold.test))) for fold in folds]
    task = Task(pixels(dataset), dataset.labels, len(dataset.classes))
    if (minutes := seconds(task, splits) / 60) > MOST_SECONDS / 60:
        log.warning("no SVM on the input itself: it would take about %.0f minutes", minutes)
        return
    alone = settings.trainer.folds_at_once == 1
    columns = [f"{BASELINE}_{name}" for name in dataset.classes]
    names = np.asarray(dataset.classes, dtype=object)
    frames = []
    for fold, split, scores in zip(folds, splits, fit(task, splits, alone), strict=True):
        frame = dataset.table[list(WHO)].iloc[split.test].reset_index(drop=True)
        frame[columns] = scores
        frames.append(frame.assign(**{BASELINE: names[scores.argmax(axis=1)], "fold": fold.name}))
    name = rundir.marked(FILE, to_plain(settings))
    write_parquet(pd.concat(frames, ignore_index=True), run_dir / name)


def _is_due(run_dir: Path, settings: Settings, folds: Sequence[Fold]) -> bool:
    """Whether a run has a baseline that is not there yet and needs nothing more."""
    return (
        settings.baseline is not None
        and settings.trial.number is None
        and settings.backbone.target != "mer.models.pixels.Pixels"
        and rundir.find(run_dir, FILE) is None
        and all(rundir.is_done(run_dir, fold.name) for fold in folds)
    )


def pixels(dataset: UnifiedDataset) -> NDArray[np.float32]:
    """Inputs in rows, reduced by area to `LARGEST` pixels a side. Shape: (N, D), float32."""
    size = min(dataset.settings.size, LARGEST)
    rows = []
    for part in np.array_split(np.arange(len(dataset)), -(-len(dataset) // PART)):
        for image in dataset.images(part):
            if len(image) > size:
                image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
            rows.append(image.ravel())
    return np.stack(rows)


def seconds(task: Task, splits: Sequence[Split]) -> float:
    """Estimate how long one core takes."""
    return float(task.pixels.shape[1]) * sum(len(split.train) ** 2 for split in splits) / SPEED


def fit(task: Task, splits: Sequence[Split], alone: bool = False) -> list[NDArray[np.float64]]:
    """Fit an SVM on the training samples of each split and score its test samples.

    Returns:
        Scores of each split's test samples, as `SVMHead.scores` gives them. Shape: (B, K) each.
    """
    alone = alone or multiprocessing.parent_process() is not None
    helpers = 0 if alone or seconds(task, splits) < HELP_FROM else processes.cores() - 1
    work = functools.partial(_fit, task)
    pieces = [(number, *split) for number, split in enumerate(splits)]
    results = processes.run(
        [work] * helpers, pieces, here=work, name=lambda piece: f"the SVM of split {piece[0]}"
    )
    by_number = {piece[0]: scores for piece, scores in results}
    return [by_number[number] for number in range(len(splits))]


def _fit(
    task: Task, piece: tuple[int, NDArray[np.int64], NDArray[np.int64]]
) -> NDArray[np.float64]:
    head, (_, train, test) = SVMHead(), piece
    rows = task.pixels.astype(np.float64)
    fit_heads([head], rows[train], task.labels[train], task.n_classes)
    return head.scores(rows[test])
