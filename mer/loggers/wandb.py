"""Weights & Biases: one W&B run per `mer train`, and one for each macro-pretraining.

Nothing is sent unless the configuration says `online`. A run that is continued keeps its W&B run;
each of several processes that share the folds of a run has its own, in one group.
"""

import importlib.util
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from mer.errors import MerError, raise_all
from mer.files import write_json
from mer.loggers import identity, run_columns, typed_words, wandb_contents
from mer.loggers.logged_rows import LoggedRows
from mer.loggers.wandb_pretraining import PretrainingRun
from mer.runs import curves, log_values
from mer.runs.choice import choosing
from mer.runs.observers import Observer, PretrainingEpoch, Progress, RunContext
from mer.runs.pictures import may_be_shown

log = logging.getLogger(__name__)

MODES = ("offline", "online", "disabled")
WEIGHTS = ("all", "none")


class WandbLogger(Observer):
    """Logs a run to W&B: settings, curves epoch by epoch, scores fold by fold, the rest at the end.

    While something is being chosen (`mer.runs.choice`), nothing of the test persons is logged.

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
        examples: Number of pictures; of real persons those of motion alone.
        faces: Whether pictures that show real faces are logged too.

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
        weights: str = "none",
        examples: int = 8,
        faces: bool = False,
    ) -> None:
        # Words such as 2026 come as numbers from the command line.
        self.mode, self.project, self.entity = mode, str(project), _word(entity)
        self.name, self.group, self.notes, self.dir = map(_word, (name, group, notes, dir))
        several = tags if isinstance(tags, list | tuple) else [tags]
        self.tags = [str(tag) for tag in several if tag is not None]
        self.weights, self.examples, self.faces = weights, examples, faces
        self._pretraining: PretrainingRun | None = None
        self._run: Any = None  # wandb.Run while it is open
        self._lost: list[str] = []

    def check(self) -> None:
        """Find out whether a run can be logged, without asking.

        Raises:
            MerError: If a setting is wrong, W&B is not installed, or `online` lacks a login or a
                connection.
        """
        raise_all("The W&B logger cannot work with these settings:", self._problems())
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
        if self.mode == "online":
            identity.require_connection()

    def _problems(self) -> list[str]:
        """What is wrong with the settings."""
        choices = (("mode", self.mode, MODES), ("weights", self.weights, WEIGHTS))
        found = [
            f"logger.wandb.{key} is `{value}`; set one of {', '.join(known)}"
            for key, value, known in choices
            if value not in known
        ]
        names = [("project", self.project), ("entity", self.entity or "lab")]
        found += [
            f"logger.wandb.{key} is `{name}`; set 1 to 128 characters, none of / \\ # ? % :"
            for key, name in names
            if not 1 <= len(name) <= 128 or set(name) & set("/\\#?%:")
        ]
        found += [
            f"logger.wandb.tags has `{tag}`; a tag has 1 to 64 characters"
            for tag in self.tags
            if not 1 <= len(tag) <= 64
        ]
        return found

    def pretraining(self, epoch: PretrainingEpoch) -> None:
        """Log an epoch of macro-pretraining to a W&B run of its own."""
        if self.mode == "disabled" or identity.agent_run():
            return  # all that an agent's process logs belongs to the agent's run
        with log_values.careful("W&B: macro-pretraining", self._lost):
            self._pretraining = self._pretraining or self._pretraining_run()
            self._pretraining.epoch(epoch)

    def start(self, run: RunContext) -> None:
        """Open the W&B run, or go on with that of the run directory."""
        if self.mode == "disabled":
            return
        self._context, self._choosing = run, choosing(run.settings)
        self._origin = log_values.origin(run.run_dir, run.macro)
        if run.macro is not None and not identity.agent_run():
            with log_values.careful("W&B: macro-pretraining", self._lost):
                (self._pretraining or self._pretraining_run()).end(run.settings, run.macro)
        typed = typed_words.read()
        kept, path = identity.keep(run.settings, run.run_dir, self.project, typed, run.macro)
        self._group = self.group or kept["group"]
        config = run_columns.columns(run.settings, run.run_dir, typed)
        if run.macro is not None and not identity.agent_run():
            config["macro_run"] = identity.macro_run(run.macro.parent)
        self._run = self._open(
            id=kept["id"],
            name=self.name or kept["name"],
            group=self._group,
            job_type=kept["job_type"],
            tags=[*self.tags, *identity.tags(run.settings, typed)],
            config={**config, "origin": self._origin},
            dir=self._place(run.run_dir),
        )
        self._rows = LoggedRows(run.run_dir, kept["id"])
        if run.macro is not None:
            with log_values.careful("W&B: macro weights", self._lost):
                self._use_macro(run.macro)
        if self.mode == "online":
            write_json({**kept, "url": self._run.url}, path)
            log.info("W&B run: %s", self._run.url)

    def _pretraining_run(self) -> PretrainingRun:
        return PretrainingRun(
            self._open,
            self.mode == "online",
            (self.project, self.entity),
            self.weights == "all",
            Path(self.dir).expanduser() if self.dir else None,
        )

    def _place(self, run_dir: Path) -> Path:
        """Folder of W&B's own files."""
        return Path(self.dir).expanduser() if self.dir else run_dir

    def _open(self, *, dir: Path, tags: Sequence[str], **what: Any) -> Any:
        """Open a W&B run; an agent has chosen id, project and user or team itself."""
        import wandb

        dir.mkdir(parents=True, exist_ok=True)
        given = {"id": what.pop("id"), "project": self.project, "entity": self.entity}
        try:
            run = wandb.init(
                mode=cast("Any", self.mode),
                **({} if identity.agent_run() else given),
                **what,
                resume="allow",
                reinit="create_new",  # leaves alone what a notebook logs
                tags=list(dict.fromkeys(tags)),
                notes=self.notes,
                dir=dir,
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
        wandb_contents.define_axes(run)
        return run

    def _use_macro(self, weights: Path) -> None:
        """Declare the macro weights as an input; an agent's run gets their curves too."""
        if identity.agent_run():
            for epoch, values in curves.by_epoch(weights.parent):
                named = {f"pretrain/{name}": value for name, value in values.items()}
                self._log_row(("pretrain", epoch), {"pretrain/epoch": epoch, **named})
        artifact = wandb_contents.pretraining_artifact(
            weights, self._origin["macro_weights"], self.weights == "all"
        )
        wandb_contents.use_artifact(self._run, artifact, self.mode == "online")

    def epoch(self, fold: str, epoch: int, values: dict[str, float]) -> None:
        """Log an epoch of a fold."""
        named = {f"fold_curves/{fold}/{name}": value for name, value in values.items()}
        self._log_row((f"fold_curves/{fold}", epoch), {"curves/epoch": epoch, **named})

    def fold(self, progress: Progress) -> None:
        """Log what is known after a fold, against finished folds."""
        if self._run is None:
            return
        with log_values.careful(f"W&B: fold {progress.fold}", self._lost):
            row = log_values.running(self._context.run_dir, progress)
            self._log_row((f"fold {progress.fold}", progress.done), row)

    def _log_row(self, row: tuple[str, int], values: dict[str, Any]) -> None:
        """Log a row of the history that was not logged before.

        Its step is the number of rows before it, so that a continued run goes on.
        """
        what = f"W&B: {row[0]}"
        if self._run is None or what in self._lost:
            return
        with log_values.careful(what, self._lost):
            if row not in self._rows:
                self._run.log(values, step=len(self._rows), commit=True)
                self._rows.add(row)

    def end(self, result: dict[str, Any]) -> None:
        """Log scores, tables, pictures and weights of a complete run, and close the W&B run."""
        if self._run is None:
            return
        run, context = self._run, self._context
        parts: dict[str, Callable[[], None]] = {"scores": lambda: self._scores(result)}
        if result["status"] == "complete":
            parts["learning curves"] = self._mean_curves
            parts["tables"] = lambda: wandb_contents.log_tables(run, context, self._choosing)
            if self._pictures():
                parts["example pictures"] = lambda: wandb_contents.log_examples(
                    run, context, self.examples
                )
            if self.weights == "all":
                parts["weights"] = lambda: self._weights(result)
        with wandb_contents.staging(self._place(context.run_dir) / "wandb" / "staging"):
            for name, part in parts.items():
                with log_values.careful(f"W&B: {name}", self._lost):
                    part()
        if self._lost:
            with log_values.careful("W&B: what could not be logged", self._lost):
                self._run.summary["not_logged"] = list(self._lost)
        self._finish(0)

    def _mean_curves(self) -> None:
        """Log the mean learning curves over the folds."""
        names = [fold.name for fold in self._context.folds]
        for epoch, row in curves.mean(self._context.run_dir, names).iterrows():
            known = {f"curves/{name}": value for name, value in row.dropna().items()}
            self._log_row(("curves", int(str(epoch))), {"curves/epoch": epoch, **known})

    def _pictures(self) -> bool:
        """Whether there are pictures to log: none of test persons while something is chosen."""
        run = self._context
        may = may_be_shown(run.settings, run.dataset, self.faces)
        return bool(self.examples) and may and not self._choosing

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
                macro = None if self._context.macro is None else self._context.macro.parent
                written = [] if macro is None else [(self._place(macro), identity.macro_run(macro))]
                written.append((self._place(self._context.run_dir), run.id))
                log.info("W&B: to send this run, type: %s", identity.sync_command(written))

    def _scores(self, result: dict[str, Any]) -> None:
        """All numbers of the run; of an incomplete one, that it is."""
        counts = {"folds/total": result["folds"], "folds/missing": len(result["missing_folds"])}
        values = log_values.final(result, self._choosing)
        self._run.summary.update({"status": result["status"], **counts, **values})

    def _weights(self, result: dict[str, Any]) -> None:
        values = log_values.final(result, self._choosing)
        # Pooled scores alone: an artifact takes a hundred keys.
        pooled = {key: value for key, value in values.items() if key.count("/") < 3}
        wandb_contents.log_weights(self._run, self._context, {**pooled, **self._origin})


def _word(value: object) -> str | None:
    return None if value is None else str(value)
