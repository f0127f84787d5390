"""What `mer train` keeps of a start, `train.log` and `.hydra`, once the directory is the run's.

Until then nothing is written, so that a start that fails leaves nothing (`mer.cli.made_folders`).
"""

import logging
import os
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mer.files import write_text
from mer.runs.observers import Observer

#: Hydra's folder in a run directory.
FOLDER = ".hydra"


class RunLog(logging.FileHandler):
    """A log file that keeps its first lines in memory until `begin`; named in `conf/train.yaml`.

    Args:
        filename: Where it is written; not given where another `hydra/job_logging` has no file.
    """

    def __init__(self, filename: str = os.devnull) -> None:
        super().__init__(filename, encoding="utf-8", delay=True)
        self._waiting: list[logging.LogRecord] | None = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or keep it."""
        if self._waiting is None:
            super().emit(record)
        else:
            self._waiting.append(record)

    def begin(self) -> None:
        """Write what was kept, and everything from now on."""
        waiting, self._waiting = self._waiting or [], None
        for record in waiting:
            self.emit(record)


class StartFiles(Observer):
    """Begins the log and writes what was typed and composed, as Hydra itself would.

    Args:
        config: Composed configuration.
    """

    def __init__(self, config: DictConfig) -> None:
        self._config = config

    def claimed(self) -> None:
        """Write `train.log` and `.hydra`."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, RunLog):
                handler.begin()
        hydra: Any = HydraConfig.instance().cfg
        folder = Path(hydra.hydra.runtime.output_dir, FOLDER)
        folder.mkdir(exist_ok=True)
        contents = {"config": self._config, "hydra": hydra, "overrides": hydra.hydra.overrides.task}
        for name, content in contents.items():
            write_text(OmegaConf.to_yaml(content), folder / f"{name}.yaml")
