"""One adapter from observers of a run to Lightning's loggers (TensorBoard, MLflow, Comet, Aim)."""

import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mer.config import trust
from mer.config.conversion import to_plain
from mer.errors import MerError
from mer.loggers.logged_rows import LoggedRows
from mer.runs import curves, log_values
from mer.runs.choice import choosing
from mer.runs.observers import Observer, PretrainingEpoch, Progress, RunContext
from mer.runs.pictures import examples, may_be_shown
from mer.runs.rundir import flatten, is_volatile

#: Loggers that come with Lightning -> the package that each needs, and how it is installed.
PACKAGES = {
    "TensorBoardLogger": ("tensorboard", "'mer[tensorboard]'"),
    "MLFlowLogger": ("mlflow", "mlflow"),
    "CometLogger": ("comet_ml", "comet-ml"),
    "NeptuneLogger": ("neptune", "neptune"),
}

#: Arguments that are words, also where they look like numbers on the command line.
WORDS = ("name", "run_name", "experiment_name", "experiment", "project", "save_dir", "repo")


class LightningLogger(Observer):
    """Gives a logger of Lightning's the settings, running values, final scores and curves of a run.

    A step is the number of finished folds; of curves it is the epoch: `pretrain/...` and
    `fold_curves/<fold>/...` while these are trained, and `curves/...`, the mean over the folds.
    Scores of test persons are logged when all folds are done, and not at all while something is
    being chosen (`mer.runs.choice`). Where the logger's `experiment` takes pictures and texts as
    TensorBoard's does, it gets the confusion matrices and example pictures too.

    Args:
        logger: `_target_`, a class of Lightning's loggers, and its arguments. `save_dir: null`
            stands for the run directory, `run_name: null` and `name: null` for its name.
        examples: Number of pictures; 0 for none.
        faces: Whether pictures that show real faces are logged too.
    """

    def __init__(self, logger: Mapping[str, Any], examples: int = 8, faces: bool = False) -> None:
        self.node, self.examples, self.faces = dict(logger), examples, faces
        self.name = str(self.node.get("_target_")).rpartition(".")[2]
        self._logger: Any = None
        self._lost: list[str] = []
        self._trained: Path | None = None  # folder of the macro weights that are trained
        self._first = self._next = 0

    def check(self) -> None:
        """Find out whether a run can be logged.

        Raises:
            MerError: If the class or its package is not there, or it is no logger.
        """
        target = self.node.get("_target_")
        if not is_lightning(trust.resolve(target, "logger")):
            raise MerError(f"logger._target_={target} is no logger of Lightning's")
        package, mend = PACKAGES.get(self.name, ("", ""))
        if package and importlib.util.find_spec(package) is None:
            raise MerError(
                f"{self.name} needs the package {package}, which is not installed: pip install "
                f"{mend}"
            )

    def pretraining(self, epoch: PretrainingEpoch) -> None:
        """Log an epoch of macro-pretraining."""
        self._open(epoch.run_dir)
        if epoch.error is not None:
            self.fail(epoch.error)
            return
        if epoch.folder != self._trained:  # the second of two goes on where the first ends
            self._trained, self._first = epoch.folder, self._next
        self._next = self._first + epoch.epoch + 1
        self._curve(
            f"pretrain/{epoch.folder.name}", epoch.epoch, "pretrain", epoch.values, self._first
        )

    def start(self, run: RunContext) -> None:
        """Log the settings, and the curves of macro weights that were kept."""
        self._context, self._choosing = run, choosing(run.settings)
        self._open(run.run_dir)
        self._settings = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in flatten(to_plain(run.settings)).items()
            if not is_volatile(key)
        }
        self._careful("settings", lambda: self._logger.log_hyperparams(self._settings))
        if run.macro is not None:
            folder = run.macro.parent
            for epoch, values in curves.by_epoch(folder):
                self._curve(f"pretrain/{folder.name}", epoch, "pretrain", values)

    def _open(self, run_dir: Path) -> None:
        """Make the logger, unless it is there."""
        if self._logger is not None:
            return
        stands_for = {"save_dir": str(run_dir), "run_name": run_dir.name, "name": run_dir.name}
        null = [name for name, value in self.node.items() if value is None]
        filled: dict[str, Any] = {name: stands_for[name] for name in null if name in stands_for}
        numbers = ((name, self.node.get(name)) for name in WORDS)
        filled |= {name: str(value) for name, value in numbers if isinstance(value, int | float)}
        if self.node.get("online") is False:
            filled["online"] = 0  # with False Lightning's logger of Comet writes no archive either
        self._logger = trust.build({**self.node, **filled}, "logger")
        versions = [""]

        def part() -> None:
            _ = self._logger.experiment  # from now on it has a version
            versions.append(str(getattr(self._logger, "version", "")))

        self._careful("the start", part)
        self._rows = LoggedRows(run_dir, f"{self.name} {versions[-1]}")

    def epoch(self, fold: str, epoch: int, values: dict[str, float]) -> None:
        """Log an epoch of a fold."""
        self._curve(f"fold_curves/{fold}", epoch, f"fold_curves/{fold}", values)

    def fold(self, progress: Progress) -> None:
        """Log what is known after a fold."""

        def part() -> None:
            values = log_values.running(self._context.run_dir, progress)
            self._logger.log_metrics(values, step=progress.done)
            self._logger.save()

        self._careful(f"fold {progress.fold}", part)

    def end(self, result: dict[str, Any]) -> None:
        """Log scores, curves and pictures of a complete run, and close the logger."""
        if result["status"] == "complete":
            self._careful("scores", lambda: self._scores(result))
            self._careful("learning curves", self._mean_curves)
            self._careful("pictures", lambda: self._pictures(result))
        self._close("success")

    def fail(self, error: BaseException) -> None:
        """Close the logger."""
        if self._logger is not None:
            self._close("failed")

    def _close(self, status: str) -> None:
        """Close the logger; Comet's experiment would last as long as the process."""

        def part() -> None:
            self._logger.finalize(status)
            if self.name == "CometLogger":
                self._logger.experiment.end()

        self._careful("the end", part)

    def _careful(self, what: str, part: Callable[[], Any]) -> None:
        with log_values.careful(f"{self.name}: {what}", self._lost):
            part()

    def _scores(self, result: dict[str, Any]) -> None:
        values, step = log_values.final(result, self._choosing), result["folds"]
        if "metrics" in inspect.signature(self._logger.log_hyperparams).parameters:
            # TensorBoard's HParams page wants both at once.
            self._logger.log_hyperparams(self._settings, metrics=values, step=step)
        else:
            self._logger.log_metrics(values, step=step)

    def _curve(
        self, training: str, epoch: int, prefix: str, values: dict[str, float], first: int = 0
    ) -> None:
        """Log an epoch of a training that was not logged before; its step counts from `first`."""
        if f"{self.name}: {training}" in self._lost:
            return

        def part() -> None:
            if (training, epoch) in self._rows:
                return
            named = {f"{prefix}/{name}": value for name, value in values.items()}
            self._logger.log_metrics(named, step=first + epoch)
            self._logger.save()
            self._rows.add((training, epoch))

        self._careful(training, part)

    def _mean_curves(self) -> None:
        names = [fold.name for fold in self._context.folds]
        for epoch, row in curves.mean(self._context.run_dir, names).iterrows():
            known = {str(name): float(value) for name, value in row.dropna().items()}
            self._curve("curves", int(str(epoch)), "curves", known)

    def _pictures(self, result: dict[str, Any]) -> None:
        if self._choosing or not hasattr(self._logger.experiment, "add_image"):
            return
        self._careful("confusion matrices", lambda: self._confusion(result))
        if may_be_shown(self._context.settings, self._context.dataset, self.faces):
            self._careful("example pictures", self._examples)

    def _confusion(self, result: dict[str, Any]) -> None:
        for head, parts in result["heads"].items():
            matrix = markdown(parts["pooled"]["confusion"], result["classes"])
            self._logger.experiment.add_text(f"confusion/{head}", matrix)

    def _examples(self) -> None:
        predictions = log_values.predictions(self._context.run_dir)
        shown = examples(self._context.dataset, predictions, self.examples)
        for number, example in enumerate(shown):
            tag = f"examples/{number}_{'right' if example.correct else 'wrong'}"
            self._logger.experiment.add_image(tag, example.picture, dataformats="HWC")
            self._logger.experiment.add_text(tag, example.caption)


def is_lightning(kind: Any) -> bool:
    """Whether a class has the methods of Lightning's loggers."""
    return all(hasattr(kind, name) for name in ("log_hyperparams", "log_metrics", "finalize"))


def markdown(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Lay out a confusion matrix as a Markdown table, rows true, columns predicted."""
    lines = [["true \\ predicted", *classes], ["---"] * (len(classes) + 1)]
    lines += [[name, *map(str, row)] for name, row in zip(classes, matrix, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
