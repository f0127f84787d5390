"""What a report is made of: the files of a run directory, read once."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from mer import seals
from mer.errors import MerError
from mer.loggers import report
from mer.rundir import find, is_done


@dataclass(frozen=True)
class Material:
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
    def read(cls, run_dir: Path) -> "Material":
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
        try:
            cfg = OmegaConf.load(config)
            metrics = json.loads(path.read_text()) if path else {}
        except Exception as error:  # YAML and JSON raise errors of their own
            raise MerError(f"A file of {run_dir} is damaged ({error}); copy the run again") from (
                error
            )
        return cls(run_dir, cfg, metrics)

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the configuration by its dotted key."""
        found = OmegaConf.select(self.cfg, key)
        return default if found is None else found

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
        """Whether the faces are of nobody."""
        return bool(self.get("data.generate"))

    @property
    def classes(self) -> list[str]:
        """Class names in order."""
        return [str(name) for name in self.get("labels.classes", [])]

    @cached_property
    def manifest(self) -> pd.DataFrame | None:
        """Every sample that must be tested; None before a run has got that far."""
        path = self.run_dir / "manifest.parquet"
        return pd.read_parquet(path) if path.exists() else None

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per sample of a complete run, with `<head>_correct` for each head."""
        return report.predictions(self.run_dir)

    @property
    def heads(self) -> list[str]:
        """Heads that predicted, the one that counts first."""
        return [head for head in ("svm", "softmax") if head in self.metrics.get("heads", {})]

    @property
    def parts(self) -> list[str]:
        """`pooled`, then the datasets."""
        return list(self.metrics["heads"]["majority"])

    @cached_property
    def folds(self) -> list[str]:
        """Names of all folds."""
        return [] if self.manifest is None else list(dict.fromkeys(self.manifest["fold"]))

    @cached_property
    def done(self) -> list[str]:
        """Names of the folds that are finished."""
        return [name for name in self.folds if is_done(self.run_dir, name)]

    @cached_property
    def dropped(self) -> pd.DataFrame:
        """Columns item, action, reason; empty where nothing was dropped or mended."""
        path = self.run_dir / "dropped.csv"
        if not path.exists():
            return pd.DataFrame(columns=["item", "action", "reason"])
        return pd.read_csv(path, dtype=str, keep_default_na=False)

    @cached_property
    def environment(self) -> list[dict[str, Any]]:
        """One entry per start of the run."""
        return self._json("environment.json") or []

    @cached_property
    def audit(self) -> dict[str, Any] | None:
        """Content of `audit.json`; None where the run was not audited."""
        return self._json("audit.json")

    @cached_property
    def cost(self) -> dict[str, Any]:
        """Parameters and latency; empty where they were not measured."""
        return self.metrics.get("cost") or self._json("cost.json") or {}

    @cached_property
    def stains(self) -> list[str]:
        """Why the scores are none to report, in sentences."""
        said = [*seals.stains(self.run_dir), *self.metrics.get("stains", [])]
        # The count of openings may have grown since the scores were written.
        return [
            text
            for place, text in enumerate(said)
            if text not in said[:place]
            and not (text.startswith("peek") and any(s.startswith("peek") for s in said[:place]))
        ]

    def _json(self, name: str) -> Any:
        path = self.run_dir / name
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise MerError(f"{path} is damaged ({error}); copy the run again") from error
