"""Summary at the end of `mer train -m`, for every launcher."""

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

log = logging.getLogger(__name__)


class Summary(Callback):
    """Prints the pooled table of a run whose folds were spread, or one table over several runs.

    A search says more about its trials and does so itself.
    """

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Read the run directories that the jobs have written."""
        if config.get("search") is not None:
            return
        sweep_dir = Path(config.hydra.sweep.dir)
        spread = any("protocol.folds=" in word for word in config.hydra.overrides.task)
        if spread:
            self._spread(config)
            return
        if len(list(sweep_dir.glob("*/manifest.parquet"))) > 1:
            from mer import compare

            compare.show([sweep_dir])
        self._check(sweep_dir)

    def _check(self, sweep_dir: Path) -> None:
        """Let the command end with status 3 unless every run is complete."""
        from mer.cli import train
        from mer.runs import run_files
        from mer.runs.rundir import find

        for manifest in sweep_dir.glob("*/manifest.parquet"):
            path = find(manifest.parent, "metrics.json")
            if path is None or run_files.read_json(path).get("status") == "incomplete":
                log.warning("%s is incomplete; the same command goes on", manifest.parent)
                train.STATUS.append(3)

    def _spread(self, config: DictConfig) -> None:
        from mer.cli import train
        from mer.config import stored
        from mer.config.composition import typed
        from mer.runs import results

        run_dir = Path(config.run.dir)
        if not (run_dir / "manifest.parquet").exists():
            return  # the jobs' own errors say why
        settings = typed(stored.read(run_dir / "config.yaml"))
        result = results.pool(run_dir, settings)
        results.show(settings, run_dir, result)
        if result["status"] == "incomplete":
            train.STATUS.append(3)
