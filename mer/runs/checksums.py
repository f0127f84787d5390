"""Checksums of a finished run: what was edited, lost or mixed up since shows wherever it is read.

`checksums.json` holds the SHA-256 of every file that the scores rest on, and of the scores. Whoever
edits files and writes new checksums is not found out by them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mer.files import sha256, write_json
from mer.runs import run_files
from mer.runs.rundir import COMPLETE, UNTESTED

FILE = "checksums.json"

#: Key of the scores, which stand in a file that a later look at the test labels writes anew.
SCORES = "scores of metrics.json"

#: Files at the top of a run directory that have a checksum.
FILES = (
    "config.yaml",
    "manifest.parquet",
    "splits.parquet",
    "signatures.parquet",
    "predictions*.parquet",
    "baseline*.parquet",
    "calibration*.json",
    "pretrained.ckpt",
)

#: Endings of files that are no part of a run: locks, and what `mer export` puts beside the weights.
BESIDE = (".lock", ".onnx", ".pt2", ".data", ".md")

NAMED = 3  # files that a sentence names


def write(run_dir: Path, metrics: Mapping[str, Any]) -> None:
    """Write the checksums of the files and scores of a complete run."""
    sums = {_name(run_dir, path): sha256(path) for path in _files(run_dir)}
    write_json({SCORES: _of_scores(metrics), **sums}, run_dir / FILE)


def changes(run_dir: Path, metrics: Mapping[str, Any], networks: bool = False) -> list[str]:
    """What was changed since the checksums were written, in sentences.

    With `networks` of the checkpoints, too, which are the largest files.

    Returns:
        No sentence for a run that isn't finished, or has no checksums.
    """
    path = run_dir / FILE
    if metrics.get("status") not in (COMPLETE, UNTESTED) or not path.is_file():
        return []
    written = run_files.read_json(path)
    found = {SCORES: _of_scores(metrics)}
    for file in _files(run_dir):
        if networks or file.suffix != ".ckpt":
            found[_name(run_dir, file)] = sha256(file)
    due = {name for name in written if networks or not str(name).endswith(".ckpt")}
    groups = {
        "changed": [name for name in found if name in due and found[name] != written[name]],
        "missing": sorted(due - set(found)),
        "new": [name for name in found if name not in written],
    }
    return [
        f"{_some(names)} {'is' if len(names) == 1 else 'are'} {what} since the run was finished"
        for what, names in groups.items()
        if names
    ]


def _files(run_dir: Path) -> Iterator[Path]:
    """The files that have a checksum, in order."""
    for pattern in (*FILES, "folds/*/*"):
        for path in sorted(run_dir.glob(pattern)):
            if path.is_file() and path.name[0] != "." and path.suffix not in BESIDE:
                yield path


def _name(run_dir: Path, path: Path) -> str:
    return path.relative_to(run_dir).as_posix()


def _of_scores(metrics: Mapping[str, Any]) -> str:
    scores = {name: metrics.get(name) for name in ("heads", "validation")}
    scores |= {"like": metrics["like"]} if "like" in metrics else {}
    return hashlib.sha256(json.dumps(scores, sort_keys=True).encode()).hexdigest()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
