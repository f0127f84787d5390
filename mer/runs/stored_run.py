"""A run directory from Python: settings, scores, predictions, and the network of each fold."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from mer.config import stored
from mer.config import trust as trusted
from mer.datasets.index import Remark
from mer.errors import MerError
from mer.metrics import SCORES
from mer.runs import checksums, label_access, log_values, run_files
from mer.runs.head_columns import MAJORITY, REFERENCES, heading
from mer.runs.head_columns import heads as head_columns
from mer.runs.run_folders import no_run
from mer.runs.rundir import find, fold_folder, is_done

if TYPE_CHECKING:
    from mer.models.modules import MicroFinetuneModule


class Run:
    """A run directory, complete or not; each file is read once, when it is asked for.

    Raises:
        MerError: If the directory holds no run. Later, if a file in it is damaged.
    """

    def __init__(self, directory: str | Path, trust: Iterable[str] = ()) -> None:
        self.directory, self.trust = Path(directory), tuple(trust)
        if not (self.directory / "config.yaml").is_file():
            raise MerError(no_run(self.directory))

    def __repr__(self) -> str:
        """Name the directory and say how far the run is."""
        return f"Run({str(self.directory)!r}, {self.metrics.get('status', 'not started')})"

    @cached_property
    def config(self) -> dict[str, Any]:
        """Configuration of the run, as plain values."""
        config: dict[str, Any] = trusted.as_plain(self._config)
        return config

    @cached_property
    def _config(self) -> DictConfig:
        return run_files.read(self.directory / "config.yaml", stored.read, DictConfig)

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the configuration by its dotted key."""
        value = OmegaConf.select(self._config, key)
        return default if value is None else value

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Content of `metrics.json`; empty before any fold was trained."""
        path = find(self.directory, "metrics.json")
        if path is None:
            return {}
        content: dict[str, Any] = run_files.read_json(path)
        if content.get("heads") and MAJORITY not in content["heads"]:
            raise MerError(f"{path} is damaged (no {MAJORITY!r} in it): {run_files.mend(path)}")
        return content

    @property
    def complete(self) -> bool:
        """Whether there are scores and the predictions that they belong to."""
        return (
            self.metrics.get("status") == "complete"
            and "heads" in self.metrics
            and self.manifest is not None
            and find(self.directory, "predictions.parquet") is not None
        )

    @property
    def synthetic(self) -> bool:
        """Whether the faces are generated ones."""
        return bool(self.get("data.generate"))

    @property
    def classes(self) -> list[str]:
        """Class names in order."""
        return [str(name) for name in self.get("labels.classes", [])]

    @cached_property
    def manifest(self) -> pd.DataFrame | None:
        """Every sample that must be tested; None before a run has got that far."""
        path = self.directory / "manifest.parquet"
        return run_files.read_table(path) if path.exists() else None

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per tested sample, with the columns of every head and `<head>_correct`.

        Raises:
            MerError: If the run is not complete.
        """
        if find(self.directory, "predictions.parquet") is None:
            raise MerError(
                f"{self.directory} has no pooled predictions: folds are missing. Give the same "
                f"command again with run.dir={self.directory}."
            )
        frame = run_files.read(self.directory, log_values.predictions, pd.DataFrame)
        classes = self.classes
        if lost := sorted(set(self.heads) - set(head_columns(frame))):
            raise MerError(
                f"{self.directory}: its predictions are damaged (none of the head {lost[0]}). Copy "
                "the run again."
            )
        for name in ("label", *head_columns(frame)):
            if strange := sorted(set(map(str, frame[name])) - set(classes)):
                raise MerError(
                    f"{self.directory}: its predictions are damaged ({name} is {strange[0]}; the "
                    f"classes are {', '.join(classes)}). Copy the run again."
                )
        return frame

    @cached_property
    def most_probable(self) -> pd.Series:
        """The softmax's likeliest class of each prediction; thresholds may let another one win."""
        columns = [f"softmax_{name}" for name in self.classes]
        return self.predictions[columns].idxmax(axis=1).str.removeprefix("softmax_")

    @cached_property
    def confidence(self) -> pd.Series:
        """Probability of the softmax's likeliest class."""
        return self.predictions[[f"softmax_{name}" for name in self.classes]].max(axis=1)

    @property
    def heads(self) -> dict[str, str]:
        """Heads that predicted and what tables call them, the one that counts first."""
        return {head: heading(head) for head in self.all_scores if head not in REFERENCES}

    @property
    def inner(self) -> dict[str, Any] | None:
        """The node `protocol.inner`; None where nothing was chosen inside the folds."""
        return dict(self.get("protocol.inner")) if self.get("protocol.inner.n_splits") else None

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """Pooled scores: head -> `uf1`, `uar`, `accuracy`; empty while a fold is missing."""
        parts = {head: found["pooled"] for head, found in self.all_scores.items()}
        return {head: {name: found[name] for name in SCORES} for head, found in parts.items()}

    @property
    def all_scores(self) -> dict[str, dict[str, Any]]:
        """Scores of each head and reference by part; empty for an incomplete run."""
        return dict(self.metrics.get("heads", {}))

    @property
    def parts(self) -> list[str]:
        """`pooled`, then the datasets."""
        return list(self.all_scores[MAJORITY])

    @cached_property
    def folds(self) -> list[str]:
        """Names of all folds."""
        return [] if self.manifest is None else list(dict.fromkeys(self.manifest["fold"]))

    @cached_property
    def done(self) -> list[str]:
        """Names of the folds that are finished."""
        return [name for name in self.folds if is_done(self.directory, name)]

    def module(self, fold: str) -> "MicroFinetuneModule":
        """Load the network of a fold on the CPU, in evaluation mode.

        Raises:
            MerError: If the fold is not done, or its checkpoint names other code.
        """
        from mer.models.checkpoints import load_module
        from mer.models.modules import MicroFinetuneModule

        path = fold_folder(self.directory, fold) / "model.ckpt"
        if not path.is_file():
            raise MerError(f"{self.directory} has no fold {fold} that is done; folds: {self.folds}")
        return load_module(MicroFinetuneModule, path, self.trust).eval()

    @cached_property
    def dropped(self) -> list[Remark]:
        """What was dropped or mended."""
        path = self.directory / "dropped.csv"
        if not path.exists():
            return []
        return run_files.read(path, _remarks, list)

    @cached_property
    def environment(self) -> list[dict[str, Any]]:
        """One entry per start of the run."""
        path = self.directory / "environment.json"
        return run_files.read_json(path, list) if path.exists() else []

    @cached_property
    def cost(self) -> dict[str, Any]:
        """Parameters and latency; empty where they were not measured."""
        path = self.directory / "cost.json"
        return self.metrics.get("cost") or (run_files.read_json(path) if path.exists() else {})

    @cached_property
    def warnings(self) -> list[str]:
        """Reasons not to report the scores, in sentences; empty if there are none."""
        changed = checksums.changes(self.directory, self.metrics)
        return [*changed, *run_files.read(self.directory, label_access.warnings, list)]

    @cached_property
    def remarks(self) -> list[str]:
        """What was tried on the test labels after the scores were seen."""
        return run_files.read(self.directory, label_access.remarks, list)


def _remarks(path: Path) -> list[Remark]:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)[list(Remark._fields)]
    rows = table.itertuples(index=False, name=None)
    return [Remark(item, action, reason, int(count)) for item, action, reason, count in rows]


def load_run(directory: str | Path, trust: Iterable[str] = ()) -> Run:
    """Open a run directory, such as `runs/demo`.

    Args:
        directory: Run directory, complete or not.
        trust: Packages that its files may name beside the listed classes of mer.

    Raises:
        MerError: If the directory holds no run.
    """
    return Run(directory, trust)
