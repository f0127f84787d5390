"""Summary at the end of `mer train -m`, for every launcher."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from mer.config.quoting import quoted

log = logging.getLogger(__name__)


def _varied(words: Sequence[str]) -> list[str]:
    """The keys of a command line that a sweep varies."""
    parser = OverridesParser.create()
    overrides = (parser.parse_override(word) for word in words)
    return [one.key_or_group.replace("/", ".") for one in overrides if one.is_sweep_override()]


class Summary(Callback):
    """Prints the pooled table of a run whose folds were spread, or one table over several runs.

    A search says more about its trials and does so itself.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Tell the jobs what the sweep compares: while something is chosen, no test score shows."""
        from mer.cli import train
        from mer.runs import choice

        train.FOLDERS.sweep(Path(config.hydra.sweep.dir))
        words = config.hydra.overrides.task
        params = config.hydra.sweeper.get("params") or {}
        keys = choice.candidates(_varied([*(f"{key}={params[key]}" for key in params), *words]))
        if config.get("search") is not None or not keys:
            return
        words.append(f"trial.varied=[{','.join(map(quoted, keys))}]")
        if not (config.protocol.validation or config.trial.test):
            log.warning(
                "%s: which is best is chosen by validation persons, and there are none; set "
                "protocol.validation=0.2, or add --test to see test scores, by which nothing "
                "should be chosen",
                ", ".join(keys),
            )

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
