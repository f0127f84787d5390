"""Finding and reading run directories, without anything that trains."""

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from mer.errors import MerError, raise_all
from mer.metrics import SCORES
from mer.rundir import flatten, is_done, is_volatile

Parts = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Run:
    """A run directory, as far as a comparison needs it.

    Args:
        directory: As it was named.
        name: The shortest end of its path that no other run of the comparison has.
        status: `complete`, or `incomplete: 3 of 15 folds`.
        config: Dotted key -> value, without the keys that say where and how fast.
        metrics: Content of `metrics.json`; empty where there is none.
        samples: (sample, dataset, person, label) of everything that is tested.
        data_hash: Of the last start; None where it is not known.
    """

    directory: Path
    name: str
    status: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    samples: frozenset[Parts]
    data_hash: str | None

    @property
    def complete(self) -> bool:
        """Whether there are scores."""
        return self.status == "complete"

    def scores(self, head: str | None, part: str) -> tuple[str, dict[str, Any]]:
        """Name the head that is meant and its scores on a part; `{}` where there are none.

        Args:
            head: By default the SVM where there is one, else the softmax.
            part: `pooled` or a dataset.
        """
        heads = self.metrics.get("heads", {})
        chosen = head or ("svm" if "svm" in heads else "softmax")
        return chosen, heads.get(chosen, {}).get(part, {})


def read(paths: Sequence[Path]) -> list[Run]:
    """Read run directories and folders that contain some; each run once, in the order of names.

    Raises:
        MerError: If a path holds no run or a file of a run cannot be read; all are listed.
    """
    problems: list[str] = []
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        inner = _runs_in(path)
        found |= {run.resolve(): run for run in inner}
        problems += [] if inner else [_no_run(path)]
    names = shortest_ends(place.parts for place in found)
    runs = []
    for place, directory in found.items():
        try:
            runs.append(_read(directory, "/".join(names[place.parts])))
        except MerError as error:
            problems.append(str(error))
    raise_all("These cannot be compared:", problems)
    return sorted(runs, key=lambda run: _natural(run.name))


def shortest_ends(paths: Iterable[Parts], least: int = 1) -> dict[Parts, Parts]:
    """Give each path the shortest end that no other path has, of at least so many parts.

    A path that is itself the end of another one stays whole.
    """
    paths = list(paths)
    counts = Counter(path[start:] for path in paths for start in range(len(path)))
    return {
        path: next(
            (
                path[start:]
                for start in reversed(range(max(1, len(path) - least + 1)))
                if counts[path[start:]] == 1
            ),
            path,
        )
        for path in paths
    }


def _natural(name: str) -> list[tuple[int, str]]:
    """Order 2 before 10."""
    return [(int(word), "") if word.isdigit() else (-1, word) for word in re.split(r"(\d+)", name)]


def _runs_in(folder: Path) -> list[Path]:
    if (folder / "config.yaml").is_file():
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
    outer = [folder for folder in path.absolute().parents if (folder / "config.yaml").is_file()]
    if outer and path.exists():
        return f"{path} lies inside a run: type {outer[0]}"
    if path.is_dir():
        there = ", ".join(sorted(p.name for p in path.iterdir())[:3]) or "nothing"
        return f"{path} holds no run (found {there}): name a run directory or a folder of them"
    if path.exists():
        return f"{path} is a file: name the directory of a run, which has a config.yaml"
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, beside, n=2)
    hint = " or ".join(str(path.parent / name) for name in close)
    return f"{path} does not exist: " + (f"did you mean {hint}?" if close else "check its path")


def _read(directory: Path, name: str) -> Run:
    config = _load(directory / "config.yaml", lambda path: flatten(OmegaConf.load(path)))
    metrics = _load(directory / "metrics.json", _metrics, {})
    data_hash = _load(directory / "environment.json", _data_hash)
    manifest = _load(directory / "manifest.parquet", _manifest)
    if "protocol.name" not in config:
        raise MerError(f"{directory}/config.yaml names no protocol: it is not one of `mer train`")
    complete = metrics.get("status") == "complete"
    if complete and (manifest is None or "heads" not in metrics):
        lacking = "manifest.parquet is missing" if manifest is None else "there are no scores in it"
        raise MerError(f"{directory}/metrics.json says complete, but {lacking}: copy the run again")
    decisive = {key: value for key, value in config.items() if not is_volatile(key)}
    columns = ["sample_id", "dataset", "person", "label"]
    samples = [] if manifest is None else manifest[columns].itertuples(index=False, name=None)
    return Run(
        directory=directory,
        name=name,
        status="complete" if complete else _progress(directory, manifest),
        config=decisive,
        metrics=metrics,
        samples=frozenset(samples),
        data_hash=data_hash,
    )


def _progress(directory: Path, manifest: pd.DataFrame | None) -> str:
    if manifest is None:
        return "incomplete: no fold yet"
    folds = manifest["fold"].unique()
    done = sum(is_done(directory, fold) for fold in folds)
    pooled = ", not pooled" if done == len(folds) else ""
    return f"incomplete: {done} of {len(folds)} folds{pooled}"


def _metrics(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    content["status"]  # this and the next lines fail where something is not as `results` writes it
    for parts in content.get("heads", {}).values():
        for values in parts.values():
            for name in SCORES:
                low, high = values["intervals"][name]
                float(values[name] + low + high)
    return dict(content)


def _data_hash(path: Path) -> str:
    return str(json.loads(path.read_text())[-1]["data_hash"])


def _manifest(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path, columns=["sample_id", "dataset", "person", "label", "fold"])


def _load(path: Path, load: Callable[[Path], Any], absent: Any = None) -> Any:
    """Read a file of a run; every format raises errors of its own, the user sees one."""
    if not path.exists():
        return absent
    try:
        return load(path)
    except Exception as error:
        mend = "copy it again or leave this run out"
        if path.name == "metrics.json":
            mend = f"`mer train` with the same words and run.dir={path.parent} writes it again"
        what = f"{type(error).__name__}: {error}".split("\n")[0]
        raise MerError(f"{path} cannot be read ({what}): {mend}") from error
