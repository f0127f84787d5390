"""Macro-pretraining as a W&B run of its own, which all runs that use its weights share.

Its id is made of the weights' digest, so every run names the same one; its files lie beside the
weights, unless `logger.wandb.dir` says otherwise.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from mer.config.settings import Settings
from mer.files import write_json
from mer.loggers import identity, run_columns, wandb_contents
from mer.loggers.typed_words import Typed
from mer.runs import curves, log_values, run_files
from mer.runs.observers import PretrainingEpoch

#: Opens a W&B run: id, name, job type, tags, config, folder of its files.
Open = Callable[..., Any]

#: Says in the folder of the weights which W&B run was logged, and where.
FILE = "wandb.json"


class PretrainingRun:
    """Logs a macro-pretraining to W&B, live or when it is done.

    Args:
        open_run: Opens a W&B run.
        online: Whether what is logged is sent at once.
        home: Project and user or team, for which it is logged once.
        weights: Whether the weights belong to the artifact.
        dir: Folder of W&B's own files; None for that of the weights.
    """

    def __init__(
        self,
        open_run: Open,
        online: bool,
        home: tuple[str, str | None],
        weights: bool,
        dir: Path | None,
    ) -> None:
        self.open_run, self.online, self.home = open_run, online, home
        self.weights, self.dir = weights, dir
        self._run: Any = None
        self._folder: Path | None = None

    def epoch(self, known: PretrainingEpoch) -> None:
        """Log an epoch; the first one opens the run, an error closes it."""
        if known.error is not None:
            self.close(255 if isinstance(known.error, KeyboardInterrupt) else 1)
            return
        if self._folder != known.folder:
            self.close(0)
            self._open(known.settings, known.folder)
        self._log(known.epoch, known.values)

    def _log(self, epoch: int, values: dict[str, float]) -> None:
        row = {f"pretrain/{name}": value for name, value in values.items()}
        self._run.log({"pretrain/epoch": epoch, **row}, step=epoch, commit=True)

    def end(self, settings: Settings, weights: Path) -> None:
        """Log scores and weights of what has just been trained, or all of what was kept."""
        folder = weights.parent
        with FileLock(folder / ".wandb.lock"):
            live = self._folder == folder
            if not live and self._is_logged(folder):
                return
            if not live:
                self.close(0)
                self._open(settings, folder)
                for epoch, values in curves.by_epoch(folder):
                    self._log(epoch, values)
            report = run_files.read_json(folder / "pretraining.json")
            scores = {f"pretrain/{k}": report[k] for k in ("uf1", "uar", "accuracy", "seconds")}
            self._run.summary.update({"status": "complete", **scores})
            metadata = log_values.macro_origin(weights)
            artifact = wandb_contents.pretraining_artifact(weights, metadata, self.weights)
            self._run.log_artifact(artifact)
            kept = {"project": self.home[0], "entity": self.home[1], "directory": None}
            if not self.online:
                kept["directory"] = str(Path(self._run.dir).parent)
            self.close(0)
            write_json({"id": identity.macro_run(folder), **kept}, folder / FILE)

    def close(self, exit_code: int) -> None:
        """Close the W&B run if one is open."""
        run, self._run, self._folder = self._run, None, None
        if run is not None:
            run.finish(exit_code=exit_code)

    def _open(self, settings: Settings, folder: Path) -> None:
        chosen = run_columns.groups(settings, Typed())
        self._folder = folder
        self._run = self.open_run(
            id=identity.macro_run(folder),
            name=f"macro {chosen['macro']} {chosen['backbone']}",
            job_type="pretrain",
            tags=[chosen["backbone"], chosen["input"], f"macro {chosen['macro']}"],
            config=run_columns.pretraining(settings, folder),
            dir=self.dir or folder,
        )

    def _is_logged(self, folder: Path) -> bool:
        """Whether it was sent, or its files are still there."""
        path = folder / FILE
        kept = run_files.read_json(path) if path.exists() else {}
        if (kept.get("project"), kept.get("entity")) != self.home:
            return False
        directory = kept.get("directory")
        return directory is None or (not self.online and Path(directory).is_dir())
