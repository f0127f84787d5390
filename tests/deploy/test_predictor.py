"""`mer.load`: what a model says of files is what an evaluation says of the same samples."""

from pathlib import Path

import pandas as pd
import pytest

import mer
from mer.config.composition import typed
from mer.data import sources
from mer.training import runner
from tests.builders import Config

#: A run with three heads: an SVM on two sources, the softmax, and the shipped weights themselves.
WORDS = (
    "backbone=motion_mlps",
    "backbone.weights=mer:motion-mlps",
    "input.size=32",
    "input.scale=channel",
    "input.blur=0.7",
    "macro.enabled=false",
    "model.epochs=1",
    "callbacks.svm_head.sources=[embedding,input]",
)


@pytest.fixture(scope="module")
def run_dir(
    tiny_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, pd.DataFrame]:
    """A finished run, and the table of its samples with the files of their pictures."""
    folder = tmp_path_factory.mktemp("predictor") / "run"
    config = tiny_config(*WORDS)
    runner.run(config, folder)
    table = sources.load(typed(config), "micro").table.set_index("sample_id")
    return folder, table


def test_scores_of_files_are_those_of_the_evaluation(run_dir: tuple[Path, pd.DataFrame]) -> None:
    folder, table = run_dir
    expected = mer.load_run(folder).predictions.groupby("fold").head(3)
    for fold, rows in expected.groupby("fold"):
        with mer.load(folder, fold=str(fold)) as model:
            pairs = [
                (Path(table.loc[one, "onset_path"]), Path(table.loc[one, "apex_path"]))
                for one in rows["sample_id"]
            ]
            predictions = model.predict_batch(pairs)
            assert list(predictions[0].scores) == ["svm", "softmax", "zero_shot"]
            for prediction, (_, row) in zip(predictions, rows.iterrows(), strict=True):
                assert prediction.label in (row["svm"], None)
                for head, scores in prediction.scores.items():
                    for name, score in scores.items():
                        assert score == pytest.approx(row[f"{head}_{name}"], abs=1e-4)
