"""The audit of an ensemble follows its members."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer.audit import audit
from mer.runs import checksums, ensemble, label_access
from mer.runs.stored_run import Run
from tests.audit.tampering import change


@pytest.fixture
def both(run_dir: Path) -> Path:
    """The mean of two heads of a finished run, beside it."""
    words = [f"{run_dir}:svm", f"{run_dir}:softmax"]
    return ensemble.make(words, run_dir.parent / "both").directory


def evidence(directory: Path) -> dict[str, str]:
    return {one.name: one.evidence for one in audit(directory).checks if one.verdict != "pass"}


def test_an_ensemble_of_sound_runs_passes_wherever_both_are_moved(
    both: Path, run_dir: Path, tmp_path: Path
) -> None:
    found = audit(both)
    assert found.verdict == "pass"
    assert [one.name for one in found.checks if one.remark] == ["members"]
    (tmp_path / "elsewhere").mkdir()
    for path in (both, run_dir):
        shutil.move(path, tmp_path / "elsewhere")
    assert audit(tmp_path / "elsewhere" / "both").verdict == "pass"


def test_a_member_that_is_gone_leaves_it_open(both: Path, run_dir: Path) -> None:
    run_dir.rename(run_dir.with_name("away"))
    assert evidence(both) == {"members": "the member ../run is not there."}
    assert audit(both).verdict == "unknown"


def test_a_member_that_was_changed_is_found(both: Path, run_dir: Path) -> None:
    change(run_dir / "predictions.parquet", lambda table: table.iloc[::-1])
    found = evidence(both)["members"]
    assert "the member ../run: The score cannot be believed: 1 check failed: files" in found
    checksums.write(run_dir, Run(run_dir).metrics)  # by somebody who knows of them
    assert "the member ../run has changed since the ensemble was made" in evidence(both)["members"]


def test_scores_that_are_not_the_mean_are_found(both: Path) -> None:
    """Scores, classes, metrics, log and checksums all fit each other, but not the members."""

    def forge(table: pd.DataFrame) -> pd.DataFrame:
        classes = ["negative", "positive", "surprise"]
        columns = [f"ensemble_{name}" for name in classes]
        scores = [[2.0 * (name == label) for name in classes] for label in table["label"]]
        scores[1:] = table[columns].to_numpy()[1:].tolist()
        said = np.array(classes)[np.argmax(scores, axis=1)]
        return table.assign(**dict(zip(columns, np.transpose(scores), strict=True)), ensemble=said)

    change(both / "predictions.parquet", forge)
    table = pd.read_parquet(both / "predictions.parquet")
    (both / label_access.FILE).unlink()
    label_access.record(both, table, "ensemble")
    checksums.write(both, Run(both).metrics)
    assert "the scores of 1 samples are not the mean of the members'" in evidence(both)["members"]
