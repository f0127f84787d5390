"""Finding and reading run directories and files of predictions, without anything that trains."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mer.compare import prediction_files
from mer.errors import MerError, raise_all
from mer.runs import members, run_files, stored_run
from mer.runs.choice import choosing
from mer.runs.head_columns import main_head
from mer.runs.run_folders import absent, is_pruned, is_run, with_run
from mer.runs.rundir import UNTESTED, find, flatten, fold_folder, is_volatile

Parts = tuple[str, ...]

#: Status of a run that trained on everybody.
NO_SCORE = "no score: trained on everybody"

#: Behind the name of a run whose score is none to report.
WARNED = "!!"


@dataclass(frozen=True, eq=False)
class Run:
    """A run directory, or a file of predictions, as far as a comparison needs it.

    Args:
        directory: Path as the user gave it, of a directory or file.
        name: The shortest end of its path that no other run of the comparison has.
        status: `complete`, `incomplete: 3 of 15 folds` or `pruned trial: 3 of 15 folds`.
        given: Place of the word that named it.
        config: Dotted key -> value, without the keys that say where and how fast.
        metrics: Content of `metrics.json`; empty where there is none.
        samples: (sample, dataset, person, label) of everything that is tested.
        data_hash: Hash of the data at the last start; None where it is not known.
        candidate: Whether it is one of a sweep or search that compares such runs.
        group: Its group at W&B; None where it has none.
        warnings: Why its score is none to report.
        remarks: What was tried on the test labels after its score was seen.
        table: `sample_id` and `prediction` of a file; None for a run directory.
    """

    directory: Path
    name: str
    status: str
    given: int
    config: dict[str, Any]
    metrics: dict[str, Any]
    samples: frozenset[Parts]
    data_hash: str | None
    candidate: bool = False
    group: str | None = None
    warnings: Sequence[str] = ()
    remarks: Sequence[str] = ()
    table: pd.DataFrame | None = None

    @property
    def complete(self) -> bool:
        """Whether there are scores."""
        return self.status == "complete"

    @property
    def is_file(self) -> bool:
        """Whether it is the output of another program, of which no setting is known."""
        return self.table is not None

    @property
    def members(self) -> list[str]:
        """Members of an ensemble, as RUN:HEAD; empty for a run that was trained."""
        nodes = members.nodes_of(self.config)
        return [f"{Path(node['run']).name}:{node['head']}" for node in nodes]

    @property
    def has_settings(self) -> bool:
        """Whether it was trained with settings that are known."""
        return not self.is_file and not self.members

    def uses(self, key: str) -> bool:
        """Whether a setting plays a part; those of macro-pretraining do not where it is off."""
        return not key.startswith("macro.") or (
            key == "macro.enabled" or self.config.get("macro.enabled") is not False
        )

    @property
    def shown(self) -> str:
        """Its name, with a sign where the score is none to report."""
        return f"{self.name} {WARNED}" if self.warnings else self.name

    def scores(self, head: str | None, part: str) -> tuple[str, dict[str, Any]]:
        """Name the head that is meant (by default a run's first) and its scores; `{}` for none."""
        heads = self.metrics.get("heads", {})
        if self.is_file and head != "majority":
            head = "file"
        chosen = head or main_head(heads)
        return chosen, heads.get(chosen, {}).get(part, {})


def read(paths: Sequence[Path], group: str | None = None) -> list[Run]:
    """Read run directories, folders that contain some, and files of predictions.

    With `group` run directories of that W&B group alone.

    Returns:
        Each run once, in the order of names.

    Raises:
        MerError: If a path holds no run, no run has the group, or a file of a run cannot be read;
            all are listed.
    """
    problems: list[str] = []
    found: dict[Path, tuple[int, Path]] = {}
    paths = with_run(
        [Path(path) for path in paths], lambda path: bool(_runs_in(path) or _around(path))
    )
    for given, path in enumerate(paths):
        is_file = path.is_file() and path.suffix.lower() in prediction_files.ENDINGS
        inner = [path] if is_file else _runs_in(path)
        for run in inner:
            found.setdefault(run.resolve(), (given, run))
        problems += [] if inner else [_no_run(path)]
    if group is not None and not problems:
        found = _of_group(found, group)
    names = shortest_ends(place.parts for place in found)
    runs: list[Run] = []
    tables: list[tuple[Path, str, int, pd.DataFrame]] = []
    for place, (given, path) in found.items():
        name = "/".join(names[place.parts])
        try:
            if path.is_dir():
                runs.append(_read(path, name, given))
            else:
                tables.append((path, name, given, prediction_files.load(path)))
        except MerError as error:
            outer = [] if path.is_dir() else _around(path)
            problems.append(
                f"{error}; or type {outer[0]}, the run it lies in" if outer else str(error)
            )
    for path, name, given, table in sorted(tables, key=lambda item: "label" not in item[3]):
        try:
            runs.append(_score(path, name, given, table, runs))
        except MerError as error:
            problems.append(str(error))
    raise_all("These cannot be compared:", problems)
    return sorted(runs, key=lambda run: _natural(run.name))


def _of_group(found: dict[Path, tuple[int, Path]], group: str) -> dict[Path, tuple[int, Path]]:
    """Keep the run directories of one W&B group, and all files."""
    of = {
        place: _wandb_group(stored_run.Run(run))
        for place, (_, run) in found.items()
        if run.is_dir()
    }
    if group not in of.values():
        known = ", ".join(sorted({name for name in of.values() if name})) or "none"
        raise MerError(f"No run of these has the W&B group {group}; their groups are: {known}")
    return {place: one for place, one in found.items() if of.get(place, group) == group}


def _wandb_group(run: stored_run.Run) -> str | None:
    """Group of a run at W&B, as it was set, or as the W&B logger wrote it beside the run."""
    written = (run_files.read_json(path) for path in sorted(run.directory.glob("wandb*.json")))
    groups = (run.get("logger.wandb.group"), *(one.get("group") for one in written))
    return next((str(group) for group in groups if group), None)


def _score(path: Path, name: str, given: int, table: pd.DataFrame, beside: Sequence[Run]) -> Run:
    """Make a run of a file; what it lacks comes from the runs beside it."""
    known = {row[0]: (row[1], row[2], row[3]) for run in beside for row in run.samples}
    classes = next((run.config["labels.classes"] for run in beside if run.samples), None)
    scored = prediction_files.complete(path, table, known, classes)
    columns = ["sample_id", "dataset", "person", "label"]
    return Run(
        directory=path,
        name=name,
        status="complete",
        given=given,
        config={"labels.classes": scored.classes},
        metrics={"status": "complete", "heads": scored.heads},
        samples=frozenset(scored.table[columns].itertuples(index=False, name=None)),
        data_hash=None,
        table=scored.table,
    )


def shortest_ends(paths: Iterable[Parts]) -> dict[Parts, Parts]:
    """Give each path the shortest end that no other path has.

    A path that is itself the end of another one stays whole.
    """
    paths = list(paths)
    counts = Counter(path[start:] for path in paths for start in range(len(path)))
    return {
        path: next(
            (path[start:] for start in reversed(range(len(path))) if counts[path[start:]] == 1),
            path,
        )
        for path in paths
    }


def _natural(name: str) -> list[tuple[int, str]]:
    """Order 2 before 10."""
    return [
        (int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", name)
    ]


def _runs_in(folder: Path) -> list[Path]:
    if is_run(folder):
        return [folder]
    inner = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        run
        for path in inner
        # W&B has files called config.yaml of its own.
        if path.is_dir() and path.name[0] != "." and path.name != "wandb"
        for run in _runs_in(path)
    ]


def _no_run(path: Path) -> str:
    outer = _around(path)
    if outer and path.exists():
        return f"{path} lies inside a run: type {outer[0]}"
    if path.is_dir():
        there = ", ".join(sorted(p.name for p in path.iterdir())[:3]) or "nothing"
        return f"{path} holds no run (found {there}): name a run directory or a folder of them"
    if path.exists():
        return (
            f"{path} is a file: name the directory of a run, which has a config.yaml, or "
            "predictions as .csv or .parquet"
        )
    return absent(path)


def _around(path: Path) -> list[Path]:
    return [folder for folder in path.absolute().parents if is_run(folder)]


def _read(directory: Path, name: str, given: int) -> Run:
    run = stored_run.Run(directory)
    config, metrics, manifest = flatten(run.config), run.metrics, run.manifest
    if "protocol.name" not in config:
        raise MerError(f"{directory}/config.yaml names no protocol: it is not one of `mer train`")
    if lacking := [key for key in ("seed", "labels.classes") if key not in config]:
        path = directory / "config.yaml"
        raise MerError(f"{path} is cut off (no {', '.join(lacking)} in it): {run_files.mend(path)}")
    members.nodes_of(config)  # which refuses what is none
    for fold in run.folds:
        fold_folder(directory, fold)  # which refuses a name that leads out of the run
    complete = metrics.get("status") == "complete"
    if complete and (manifest is None or "heads" not in metrics):
        reason = "manifest.parquet is missing" if manifest is None else "there are no scores in it"
        raise MerError(
            f"{find(directory, 'metrics.json')} says complete, but {reason}: copy the run again"
        )
    columns = ["sample_id", "dataset", "person", "label"]
    samples = [] if manifest is None else manifest[columns].itertuples(index=False, name=None)
    return Run(
        directory=directory,
        name=name,
        status="complete" if complete else _progress(run),
        given=given,
        config={key: value for key, value in config.items() if not is_volatile(key)},
        metrics=metrics,
        samples=frozenset(samples),
        data_hash=run.environment[-1]["data_hash"] if run.environment else None,
        group=_wandb_group(run),
        candidate=choosing(run.config),
        warnings=run.warnings,
        remarks=run.remarks,
    )


def _progress(run: stored_run.Run) -> str:
    if run.manifest is None:
        return "incomplete: no fold yet"
    if run.metrics.get("status") == UNTESTED:
        return NO_SCORE
    folds = f"{len(run.done)} of {len(run.folds)} folds"
    if is_pruned(run.directory):
        return f"pruned trial: {folds}"
    pooled = ", not pooled" if len(run.done) == len(run.folds) else ""
    return f"incomplete: {folds}{pooled}"
