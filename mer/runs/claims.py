"""Claiming a run directory: it is one run's, and stays so once its first fold has begun."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from omegaconf import OmegaConf

from mer.config import maker, stored
from mer.config.conversion import to_plain
from mer.config.settings import Settings
from mer.errors import MerError, raise_all
from mer.files import UNFINISHED, write_whole
from mer.runs import run_files, rundir

#: What a run has written before its first fold, beside its configuration.
PLANS = (
    "manifest.parquet",
    "splits.parquet",
    "signatures.parquet",
    "dropped.csv",
    "folds.csv",
    "environment.json",
)

#: Age of an unfinished file that nobody is writing any more.
UNFINISHED_SECONDS = 600


def claim(run_dir: Path, settings: Settings, replace: bool = True) -> None:
    """Make the run directory, or check that it belongs to the same configuration.

    Args:
        run_dir: The directory.
        settings: Settings of the run.
        replace: Whether another run may be replaced that has not got as far as its first fold;
            if not, this one has.

    Raises:
        MerError: As `check` does.
    """
    path = run_dir / "config.yaml"
    run_dir.mkdir(parents=True, exist_ok=True)
    stored.check_folder(run_dir)
    with FileLock(run_dir / ".lock"):
        _remove_old_unfinished(run_dir)
        if not check(run_dir, settings, replace):
            for name in PLANS:  # of a run that ended before its first fold
                (run_dir / name).unlink(missing_ok=True)
            write_config(path, settings)
        elif not maker.is_own(path) and stored.read_mapping(path) == _config(settings):
            maker.mark_file(path)
        if not replace:
            (run_dir / "folds").mkdir(exist_ok=True)  # from now on nobody replaces this run


@contextlib.contextmanager
def claimed(run_dir: Path, settings: Settings) -> Iterator[Callable[[], None]]:
    """Claim a directory; where the body is refused before it computes anything, it is as before.

    Yields:
        What the body calls when it has computed something: from then on the directory stays.

    Raises:
        MerError: As `check` does.
    """
    there = run_dir.is_dir()
    empty = not there or not any(run_dir.iterdir())
    claim(run_dir, settings)
    computed: list[bool] = []
    try:
        yield lambda: computed.append(True)
    except MerError:
        if empty and not computed:
            _remove_plans(run_dir, settings)
        if not there:
            with contextlib.suppress(OSError):
                run_dir.rmdir()
        raise


def _remove_plans(run_dir: Path, settings: Settings) -> None:
    """Empty a directory that holds plans of this run alone, and of no other process."""
    config, lock = run_dir / "config.yaml", run_dir / ".lock"
    known = {config.name, maker.FILE, lock.name, ".hydra", *PLANS}
    with FileLock(lock):
        if not config.exists() or stored.read_mapping(config) != _config(settings):
            return  # another run has taken its place
        entries = [path for path in run_dir.iterdir() if path not in (config, lock)]
        starts = run_dir / "environment.json"
        alone = not starts.exists() or len(run_files.read_json(starts, list)) == 1
        if alone and all(path.name in known or path.suffix == ".log" for path in entries):
            for path in [*entries, config, lock]:  # until the last two are gone, it is this run's
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def check(run_dir: Path, settings: Settings, replace: bool = True) -> bool:
    """Refuse a directory that is another run's; nothing is written.

    Args:
        run_dir: The directory, which need not be there.
        settings: Settings of the run.
        replace: Whether another run may be replaced that has not got as far as its first fold.

    Returns:
        Whether it holds this run.

    Raises:
        MerError: If it holds another run (the differing keys are listed) or something else.
    """
    if not run_dir.exists():
        return False
    stored.check_folder(run_dir)
    path = run_dir / "config.yaml"
    if not path.exists():
        strangers = [p.name for p in run_dir.iterdir() if p.name[0] != "." and p.suffix != ".log"]
        if not strangers:
            return False
        if not path.exists():  # else another process has started there meanwhile
            raise MerError(
                f"{run_dir} is not empty and holds no run (found "
                f"{', '.join(sorted(strangers)[:3])}). Set another run.dir."
            )
    different = differences(*map(rundir.lasting, (stored.read_mapping(path), _config(settings))))
    if not replace or _has_begun(run_dir):
        raise_all(
            f"{run_dir} holds a run with another configuration. Set another run.dir, or the old "
            "values:",
            different,
        )
    return not different


def write_config(path: Path, settings: Settings) -> None:
    """Write the configuration of a run, or of a fold that chose its own."""
    config = OmegaConf.create(_config(settings))
    write_whole(path, lambda temporary: OmegaConf.save(config, temporary))
    maker.mark_file(path)


def _config(settings: Settings) -> dict[str, Any]:
    config: dict[str, Any] = to_plain(settings)
    config["protocol"]["folds"] = None  # which folds one process does is no property of the run
    for node, key in ((config, "debug"), (config["macro"], "weights")):
        if node[key] is None:  # as in nearly all runs: then it is no setting of theirs
            del node[key]
    return config


def _has_begun(run_dir: Path) -> bool:
    """Whether a run has got as far as its first fold; until then its directory is anybody's.

    An ensemble has predictions without folds.
    """
    return (run_dir / "folds").exists() or rundir.find(run_dir, "predictions.parquet") is not None


def _remove_old_unfinished(run_dir: Path) -> None:
    """Remove files that a killed process was writing; others may be writing theirs now."""
    for path in run_dir.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > UNFINISHED_SECONDS:
                path.unlink()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say which settings differ between what a directory holds and what was typed now."""
    return [
        f"{key}: {old.get(key)} there, {new.get(key)} now"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
