"""The audit's checks of samples and predictions: what is lost, moved, flipped or swapped."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from mer.audit.check_predictions import _offsets
from mer.audit.findings import Findings
from mer.cli import main
from tests.audit.tampering import (
    change,
    everywhere,
    failures,
    first_fold,
    in_fold,
    manifest,
    pooled,
)


def test_a_flipped_prediction_disagrees_with_fold_scores_and_metrics(run_dir: Path) -> None:
    def flip(table: pd.DataFrame) -> pd.DataFrame:
        old = table.loc[0, "svm"]
        table.loc[0, "svm"] = "positive" if old != "positive" else "negative"
        return table

    change(pooled(run_dir), flip)
    evidence = failures(run_dir)
    assert set(evidence) == {"predictions", "label access"}
    assert "`svm` of 1 samples differs from their fold's file" in evidence["predictions"]
    assert "not among those that label_access.json says" in evidence["label access"]
    assert main(["audit", str(run_dir)]) == 1


def test_a_prediction_that_is_tampered_with_everywhere_contradicts_the_metrics(
    run_dir: Path,
) -> None:
    """Scores and class are changed in pool and fold alike, so that only metrics.json knows."""
    sample = manifest(run_dir)["sample_id"].iloc[0]

    def forge(table: pd.DataFrame) -> pd.DataFrame:
        row = table["sample_id"] == sample
        if not row.any():
            return table
        old = table.loc[row, "svm"].iloc[0]
        new = "positive" if old != "positive" else "negative"
        high, low = table.loc[row, f"svm_{old}"].iloc[0], table.loc[row, f"svm_{new}"].iloc[0]
        table.loc[row, [f"svm_{old}", f"svm_{new}", "svm"]] = [low, high, new]
        return table

    everywhere(run_dir, "predictions.parquet", forge)
    evidence = failures(run_dir)
    assert set(evidence) == {"predictions", "label access"}
    assert "from the rows" in evidence["predictions"]


def test_swapped_rows_are_misaligned_with_their_labels(run_dir: Path) -> None:
    def shift(table: pd.DataFrame) -> pd.DataFrame:
        scores = [name for name in table if str(name).startswith(("svm", "softmax"))]
        table[scores] = np.roll(table[scores].to_numpy(), 1, axis=0)
        return table

    change(pooled(run_dir), shift)
    assert "differs from their fold's file" in failures(run_dir)["predictions"]


def test_labels_other_than_the_manifests_are_seen(run_dir: Path) -> None:
    change(pooled(run_dir), lambda table: table.assign(label=table["label"].iloc[::-1].to_numpy()))
    assert "`label` of" in failures(run_dir)["predictions"]


def test_a_class_without_the_highest_score_is_seen_in_both_heads(run_dir: Path) -> None:
    for head in ("svm", "softmax"):
        everywhere(
            run_dir,
            "predictions.parquet",
            lambda table, head=head: table.assign(**{f"{head}_negative": -1e9}),
        )
    evidence = failures(run_dir)["predictions"]
    assert "svm class without the highest score" in evidence
    assert "softmax class without the highest score" in evidence


def test_a_lost_batch_is_counted_even_if_it_left_fold_and_pool(run_dir: Path) -> None:
    table = manifest(run_dir)
    lost = table[table["fold"] == first_fold(run_dir)]["sample_id"].iloc[:3].tolist()
    everywhere(run_dir, "predictions.parquet", lambda table: table[~table["sample_id"].isin(lost)])
    evidence = failures(run_dir)["samples"]
    assert f"3 samples are lost from the folds' predictions: {', '.join(lost)}" in evidence
    assert f"3 samples are lost from the pooled predictions: {', '.join(lost)}" in evidence


def test_a_finished_run_without_a_folds_predictions_has_lost_that_fold(run_dir: Path) -> None:
    in_fold(run_dir, "predictions.parquet").unlink()
    evidence = failures(run_dir)
    assert "are lost from the folds' predictions" in evidence["samples"]
    assert "1 folds have no predictions" in evidence["complete"]


def test_doubled_foreign_and_moved_rows_are_told_apart(run_dir: Path) -> None:
    table = manifest(run_dir)
    moved = table[table["fold"] != first_fold(run_dir)]["sample_id"].iloc[0]

    def add(frame: pd.DataFrame) -> pd.DataFrame:
        rows = frame.iloc[[0, 0, 0]].copy()
        rows["sample_id"] = [frame["sample_id"].iloc[0], "samm/999/999_1", moved]
        return pd.concat([frame, rows])

    change(in_fold(run_dir, "predictions.parquet"), add)
    evidence = failures(run_dir)["samples"]
    assert "2 samples stand more than once in the folds' predictions" in evidence
    assert "1 samples of the folds' predictions were not expected: samm/999/999_1" in evidence
    assert f"1 samples are predicted by another fold: {moved}" in evidence


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda table: table.iloc[1:], "1 samples are lost from the baseline"),
        (lambda table: pd.concat([table, table[:1]]), "1 samples stand more than once in the base"),
        (lambda table: table.assign(fold=table["fold"].iloc[0]), "differs from the manifest"),
        (
            lambda table: table.assign(baseline=np.roll(table["baseline"], 1)),
            "samples have a baseline class without the highest score",
        ),
    ],
    ids=["lost", "twice", "other folds", "other classes"],
)
def test_the_baseline_is_checked_as_a_head_is(
    run_dir: Path, forge: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    change(run_dir / "baseline.parquet", forge)
    assert said in failures(run_dir)["predictions"]


def test_a_baseline_without_its_predictions_is_found(run_dir: Path) -> None:
    (run_dir / "baseline.parquet").unlink()
    assert failures(run_dir)["predictions"] == (
        "of the baseline there are scores or predictions, not both."
    )


def test_a_head_without_thresholds_is_judged_by_its_scores_alone() -> None:
    chosen = SimpleNamespace(provenance={"inner": {"thresholds": {"svm": [0.0, 0.5]}}})
    inner = {"n_splits": 2, "choose": ["thresholds"]}
    config = {"protocol": {"inner": inner}}
    run = cast(Any, SimpleNamespace(config=config, done=["one"], weights=lambda fold: chosen))
    rows, findings = pd.DataFrame({"fold": ["one", "one"]}), Findings()
    offsets = {head: _offsets(run, rows, head, 2, findings) for head in ("svm", "zero_shot")}
    assert np.array_equal(offsets["svm"], [[0.0, 0.5]] * 2)
    assert np.array_equal(offsets["zero_shot"], np.zeros((2, 2)))
    assert not findings.problems + findings.gaps
