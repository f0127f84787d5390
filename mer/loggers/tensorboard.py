"""TensorBoard: the history and the results of a run as event files in its directory."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mer.config.settings import to_plain
from mer.errors import MerError
from mer.runs import curves, log_values
from mer.runs.observers import Observer, Progress, RunContext
from mer.runs.pictures import examples
from mer.runs.rundir import flatten, is_volatile

if TYPE_CHECKING:
    pass


class TensorBoardLogger(Observer):
    """Writes to `tensorboard/` of the run directory: `tensorboard --logdir runs` shows all runs.

    Scores of test persons are written when all folds are done; a continued run goes on in the
    same folder.

    Args:
        examples: Number of pictures.
    """

    def __init__(self, examples: int = 8) -> None:
        self.examples = examples
        self._writer: Any = None  # SummaryWriter while it is open
        self._lost: list[str] = []

    def check(self) -> None:
        """Find out whether a run can be logged.

        Raises:
            MerError: If TensorBoard is not installed.
        """
        if importlib.util.find_spec("tensorboard") is None:
            raise MerError(
                "logger=tensorboard needs the package tensorboard, which is not installed: pip "
                "install 'mer[tensorboard]'"
            )

    def start(self, run: RunContext) -> None:
        """Open the event file."""
        self.check()
        from torch.utils.tensorboard import SummaryWriter

        self._context = run
        self._writer = SummaryWriter(str(run.run_dir / "tensorboard"))

    def fold(self, progress: Progress) -> None:
        """Write what is known after a fold; the step is the number of finished folds."""
        with log_values.careful(f"TensorBoard: fold {progress.fold}", self._lost):
            for key, value in log_values.running(self._context.run_dir, progress).items():
                self._writer.add_scalar(key, value, progress.done)
            self._writer.flush()

    def end(self, result: dict[str, Any]) -> None:
        """Write scores, curves and pictures of a complete run, and close the file."""
        if result["status"] == "complete":
            parts: dict[str, Callable[[], None]] = {
                "scores": lambda: self._scores(result),
                "learning curves": self._curves,
                "example pictures": self._examples,
            }
            for name, part in parts.items():
                with log_values.careful(f"TensorBoard: {name}", self._lost):
                    part()
        self._close()

    def fail(self, error: BaseException) -> None:
        """Close the file."""
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _scores(self, result: dict[str, Any]) -> None:
        """Final numbers beside the settings, as TensorBoard's HParams page compares them."""
        plain = to_plain(self._context.cfg)
        settings = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in flatten(plain).items()
            if not is_volatile(key) and not key.startswith("hydra")
        }
        # `.`: in the same folder, else TensorBoard shows a second run.
        self._writer.add_hparams(
            settings, log_values.final(result), run_name=".", global_step=result["folds"]
        )
        for head, parts in result["heads"].items():
            matrix = markdown(parts["pooled"]["confusion"], result["classes"])
            self._writer.add_text(f"confusion/{head}", matrix)

    def _curves(self) -> None:
        names = [fold.name for fold in self._context.folds]
        for epoch, row in curves.mean(self._context.run_dir, names).iterrows():
            for name, value in row.dropna().items():
                self._writer.add_scalar(f"curves/{name}", value, epoch)

    def _examples(self) -> None:
        predictions = log_values.predictions(self._context.run_dir)
        shown = examples(self._context.dataset, predictions, self.examples)
        for number, example in enumerate(shown):
            kind = "right" if example.correct else "wrong"
            tag = f"examples/{number}_{kind}"
            self._writer.add_image(tag, example.picture, dataformats="HWC")
            self._writer.add_text(tag, example.caption)


def markdown(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Lay out a confusion matrix as a Markdown table, rows true, columns predicted."""
    lines = [["true \\ predicted", *classes], ["---"] * (len(classes) + 1)]
    lines += [[name, *map(str, row)] for name, row in zip(classes, matrix, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
