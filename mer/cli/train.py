"""`mer train`: compose a configuration, carry out the run, print the table."""

import contextlib
import copy
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from mer.cli import failures, train_help, train_words
from mer.cli.made_folders import Folders
from mer.cli.options import cache_to_make, require_writable
from mer.config import absent, sweeps
from mer.config.composition import check_words, conf_dir, to_plain, typed
from mer.config.hydra_options import options_first, own_classes, take_trust
from mer.config.settings import Settings
from mer.config.stored import check_folder
from mer.errors import MerError, interruption, raise_all
from mer.progress import say_loading
from mer.runs.run_folders import require_runs

log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Run with Hydra overrides such as `data=megc2019 backbone=resnet18 seed=1`.

    With `-m`, test scores are left out while something is being chosen; `--test` shows them. And
    with `-m`, `protocol.folds=split(4)` spreads the folds of one run over four jobs, which the
    launcher (`hydra/launcher=joblib`, `submitit_slurm`, `ray`) carries out wherever it does.

    Returns:
        Exit status: 0 when every fold is done, 3 when the run is incomplete.

    Raises:
        MerError: If the run cannot be carried out, or something has ended it from inside.
    """
    if {"--help", "-h"} & set(argv):
        return train_help.main(argv)
    words = take_trust(argv)
    train_words.check(words)
    words = ["trial.test=true" if word == "--test" else word for word in words]
    words = [_spread(word) for word in own_classes(sweeps.plain(options_first(words)))]
    words = _with_directory(words)
    options = {word.partition("=")[0] for word in words if word.startswith("-")}
    several = bool({"-m", "--multirun"} & options)
    config = check_words(words)
    if config is not None:
        settings = typed(config)
        raise_all("The configuration cannot be used:", absent.problems(to_plain(config)))
        _require_data(settings)
        _check_folders(config, alone=not several)
        say_loading()
    if several and (shown := {"--cfg", "-c", "--info", "-i"} & options):
        raise MerError(f"{shown.pop()} shows one configuration: leave out -m, and type no sweep")
    if not options and any(word.startswith("search=") for word in words):
        raise MerError(f"a search is a sweep; add -m: mer train -m {shlex.join(argv)}")
    sys.argv = ["mer train", *words]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that errors get here, to be said once
    for answers in (_JOBS, STATUS, _ERRORS):
        answers.clear()
    FOLDERS.begin(None if config is None else Path(config.run.dir))
    try:
        _entry()
    except SystemExit as stop:
        if not _JOBS or stop.code or interruption(stop):
            raise
        raise MerError(
            "a callback or library has ended the process (SystemExit) before the run was complete. "
            "Finished folds are kept; the same command goes on."
        ) from stop
    finally:
        FOLDERS.end()
    if _ERRORS:
        raise _ERRORS.pop()
    return STATUS.pop() if STATUS else 0


#: Exit statuses of the jobs of this process; Hydra gives a job no other way to answer.
STATUS: list[int] = []

#: What this command makes on the disk.
FOLDERS = Folders()

#: What a run that is no job of a sweep has raised; Hydra would print its own account of it.
_ERRORS: list[Exception] = []

#: One entry for each job that this process has begun since `main` was called.
_JOBS: list[str] = []


def _spread(word: str) -> str:
    """Write `protocol.folds=split(3)` as the sweep `protocol.folds=1/3,2/3,3/3`."""
    found = re.fullmatch(r"(protocol\.folds=)split\((\d+)\)", word)
    if not found or not int(found[2]):
        return word
    number = int(found[2])
    return found[1] + ",".join(f"{place}/{number}" for place in range(1, number + 1))


def _with_directory(words: list[str]) -> list[str]:
    """Name the directory of a model on everybody after the run whose settings it takes over."""
    like = [word.partition("=")[2] for word in words if word.startswith("protocol.like=")]
    named = any(word.startswith(("run.dir=", "-")) for word in words)
    return words if named or not like else [*words, f"run.dir={like[0].rstrip('/')}-all"]


def _require_data(settings: Settings) -> None:
    """Say what is missing of the datasets before anything heavy is imported."""
    if settings.protocol.like is not None:
        require_runs([Path(settings.protocol.like)])
        return
    if settings.data.preset is not None:
        return
    data, roles = settings.data, ["micro", "macro"] if settings.macro.reads_datasets else ["micro"]
    if not all(data.path_of(node).exists() for _, _, node in data.nodes(*roles)):
        from mer.data import sources

        sources.read(settings, *roles)  # whose message names all of them


def _check_folders(config: DictConfig, alone: bool) -> None:
    """Refuse folders that cannot be written, or have links out of them, before the run begins.

    Args:
        config: Composed configuration.
        alone: Whether this is a run, and no sweep, whose runs have directories of their own.
    """
    search = OmegaConf.select(config, "search.dir")
    folders = {"search.dir=": search, **cache_to_make(config.paths.cache)}
    require_writable({}, folders | ({"run.dir=": config.run.dir} if alone else {}))
    for folder in (config.run.dir, search):
        if folder is not None and Path(folder).is_dir():
            check_folder(Path(folder))


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def _entry(cfg: DictConfig) -> float | list[float] | None:
    hydra_config = HydraConfig.get()
    alone = hydra_config.mode != RunMode.MULTIRUN
    # The jobs of a sweep have a directory each, but the jobs that share one run's folds share its.
    shared = not alone and cfg.protocol.folds is not None
    run_dir = Path(cfg.run.dir if shared else hydra_config.runtime.output_dir)
    try:
        with _brief(said=bool(_JOBS)):
            return train(cfg, run_dir, alone, hydra_config.overrides.task)
    except BaseException as error:
        if isinstance(error, Exception):
            _log_to_file(error, begin=cfg.trial.number is not None)
        FOLDERS.failed(Path(hydra_config.runtime.output_dir))
        if not alone or not isinstance(error, Exception):
            raise
        _ERRORS.append(error)
        return None


def _log_to_file(error: Exception, begin: bool) -> None:
    """Let the log of a run, `train.log`, end with its error, which the console gets elsewhere.

    Args:
        error: What has ended the run.
        begin: Whether the file begins with it where the run has computed nothing yet.
    """
    from mer.cli.start_files import RunLog

    known = failures.explain(error).status == 2
    trace = None if known else (type(error), error, error.__traceback__)
    words = (log.name, logging.ERROR, __file__, 0, str(error) or type(error).__name__, (), trace)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, RunLog):
            if begin:
                handler.begin()
            handler.handle(log.makeRecord(*words))


@contextlib.contextmanager
def _brief(said: bool) -> Iterator[None]:
    """Keep quiet about what was read and prepared: it is the same for every job of a sweep.

    Args:
        said: Whether an earlier job of this process has said it.
    """
    _JOBS.append("done")
    names = ("data", "prepare", "training.pretrain", "models", "training.workers")
    loggers = [logging.getLogger(f"mer.{name}") for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers if said else []:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def train(
    cfg: DictConfig, run_dir: Path, alone: bool = True, words: Sequence[str] = ()
) -> float | list[float] | None:
    """Carry out a run and print its table.

    Args:
        cfg: Composed configuration.
        run_dir: Run directory.
        alone: Whether this is no job of a sweep; only then missing folds give exit status 3.
        words: Words that were typed, which may only say where and how fast beside `protocol.like`.

    Returns:
        The values of `cfg.objective` (a list if that is one), which a sweep may optimise: scores of
        the validation persons, or the cost of the network. None while folds are missing or without
        validation persons. Of a trial with several seeds, the means. The test score is never
        returned.
    """
    if agent := os.environ.get("WANDB_SWEEP_ID"):  # `wandb agent` has started this run
        cfg.trial.varied = [*cfg.trial.varied, f"W&B sweep {agent}"]
    seeds = 1 if cfg.trial.number is None else OmegaConf.select(cfg, "search.seeds", default=1)
    found: list[list[float]] = []
    for place in range(seeds):
        one = copy.deepcopy(cfg)
        one.seed += place
        folder = run_dir if seeds == 1 else run_dir / f"seed-{one.seed}"
        values = _run(one, folder, alone, words, found)
        if values is None:
            return None
        found.append(values)
    means = [sum(column) / len(column) for column in zip(*found, strict=True)]
    return means if isinstance(cfg.objective, list | ListConfig) else means[0]


def _run(
    cfg: DictConfig,
    run_dir: Path,
    alone: bool,
    words: Sequence[str],
    earlier: Sequence[Sequence[float]],
) -> list[float] | None:
    """Carry out one run; see `train`.

    Args:
        cfg: Composed configuration.
        run_dir: Run directory.
        alone: Whether this is no job of a sweep.
        words: Words that were typed.
        earlier: Values of the same trial's runs with other seeds.

    Returns:
        The value of each objective, or None.
    """
    settings = typed(cfg)

    from mer import metrics
    from mer.cli.start_files import StartFiles
    from mer.loggers import make_observers
    from mer.runs import results
    from mer.runs.choice import choosing
    from mer.training import everybody, runner

    if cfg.protocol.get("like") is not None:
        settings = everybody.settings_like(settings, words)
    observers = [StartFiles(cfg), *make_observers(cfg.logger)]
    if cfg.trial.number is not None:
        from mer.search.reporting import TrialReporter

        # First, so that no logger takes a pruned trial's last fold for its end.
        hydra_config = HydraConfig.get()
        folder = Path(hydra_config.runtime.cwd, hydra_config.sweep.dir)
        reporter = TrialReporter(hydra_config.sweeper, folder, cfg.trial.number, earlier)
        observers.insert(0, reporter)
    result = runner.run(settings, run_dir, observers)
    scores = {head: parts["pooled"] for head, parts in result.get("validation", {}).items()}
    if not alone and cfg.protocol.folds is not None:
        log.info("folds %s are done", cfg.protocol.folds)  # the sweep shows the whole run, once
    elif not choosing(settings) or result["status"] == "incomplete":
        results.show(settings, run_dir, result)
    else:
        said = [
            f"{head} {values['uf1']:.3f}" for head, values in scores.items() if head != "majority"
        ]
        number = cfg.trial.number
        what = run_dir if number is None else f"trial {number}"
        log.info("%s: validation UF1 of %s", what, ", ".join(said) or "nobody")
    if result["status"] == "incomplete":
        if alone:
            STATUS.append(3)
        return None
    names = [cfg.objective] if isinstance(cfg.objective, str) else list(cfg.objective)
    if not scores and set(names) - set(metrics.COSTS):
        return None
    return results.objective(scores, result["cost"], names)
