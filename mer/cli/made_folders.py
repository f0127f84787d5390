"""Folders that `mer train` makes, and removes again where nothing was computed."""

import contextlib
from pathlib import Path


class Folders:
    """Folders that a command makes: those in which nothing was computed go when it ends."""

    def __init__(self) -> None:
        self._before: set[Path] = set()
        self._sweep: Path | None = None

    def begin(self, run_dir: Path | None) -> None:
        """Remember which folders are there before a run, or a sweep, begins."""
        self._before, self._sweep = _there(run_dir), None

    def sweep(self, folder: Path) -> None:
        """Remember the folder of a sweep before Hydra makes it."""
        self._before, self._sweep = _there(folder), folder

    def failed(self, folder: Path) -> None:
        """Remove the folder of a run or job, if it is empty."""
        self._remove(folder)

    def end(self) -> None:
        """Remove the folder of the sweep, if its jobs have left nothing."""
        if self._sweep is None or not self._sweep.is_dir():
            return
        if [path.name for path in self._sweep.iterdir()] == ["multirun.yaml"]:
            (self._sweep / "multirun.yaml").unlink()
            self._remove(self._sweep)

    def _remove(self, folder: Path) -> None:
        """Remove an empty folder, and those around it that were not there before either."""
        with contextlib.suppress(OSError):  # it is not empty
            for path in (folder.absolute(), *folder.absolute().parents):
                if path in self._before:
                    return
                path.rmdir()
                if not self._before:  # in a process of its own
                    return


def _there(folder: Path | None) -> set[Path]:
    """A folder and those around it, as far as they are there."""
    if folder is None:
        return set()
    return {path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()}
