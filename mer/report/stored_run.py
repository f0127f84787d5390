"""The files of a run directory that a report is made of, each read once."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from mer.config import trust
from mer.datasets.index import Remark
from mer.datasets.number_cells import whole
from mer.errors import MerError, one_line
from mer.runs import label_access, log_values
from mer.runs.head_columns import MAJORITY, heading
from mer.runs.rundir import find, fold_folder, is_done
from mer.training import inner

Content = TypeVar("Content")


@dataclass(frozen=True)
class StoredRun:
    """A run directory, complete or not.

    Attributes:
        run_dir: The directory.
        cfg: Its configuration; keys of later versions may be absent, see `get`.
        metrics: Content of `metrics.json`; empty where there is none.
    """

    run_dir: Path
    cfg: DictConfig
    metrics: dict[str, Any]

    @classmethod
    def read(cls, run_dir: Path) -> "StoredRun":
        """Read a run directory.

        Raises:
            MerError: If it holds no run, or a file in it is damaged.
        """
        config = run_dir / "config.yaml"
        if not config.exists():
            raise MerError(
                f"{run_dir} is no run directory: it has no config.yaml. Name one, e.g. runs/demo."
            )
        path = find(run_dir, "metrics.json")
        cfg = _read(config, trust.read, DictConfig)
        return cls(run_dir, cfg, _read(path, _json, dict) if path else {})

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the configuration by its dotted key."""
        value = OmegaConf.select(self.cfg, key)
        return default if value is None else value

    @property
    def complete(self) -> bool:
        """Whether there are scores and the predictions that they belong to."""
        return (
            self.metrics.get("status") == "complete"
            and "heads" in self.metrics
            and self.manifest is not None
            and find(self.run_dir, "predictions.parquet") is not None
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
        path = self.run_dir / "manifest.parquet"
        return _read(path, pd.read_parquet, pd.DataFrame) if path.exists() else None

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per sample of a complete run, with `<head>_correct` for each head."""
        return _read(self.run_dir, log_values.predictions, pd.DataFrame)

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
        return {head: heading(head) for head in self.scores if head != MAJORITY}

    @property
    def inner(self) -> dict[str, Any] | None:
        """The node `protocol.inner`; None where nothing was chosen inside the folds."""
        return dict(self.get("protocol.inner")) if self.get("protocol.inner.n_splits") else None

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        """Scores of each head, `majority` among them, by part; empty for an incomplete run."""
        return dict(self.metrics.get("heads", {}))

    @property
    def parts(self) -> list[str]:
        """`pooled`, then the datasets."""
        return list(self.scores[MAJORITY])

    @cached_property
    def folds(self) -> list[str]:
        """Names of all folds."""
        return [] if self.manifest is None else list(dict.fromkeys(self.manifest["fold"]))

    @cached_property
    def done(self) -> list[str]:
        """Names of the folds that are finished."""
        return [name for name in self.folds if is_done(self.run_dir, name)]

    def chosen(self, fold: str) -> dict[str, Any]:
        """What `protocol.inner` chose in a fold; empty where it chose nothing."""
        path = fold_folder(self.run_dir, fold) / inner.FILE
        return _read(path, lambda p: inner.made(_json(p)["choices"]), dict) if path.exists() else {}

    @cached_property
    def dropped(self) -> list[Remark]:
        """What was dropped or mended."""
        path = self.run_dir / "dropped.csv"
        if not path.exists():
            return []
        read = partial(pd.read_csv, dtype=str, keep_default_na=False)
        table = _read(path, read, pd.DataFrame).reindex(columns=list(Remark._fields))
        counts = [whole(str(count)) for count in table.pop("samples")]  # none in runs of before
        texts = table.fillna("").itertuples(index=False)
        return [
            Remark(item, action, reason, 1 if count is None else count)
            for (item, action, reason), count in zip(texts, counts, strict=True)
        ]

    @cached_property
    def environment(self) -> list[dict[str, Any]]:
        """One entry per start of the run."""
        path = self.run_dir / "environment.json"
        return _read(path, _json, list) if path.exists() else []

    @cached_property
    def cost(self) -> dict[str, Any]:
        """Parameters and latency; empty where they were not measured."""
        path = self.run_dir / "cost.json"
        return self.metrics.get("cost") or (_read(path, _json, dict) if path.exists() else {})

    @cached_property
    def warnings(self) -> list[str]:
        """Reasons not to report the scores, in sentences; empty if there are none."""
        return _read(self.run_dir, label_access.warnings, list)

    @cached_property
    def remarks(self) -> list[str]:
        """What was tried on the test labels after the scores were seen."""
        return _read(self.run_dir, label_access.remarks, list)


def _read(path: Path, read: Callable[[Path], Any], kind: type[Content]) -> Content:
    """Read a file, or a folder's files of one kind.

    Raises:
        MerError: If it is damaged: cut off, or of another form.
    """
    try:
        content = read(path)
    except MerError:
        raise
    except Exception as error:  # every format raises errors of its own
        raise MerError(f"{path} is damaged ({one_line(error)}); copy the run again") from error
    if not isinstance(content, kind):
        raise MerError(f"{path} is damaged (no {kind.__name__} in it); copy the run again")
    return content


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
