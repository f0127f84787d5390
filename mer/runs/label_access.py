"""Openings of the test labels: once for a run, and anything more is remembered and shown.

Test labels meet predictions when all folds are done. Whoever changes something and looks again
(`mer evaluate RUN callbacks...`) chooses on the test persons, knowingly or not.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from mer.config import trust
from mer.files import write_json
from mer.protocols import LEAKY
from mer.runs.head_columns import heads

FILE = "openings.json"


def record(run_dir: Path, predictions: pd.DataFrame, how: str) -> int:
    """Remember that the score of some predictions was looked at.

    The same predicted classes again are no new opening, so a finished run may be started again, and
    evaluated from its weights.

    Args:
        run_dir: Run directory.
        predictions: `sample_id` and, of each head, the column with the predicted class.
        how: What led to them: `run`, or what was changed.

    Returns:
        Number of openings so far.
    """
    digest = digest_of(predictions)
    known = openings(run_dir)
    if digest not in {entry["sha256"] for entry in known}:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        known.append({"at": at, "how": how, "sha256": digest})
        write_json(known, run_dir / FILE)
    return len(known)


def digest_of(predictions: pd.DataFrame) -> str:
    """SHA-256 of the predicted classes of all heads, in whatever order the rows come."""
    columns = ["sample_id", *heads(predictions)]
    text = predictions.sort_values("sample_id")[columns].to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()


def openings(run_dir: Path) -> list[dict[str, Any]]:
    """Every opening so far, the first one first: `at`, `how`, `sha256`."""
    path = run_dir / FILE
    return json.loads(path.read_text()) if path.exists() else []


def stains(run_dir: Path) -> list[str]:
    """Why a score of this run is none to report, in sentences; empty for a clean run."""
    found = []
    path = run_dir / "config.yaml"
    config = trust.read(path) if path.exists() else OmegaConf.create()
    if OmegaConf.select(config, "selection") == "oracle":
        found.append("selection=oracle: the epoch of each fold was chosen on its test persons")
    if (protocol := OmegaConf.select(config, "protocol.name")) in LEAKY:
        found.append(f"protocol={protocol}: split by sample, so persons who trained are tested")
    if (seed := OmegaConf.select(config, "labels.permutation")) is not None:
        found.append(f"labels.permutation={seed}: the labels of each person are permuted")
    if (count := len(openings(run_dir))) > 1:
        last = openings(run_dir)[-1]["how"]
        found.append(f"peek {count}: the test labels were opened {count} times, last by: {last}")
    return found
