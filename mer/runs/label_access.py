"""Label access log: every set of predictions that was compared with the test labels, in order.

Test labels meet predictions when all folds are done. The score of that first look is the run's.
Whoever changes something and looks again (`mer evaluate RUN callbacks...`) chooses on the test
persons, knowingly or not, so the score of every later look is none to report.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from mer.config import stored
from mer.files import write_json
from mer.protocols import LEAKY
from mer.runs import run_files
from mer.runs.head_columns import heads
from mer.runs.rundir import find, flatten

FILE = "label_access.json"


def record(run_dir: Path, predictions: pd.DataFrame, how: str) -> int:
    """Remember that some predictions were compared with the test labels; number the look.

    The same predicted classes again are no new look, so a finished run may be started again, and
    evaluated from its weights.
    """
    digest = digest_of(predictions)
    known = looks(run_dir)
    digests = [entry["sha256"] for entry in known]
    if digest not in digests:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        digests.append(digest)
        write_json([*known, {"at": at, "how": how, "sha256": digest}], run_dir / FILE)
    return digests.index(digest) + 1


def digest_of(predictions: pd.DataFrame) -> str:
    """SHA-256 of the predicted classes of all heads, in whatever order the rows come."""
    columns = ["sample_id", *heads(predictions)]
    text = predictions.sort_values("sample_id")[columns].to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()


def state(run_dir: Path) -> dict[str, Any]:
    """What results say of the log: number of `looks`, `warnings` and `remarks`."""
    return {
        "looks": len(looks(run_dir)),
        "warnings": warnings(run_dir),
        "remarks": remarks(run_dir),
    }


def looks(run_dir: Path) -> list[dict[str, Any]]:
    """Every look so far, the first one first: `at`, `how`, `sha256`."""
    path = run_dir / FILE
    return run_files.read_json(path, list) if path.exists() else []


def warnings(run_dir: Path) -> list[str]:
    """Why the stored score of a run is none to report, in sentences; empty for a clean run."""
    sentences = []
    path = run_dir / "config.yaml"
    config = flatten(stored.read_mapping(path)) if path.exists() else {}
    if config.get("selection") == "oracle":
        sentences.append("selection=oracle: the epoch of each fold was chosen on its test persons")
    if (protocol := config.get("protocol.name")) in LEAKY:
        sentences.append(f"protocol={protocol}: split by sample, so persons who trained are tested")
    if (seed := config.get("labels.permutation")) is not None:
        sentences.append(f"labels.permutation={seed}: the labels of each person are permuted")
    if (debug := config.get("debug.name")) is not None:
        sentences.append(f"debug={debug}: a run on few samples, to find mistakes in the code")
    before = _before(run_dir)
    if before:
        sentences.append(late(before))
    return sentences


def late(before: Sequence[str]) -> str:
    """Say that a score was seen after others, and after which."""
    return (
        f"look {len(before) + 1} at the test labels: other predictions were compared with them "
        f"before ({', '.join(before)})"
    )


def remarks(run_dir: Path) -> list[str]:
    """What was tried on the test labels after the stored score, in one sentence at most."""
    return later([entry["how"] for entry in looks(run_dir)][len(_before(run_dir)) + 1 :])


def later(hows: Sequence[str]) -> list[str]:
    """Say how many looks came after a score, and how the last one was made; empty if none did."""
    if not hows:
        return []
    number = "1 later look" if len(hows) == 1 else f"{len(hows)} later looks"
    return [f"{number} at the test labels, last by: {hows[-1]}"]


def _before(run_dir: Path) -> list[str]:
    """How the test labels were looked at before the stored predictions were."""
    known = looks(run_dir)
    path = find(run_dir, "predictions.parquet")
    if len(known) < 2 or path is None:
        return []
    digest = digest_of(run_files.read_table(path))
    place = next((n for n, entry in enumerate(known) if entry["sha256"] == digest), 0)
    return [entry["how"] for entry in known[:place]]
