"""`mer ensemble`: the mean of several runs' scores, as a run directory of its own.

It holds what a run without networks can hold: config.yaml (with the members), manifest, pooled
predictions of the one head `ensemble`, metrics, label access log and checksums. Labels play no part
in the mean; they meet it when it is scored, which is the first look in its log.
"""

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from mer.config import maker
from mer.errors import MerError
from mer.files import UNFINISHED, write_json, write_parquet
from mer.runs import checksums, environment, label_access, members, results, run_files
from mer.runs.head_columns import BASELINE, ENSEMBLE, file_of
from mer.runs.members import Member
from mer.runs.rundir import find, marked
from mer.runs.stored_run import Run


def make(words: Sequence[str | Path], directory: Path) -> Run:
    """Write the ensemble of some runs.

    Raises:
        MerError: If these cannot be members, or the directory holds something.
    """
    parsed = members.parse(words)
    members.check(parsed)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise MerError(f"{directory} is there and not empty; give another --name")
    directory.parent.mkdir(parents=True, exist_ok=True)
    new = directory.with_name(f"{UNFINISHED}{uuid4().hex}-{directory.name}")
    try:
        new.mkdir()
        _write(parsed, new, directory)
        if directory.exists():
            directory.rmdir()
        new.rename(directory)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Run(directory)


def predict(parsed: Sequence[Member], manifest: pd.DataFrame) -> pd.DataFrame:
    """Predictions of an ensemble: the manifest with the columns of its head."""
    classes = parsed[0].run.classes
    scores = members.mean(parsed, manifest["sample_id"].tolist())
    columns = {f"{ENSEMBLE}_{name}": scores[:, number] for number, name in enumerate(classes)}
    said = np.asarray(classes, dtype=object)[scores.argmax(axis=1)]
    return manifest.assign(**columns, **{ENSEMBLE: said})


def selection_of(parsed: Sequence[Member]) -> str:
    """`oracle` if any member's epochs were chosen on test persons, else what all members say."""
    said = {str(member.run.get("selection", "last")) for member in parsed}
    return "oracle" if "oracle" in said else said.pop() if len(said) == 1 else "last"


def _write(parsed: Sequence[Member], folder: Path, directory: Path) -> None:
    """Write all files into a folder that will be the directory."""
    first, config = parsed[0].run, _config(parsed, directory)
    path = folder / "config.yaml"
    OmegaConf.save(OmegaConf.create(config), path)
    maker.mark_file(path)
    assert first.manifest is not None  # it is complete
    manifest = first.manifest
    write_parquet(manifest, folder / "manifest.parquet")
    if (dropped := first.directory / "dropped.csv").exists():
        shutil.copyfile(dropped, folder / dropped.name)
    hashes = dict.fromkeys(one.run.environment[-1].get("data_hash") for one in parsed)
    entry = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": config["seed"],
        "data_hash": "+".join(map(str, hashes)),
        **environment.describe(),
    }
    write_json([entry], folder / "environment.json")
    predictions = predict(parsed, manifest)
    write_parquet(predictions, folder / marked("predictions.parquet", config))
    baseline = _common_baseline(parsed)
    if baseline is not None:
        shutil.copyfile(baseline, folder / marked(file_of(BASELINE), config))
    label_access.record(folder, predictions, "ensemble")
    classes, seed = first.classes, int(config["seed"])
    result = {
        "status": "complete",
        "protocol": config["protocol"]["name"],
        "selection": config["selection"],
        "seed": seed,
        "classes": classes,
        "folds": manifest["fold"].nunique(),
        "missing_folds": [],
        **label_access.state(folder),
        "heads": results.score_with_baseline(folder, predictions, manifest, classes, seed),
        "fold_diagnostics": results.fold_diagnostics(predictions, classes),
        "cost": {},
    }
    write_json(result, folder / marked("metrics.json", config))
    checksums.write(folder, result)


def _config(parsed: Sequence[Member], directory: Path) -> dict[str, Any]:
    """The configuration of an ensemble: what all members have in common, and the members."""
    first = parsed[0].run.config
    nodes = [
        {
            "run": os.path.relpath(member.run.directory.resolve(), directory.resolve()),
            "head": member.head,
            "checksums": member.checksums,
        }
        for member in parsed
    ]
    common = [key for key in ("data", "labels", "protocol", "seed") if key in first]
    shared: dict[str, Any] = {key: first[key] for key in common}
    return {members.KEY: nodes, **shared, "selection": selection_of(parsed)}


def _common_baseline(parsed: Sequence[Member]) -> Path | None:
    """The baseline of the members, where all that have one have the same."""
    paths = [find(member.run.directory, file_of(BASELINE)) for member in parsed]
    there = [path for path in paths if path is not None]
    said = {tuple(run_files.read_table(path).sort_values("sample_id")[BASELINE]) for path in there}
    return there[0] if len(said) == 1 else None
