"""Weights & Biases: one W&B run per `mer train`, for comparing runs beside each other.

Nothing is sent unless the configuration says `online`. A run that is continued keeps its W&B run;
each of several processes that share the folds of a run has its own, in one group.
"""

import contextlib
import importlib.util
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from mer.config.conversion import to_plain
from mer.errors import MerError, raise_all
from mer.files import write_json
from mer.loggers import identity
from mer.runs import curves, log_values, run_files
from mer.runs.head_columns import heads
from mer.runs.observers import Observer, Progress, RunContext
from mer.runs.pictures import examples
from mer.runs.rundir import fold_folder, mark

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

MODES = ("offline", "online", "disabled")
WEIGHTS = ("all", "none")


class WandbLogger(Observer):
    """Logs a run to W&B: settings, running scores by finished folds, and everything at the end.

    Args:
        mode: offline, online or disabled.
        project: W&B project.
        entity: User or team; None takes the account's default.
        name: Name of the W&B run; None takes the run directory's, or the sweep's with a number.
        group: None takes the sweep's name, or the run directory's where processes share folds.
        tags: Tags of the W&B run.
        notes: Free text.
        dir: Folder of W&B's own files; None takes the run directory.
        weights: `all` logs the weights of all folds and of macro-pretraining, `none` does not.
        examples: Number of pictures.

    Raises:
        MerError: If a setting is none of these.
    """

    def __init__(
        self,
        mode: str = "offline",
        project: str = "mer",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        notes: str | None = None,
        dir: str | None = None,
        weights: str = "all",
        examples: int = 8,
    ) -> None:
        self.mode, self.project, self.entity = mode, project, entity
        self.name, self.group, self.tags, self.notes = name, group, list(tags), notes
        self.dir, self.weights, self.examples = dir, weights, examples
        self._run: Any = None  # wandb.Run while it is open
        self._lost: list[str] = []

    def check(self) -> None:
        """Find out whether a run can be logged, without asking and without the network.

        Raises:
            MerError: If a setting is wrong, W&B is not installed, or `online` lacks a login.
        """
        raise_all(
            "The W&B logger cannot work with these settings:",
            [
                f"logger.wandb.{key} is `{value}`; set one of {', '.join(known)}"
                for key, value, known in (
                    ("mode", self.mode, MODES),
                    ("weights", self.weights, WEIGHTS),
                )
                if value not in known
            ],
        )
        if self.mode == "disabled":
            return
        if importlib.util.find_spec("wandb") is None:
            raise MerError(
                "logger=wandb needs the package wandb, which is not installed: pip install "
                "'mer[wandb]'"
            )
        if self.mode == "online" and not identity.logged_in():
            raise MerError(
                "logger.wandb.mode is online, but no W&B login was found in WANDB_API_KEY or the "
                "netrc file. Type `wandb login`, or set logger.wandb.mode=offline and send the run "
                "later with `wandb sync`."
            )

    def start(self, run: RunContext) -> None:
        """Open the W&B run, or go on with that of the run directory."""
        self.check()
        if self.mode == "disabled":
            return
        import wandb

        self._context = run
        self._origin = log_values.origin(run.run_dir, run.macro)
        self._place = Path(self.dir).expanduser() if self.dir else run.run_dir
        self._place.mkdir(parents=True, exist_ok=True)
        kept, path = identity.keep(run.settings, run.run_dir, self.project)
        self._group = self.group or kept["group"]
        try:
            self._run = wandb.init(
                mode=cast("Any", self.mode),
                project=self.project,
                entity=self.entity,
                id=kept["id"],
                resume="allow",
                reinit="create_new",  # leaves alone what a notebook logs
                name=self.name or kept["name"],
                group=self._group,
                tags=[*self.tags, *mark(to_plain(run.settings)).split("-")[1:]],
                notes=self.notes,
                dir=self._place,
                config={**identity.plain_settings(run.settings), "origin": self._origin},
                allow_val_change=True,
                settings=wandb.Settings(
                    silent=True,
                    quiet=True,
                    console="off",  # train.log has it
                    symlink=False,
                    disable_git=True,  # the config has the revision; no diff of the code
                    save_code=False,
                    disable_job_creation=True,
                ),
            )
        except wandb.Error as error:
            raise MerError(
                f"W&B could not start a run ({error}). Set logger.wandb.mode=offline and send the "
                "run later with `wandb sync`."
            ) from error
        # Values of a history stay out of the summary: that of an unfinished run has no score.
        for pattern, step in (("val/*", "folds/done"), ("fold/*", "folds/done")):
            self._run.define_metric(pattern, step_metric=step, summary="none")
        self._run.define_metric("curves/*", step_metric="curves/epoch", summary="none")
        if self.mode == "online":
            write_json({**kept, "url": self._run.url}, path)
            log.info("W&B run: %s", self._run.url)

    def fold(self, progress: Progress) -> None:
        """Log what is known after a fold; the step is the number of finished folds."""
        if self._run is None:
            return
        with log_values.careful(f"W&B: fold {progress.fold}", self._lost):
            row = log_values.running(self._context.run_dir, progress)
            self._run.log(row, step=progress.done, commit=True)

    def end(self, result: dict[str, Any]) -> None:
        """Log scores, tables, pictures and weights of a complete run, and close the W&B run."""
        if self._run is None:
            return
        parts: dict[str, Callable[[], None]] = {"scores": lambda: self._scores(result)}
        if result["status"] == "complete":
            parts["tables"] = self._tables
            parts["learning curves"] = self._curves
            if self.examples:
                parts["example pictures"] = self._examples
            if self.weights == "all":
                parts["weights"] = lambda: self._weights(result)
        with _staging(self._place / "wandb" / "staging"):
            for name, part in parts.items():
                with log_values.careful(f"W&B: {name}", self._lost):
                    part()
        if self._lost:
            with log_values.careful("W&B: what could not be logged", self._lost):
                self._run.summary["not_logged"] = list(self._lost)
        self._finish(0)

    def fail(self, error: BaseException) -> None:
        """Close the W&B run as failed; a trial that its search has pruned is no failure."""
        if self._run is None:
            return
        pruned = type(error).__name__ == "TrialPruned"
        with log_values.careful("W&B: how the run ended", self._lost):
            if pruned:
                self._run.summary.update({"status": "pruned", "pruned": True})
                self._run.tags = (*(self._run.tags or ()), "pruned")
            else:
                said = f"failed: {type(error).__name__}: {error}"
                self._run.summary["status"] = said[:500]
        self._finish(0 if pruned else 255 if isinstance(error, KeyboardInterrupt) else 1)

    def _finish(self, exit_code: int) -> None:
        run, self._run = self._run, None
        with log_values.careful("W&B: the end of the run", self._lost):
            run.finish(exit_code=exit_code)
            if self.mode == "offline" and self._group is None:  # a sweep would say it every time
                log.info("W&B: to send this run, type: wandb sync %s", Path(run.dir).parent)

    def _scores(self, result: dict[str, Any]) -> None:
        """All numbers of the run; of an incomplete one, that it is."""
        counts = {"folds/total": result["folds"], "folds/missing": len(result["missing_folds"])}
        self._run.summary.update({"status": result["status"], **counts, **log_values.final(result)})

    def _tables(self) -> None:
        """Folds, predictions, and a confusion matrix per head."""
        import wandb

        run_dir, classes = self._context.run_dir, self._context.corpus.classes
        predictions = log_values.predictions(run_dir)
        number = {name: place for place, name in enumerate(classes)}
        values: dict[str, Any] = {
            "tables/folds": _table(run_files.read_csv(run_dir / "folds.csv")),
            "tables/predictions": _table(predictions),
        }
        for head in heads(predictions):
            values[f"confusion/{head}"] = wandb.plot.confusion_matrix(
                y_true=predictions["label"].map(number).tolist(),
                preds=predictions[head].map(number).tolist(),
                class_names=classes,
                title=f"{head}, pooled over all folds",
            )
        self._run.log(values)

    def _curves(self) -> None:
        """Mean learning curves over the folds, a row per epoch, against `curves/epoch`."""
        names = [fold.name for fold in self._context.folds]
        for epoch, row in curves.mean(self._context.run_dir, names).iterrows():
            known = {f"curves/{name}": value for name, value in row.dropna().items()}
            self._run.log({"curves/epoch": epoch, **known})

    def _examples(self) -> None:
        import wandb

        predictions = log_values.predictions(self._context.run_dir)
        shown = examples(self._context.dataset, predictions, self.examples)
        pictures = [wandb.Image(example.picture, caption=example.caption) for example in shown]
        self._run.log({"examples": pictures})

    def _weights(self, result: dict[str, Any]) -> None:
        """Log the weights as artifacts; the files are named where they lie, not copied."""
        import wandb

        # Pooled scores alone: an artifact takes a hundred keys.
        pooled = {k: value for k, value in log_values.final(result).items() if k.count("/") < 3}
        metadata = {**pooled, **self._origin}
        artifact = wandb.Artifact(f"weights-{self._run.id}", "model", metadata=metadata)
        for fold in self._context.folds:
            folder = fold_folder(self._context.run_dir, fold.name)
            for name in ("model.ckpt", "heads.pt"):
                artifact.add_file(
                    str(folder / name), f"{fold.name}/{name}", skip_cache=True, policy="immutable"
                )
        if (macro := self._context.macro) is not None:
            source = wandb.Artifact(
                f"macro-{_plain(macro.parent.name)}",
                "model",
                metadata=self._origin["macro_weights"],
            )
            for path in (macro, macro.with_name("pretraining.json")):
                source.add_file(str(path), path.name, skip_cache=True, policy="immutable")
            if self.mode == "online":
                self._run.use_artifact(source)
            else:  # W&B refuses to declare an input of an offline run
                self._run.log_artifact(source)
        self._run.log_artifact(artifact)


def _table(frame: pd.DataFrame) -> "wandb.Table":
    import wandb

    plain = frame.astype(object).where(frame.notna(), None)
    return wandb.Table(columns=list(frame), data=plain.to_numpy().tolist())


def _plain(name: str) -> str:
    """A name of the characters that W&B allows in one."""
    return re.sub(r"[^\w.-]", "-", name)[:100]


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[None]:
    """Let W&B keep copies of tables in a folder; its default is in the home directory."""
    before = os.environ.get("WANDB_DATA_DIR")
    if before is None:
        os.environ["WANDB_DATA_DIR"] = str(folder.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]
