"""Observers of a run: loggers, and the reporter that lets a sweep end a hopeless trial early.

An observer sees what the run directory holds. Like everything else, it sees no test label before
all folds are done.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer.config.settings import Settings
from mer.data.corpus import Corpus
from mer.data.dataset import UnifiedDataset
from mer.protocols import Fold

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunContext:
    """What a run is, before its first fold.

    Args:
        settings: Settings of the run.
        run_dir: Its directory; `config.yaml`, `environment.json` and `manifest.parquet` are there.
        corpus: The micro samples.
        dataset: The same samples as inputs of the network.
        folds: All folds of the protocol in running order, also those that are done already.
        macro: Checkpoint of macro-pretraining, or None.
        heads: Names of the heads, the main one first, then the softmax and the zero-shot scores.
        zero_shot: Probabilities of the classes by the pretrained network itself, for every sample
            of the dataset, or None. Shape: (N, K).
        after_epoch: Called by this process after every epoch of a fold; None in workers.
    """

    settings: Settings
    run_dir: Path
    corpus: Corpus
    dataset: UnifiedDataset
    folds: Sequence[Fold]
    macro: Path | None
    heads: Sequence[str] = ("softmax",)
    zero_shot: NDArray[np.float64] | None = None
    after_epoch: Callable[[], None] | None = None


@dataclass(frozen=True)
class Progress:
    """What is known after a fold.

    Args:
        fold: Name of the fold that has just been finished.
        done: Finished folds of the run, this one included, also those of other processes, but not
            those that this run's workers have finished before their turn.
        total: Folds of the protocol.
        record: The fold's `fold.json`: seconds, epochs, best epoch.
        validation: Head -> `uf1`, `uar`, `accuracy` of the validation persons, pooled over the
            finished folds; empty without validation persons.
    """

    fold: str
    done: int
    total: int
    record: dict[str, Any]
    validation: dict[str, dict[str, float]]


@dataclass(frozen=True)
class PretrainingEpoch:
    """What is known after an epoch of macro-pretraining.

    Args:
        settings: Settings of the run that needs the weights.
        run_dir: Its directory.
        folder: Folder of the weights in the cache; its name ends with their digest.
        epoch: Number of the epoch, from 0.
        values: What `mer.runs.curves.NAMES` names: `train/loss`, `val/uf1` and so on.
        error: What has ended the pretraining early; None while it goes on.
    """

    settings: Settings
    run_dir: Path
    folder: Path
    epoch: int
    values: dict[str, float]
    error: BaseException | None = None


class Observer:
    """Watches one run in one process. Every method may be left out by a subclass."""

    def check(self) -> None:
        """Called before anything is read; raises `MerError` if this observer cannot work."""

    def claimed(self) -> None:
        """Called once the directory is the run's; nothing is written into it before."""

    def pretraining(self, epoch: PretrainingEpoch) -> None:
        """Called before `start`, after every epoch of macro-pretraining.

        Weights that are kept are not trained again; `macro` of the run leads to their history.
        """

    def start(self, run: RunContext) -> None:
        """Called once, before the first fold; also when the run is continued."""

    def epoch(self, fold: str, epoch: int, values: dict[str, float]) -> None:
        """Called for every epoch of a fold while it is trained, in this process or in a worker.

        A continued run calls it for the epochs of its finished folds, too, and again for those of a
        fold that is trained again.

        Args:
            fold: Name of the fold.
            epoch: Number of the epoch, from 0.
            values: What `mer.runs.curves.NAMES` names: `train/loss`, `val/uf1` and so on.
        """

    def fold(self, progress: Progress) -> None:
        """Called for every fold that this process and its workers finished, in running order."""

    def end(self, result: dict[str, Any]) -> None:
        """Called with the content of `metrics.json`, complete or not, when no fold is left."""

    def fail(self, error: BaseException) -> None:
        """Called instead of `end` when the run stops early, by an error, a pruner or Ctrl-C."""


@contextlib.contextmanager
def watch(observers: Sequence[Observer], run: RunContext) -> Iterator[None]:
    """Start the observers; call `fail` of each when the body fails, and raise its error again."""
    started: list[Observer] = []
    try:
        for observer in observers:
            started.append(observer)
            observer.start(run)
        yield
    except BaseException as error:
        for observer in started:
            try:
                observer.fail(error)
            except Exception:  # the run's own error is the one to show
                log.exception("%s could not record the failure", type(observer).__name__)
        raise
