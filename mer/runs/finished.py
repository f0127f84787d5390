"""A run directory from Python: settings, scores, predictions, and the network of each fold."""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from mer.config import trust as trusted
from mer.errors import MerError
from mer.models.checkpoints import load_module
from mer.models.modules import MicroFinetuneModule
from mer.runs import rundir


class Run:
    """A run directory, read as far as it is asked for.

    Args:
        directory: Run directory, complete or not.
        trust: Packages that its files may name beside the listed classes of mer.

    Raises:
        MerError: If the directory holds no run.
    """

    def __init__(self, directory: str | Path, trust: Iterable[str] = ()) -> None:
        self.directory, self.trust = Path(directory), tuple(trust)
        if not (self.directory / "config.yaml").is_file():
            raise MerError(
                f"{directory} is no run directory: it has no config.yaml. Name one, such as "
                "runs/demo."
            )

    def __repr__(self) -> str:
        """Name the directory and say how far the run is."""
        return f"Run({str(self.directory)!r}, {self.metrics.get('status', 'not started')})"

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """Configuration of the run, as plain values."""
        config: dict[str, Any] = trusted.as_plain(trusted.read(self.directory / "config.yaml"))
        return config

    @functools.cached_property
    def metrics(self) -> dict[str, Any]:
        """Content of `metrics.json`; empty before any fold was trained."""
        path = rundir.find(self.directory, "metrics.json")
        metrics: dict[str, Any] = {} if path is None else json.loads(path.read_text())
        return metrics

    @functools.cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per tested sample, with the columns of every head.

        Raises:
            MerError: If the run is not complete.
        """
        path = rundir.find(self.directory, "predictions.parquet")
        if path is None:
            raise MerError(
                f"{self.directory} has no pooled predictions: folds are missing. Give the same "
                f"command again with run.dir={self.directory}."
            )
        return pd.read_parquet(path)

    @property
    def folds(self) -> list[str]:
        """Names of the folds."""
        frame = pd.read_parquet(self.directory / "manifest.parquet")
        return list(dict.fromkeys(frame["fold"]))

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """Pooled scores: head -> `uf1`, `uar`, `accuracy`; empty while a fold is missing."""
        heads = self.metrics.get("heads", {})
        names = ("uf1", "uar", "accuracy")
        return {head: {n: parts["pooled"][n] for n in names} for head, parts in heads.items()}

    def module(self, fold: str) -> MicroFinetuneModule:
        """Load the network of a fold on the CPU, in evaluation mode.

        Raises:
            MerError: If the fold is not done, or its checkpoint names other code.
        """
        path = rundir.fold_folder(self.directory, fold) / "model.ckpt"
        if not path.is_file():
            raise MerError(f"{self.directory} has no fold {fold} that is done; folds: {self.folds}")
        module = load_module(MicroFinetuneModule, path, self.trust)
        return module.eval()


def load_run(directory: str | Path, trust: Iterable[str] = ()) -> Run:
    """Open a run directory, such as `runs/demo`.

    Args:
        directory: Run directory, complete or not.
        trust: Packages that its files may name beside the listed classes of mer.

    Raises:
        MerError: If the directory holds no run.
    """
    return Run(directory, trust)
