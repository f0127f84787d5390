"""Pooled scores: what stands in `metrics.json` and on the terminal, worked out by hand."""

import io
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from mer.errors import MerError
from mer.runs import results
from tests.builders import with_scores

CLASSES = ["negative", "positive"]

# Two datasets with a person each: four of six negative, five of eight right.
ROWS = [
    ("a/1", "x", "x/1", "negative", "negative", "f1"),
    ("a/2", "x", "x/1", "negative", "negative", "f1"),
    ("a/3", "x", "x/1", "negative", "positive", "f1"),
    ("a/4", "x", "x/1", "positive", "positive", "f1"),
    ("b/1", "y", "y/1", "negative", "negative", "f2"),
    ("b/2", "y", "y/1", "negative", "positive", "f2"),
    ("b/3", "y", "y/1", "negative", "positive", "f2"),
    ("b/4", "y", "y/1", "positive", "positive", "f2"),
]


@pytest.fixture
def predictions() -> pd.DataFrame:
    columns = ["sample_id", "dataset", "person", "label", "softmax", "fold"]
    return with_scores(pd.DataFrame(ROWS, columns=columns), CLASSES, "softmax")


def test_scores_of_every_part_are_those_of_its_own_matrix(predictions: pd.DataFrame) -> None:
    heads = results.score(predictions, CLASSES, seed=0)
    assert list(heads) == ["softmax", "majority"]
    assert list(heads["softmax"]) == ["pooled", "x", "y"]
    pooled = heads["softmax"]["pooled"]
    # Rows true, columns predicted: [[3, 3], [0, 2]]. F1: 6/9 and 4/7; recall: 1/2 and 1.
    assert pooled["confusion"] == [[3, 3], [0, 2]]
    assert pooled["uf1"] == pytest.approx((6 / 9 + 4 / 7) / 2)
    assert pooled["uar"] == pytest.approx(0.75)
    assert pooled["accuracy"] == pytest.approx(5 / 8)
    assert pooled["weighted_f1"] == pytest.approx((6 * 6 / 9 + 2 * 4 / 7) / 8)
    # Expected agreement: (6 * 3 + 2 * 5) / 64.
    assert pooled["kappa"] == pytest.approx((5 / 8 - 28 / 64) / (1 - 28 / 64))
    assert pooled["classes"]["negative"] == {
        "samples": 6,
        "precision": pytest.approx(1.0),
        "recall": pytest.approx(0.5),
        "f1": pytest.approx(6 / 9),
    }
    assert heads["softmax"]["y"]["confusion"] == [[1, 2], [0, 1]]


def test_majority_and_guessing_stand_beside_every_score(predictions: pd.DataFrame) -> None:
    majority = results.score(predictions, CLASSES, seed=0)["majority"]
    assert majority["pooled"]["accuracy"] == pytest.approx(6 / 8)
    assert majority["pooled"]["uf1"] == pytest.approx((12 / 14) / 2)
    chance = majority["y"]["chance"]
    assert chance["prior"]["accuracy"] == pytest.approx((3 / 4) ** 2 + (1 / 4) ** 2)
    assert chance["uniform"]["accuracy"] == pytest.approx(0.5)


def test_averages_over_folds_have_names_of_their_own(predictions: pd.DataFrame) -> None:
    found = results.fold_diagnostics(predictions, CLASSES)
    assert list(found) == ["softmax"]
    # Fold 1: recall 2/3 and 1, F1 4/5 and 2/3; fold 2: recall 1/3 and 1, F1 1/2 and 1/2.
    assert found["softmax"]["fold_uar_diagnostic"] == pytest.approx((5 / 6 + 2 / 3) / 2)
    assert found["softmax"]["fold_f1_diagnostic"] == pytest.approx((11 / 15 + 1 / 2) / 2)
    assert all(name.endswith("_diagnostic") for name in found["softmax"])


def test_a_class_without_a_sample_is_refused(predictions: pd.DataFrame) -> None:
    with pytest.raises(MerError, match="surprise"):
        results.score(predictions, [*CLASSES, "surprise"], seed=0)


def test_the_table_shows_intervals_guessing_warnings_and_remarks(predictions: pd.DataFrame) -> None:
    heads = results.score(predictions, CLASSES, seed=0)
    table = results.to_table(
        {"heads": heads, "warnings": ["look 2: [red]"], "remarks": ["1 later look"]}, "run"
    )
    console = Console(width=120, file=io.StringIO())
    console.print(table)
    text = console.file.getvalue()
    assert "!! look 2: [red]\n1 later look" in re.sub(r" *\n", "\n", text)
    assert "0.619 [0.5" in text  # UF1 of the pooled matrix
    guessing = next(line for line in text.splitlines() if "guessing" in line)
    assert "0.625" in guessing  # accuracy: .75 ** 2 + .25 ** 2
    assert "softmax: weighted F1 0.643, kappa 0.333" in text


def test_validation_samples_count_once_though_several_folds_predict_them(
    predictions: pd.DataFrame, tmp_path: Path
) -> None:
    other = {"negative": "positive", "positive": "negative"}
    wrong = predictions.assign(softmax=predictions["softmax"].map(other))
    # b/1 is right in the first fold and wrong in the second; all others are in one fold.
    frames = {"f1": predictions, "f2": wrong[wrong["sample_id"] == "b/1"]}
    for name, frame in frames.items():
        folder = tmp_path / "folds" / name
        folder.mkdir(parents=True)
        frame.drop(columns=["label", "fold"]).to_parquet(folder / "validation.parquet")
    running = results.RunningScore(tmp_path, predictions, CLASSES)
    assert running(["f1"])["softmax"]["accuracy"] == pytest.approx(5 / 8)
    both = running(["f1", "f2"])["softmax"]
    assert both["accuracy"] == pytest.approx(4.5 / 8)
    pooled = results.score(pd.concat(frames.values()), CLASSES, 0)["softmax"]
    assert pooled["pooled"]["uf1"] == pytest.approx(both["uf1"])
    assert (pooled["pooled"]["samples"], pooled["pooled"]["predictions"]) == (8, 9)
    assert pooled["x"]["accuracy"] == 0.75
    assert pooled["y"]["confusion"] == [[0.5, 2.5], [0, 1]]
    assert results.score(predictions, CLASSES, 0)["softmax"]["pooled"].get("predictions") is None
