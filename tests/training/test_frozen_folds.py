"""Wholly frozen backbones: one full-batch softmax and the heads, on embeddings made once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from mer.models.loss import CrossEntropy
from mer.training import runner
from mer.training.engines import frozen
from mer.training.evaluate import evaluate
from tests.builders import Config

pytestmark = pytest.mark.usefixtures("one_thread")

FROZEN = ("model.transfer.freeze=[all]", "model.transfer.input_stats=macro", "model.augment=null")


def clouds(count: int = 60) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Three overlapping clouds in four dimensions."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    points = rng.normal(0, 1, (count, 4)) + 1.5 * np.eye(3, 4)[labels]
    return points.astype(np.float32), labels


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_the_softmax_is_that_of_scikit_learn(weights: list[float] | None) -> None:
    points, labels = clouds()
    weight, bias = frozen.fit_softmax(CrossEntropy(weights), points, labels, 0.1, 3)
    centred = points - points.mean(axis=0, dtype=np.float64)
    scaled = centred / np.sqrt(np.square(centred).mean())
    # scikit-learn minimises C times the summed loss plus half of the squared weights.
    shares = np.ones(60) if weights is None else np.array(weights)[labels]
    reference = LogisticRegression(C=1 / (0.1 * shares.sum()), tol=1e-10, max_iter=2000)
    reference.fit(scaled, labels, sample_weight=shares)
    expected = reference.predict_proba(scaled)
    np.testing.assert_allclose(softmax(points @ weight.T + bias, axis=1), expected, atol=1e-4)


def test_smoothing_keeps_separable_classes_from_certainty() -> None:
    points = np.repeat(np.array([[-1.0], [1.0]], np.float32), 10, axis=0)
    labels = np.repeat([0, 1], 10)
    weight, bias = frozen.fit_softmax(CrossEntropy(None, 0.2), points, labels, 0.0, 2)
    # Without a penalty the minimum is where the probabilities equal the smoothed target: .9, .1.
    found = softmax(points[[0, -1]] @ weight.T + bias, axis=1)
    assert found.diagonal().tolist() == pytest.approx([0.9, 0.9], abs=1e-4)


@pytest.fixture(scope="module")
def finished(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("frozen") / "run"
    runner.run(tiny_config(*FROZEN), run_dir)
    return run_dir


def test_a_fold_has_the_files_of_any_other_and_its_evaluation_agrees(finished: Path) -> None:
    names = {path.name for path in next((finished / "folds").iterdir()).iterdir()}
    assert {"model.ckpt", "heads.pt", "metrics.csv", "fold.json", "predictions.parquet"} <= names
    result = evaluate(finished)
    assert set(result["different_labels"].values()) == {0}


def test_every_sample_is_embedded_once(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make = [], frozen._Embedded.__init__

    def count(embedded: frozen._Embedded, job: object) -> None:
        made.append(job)
        make(embedded, job)

    monkeypatch.setattr(frozen._Embedded, "__init__", count)
    runner.run(tiny_config(*FROZEN), tmp_path / "run")
    assert len(made) == 1


def test_an_interrupted_run_goes_on_and_gives_the_same(
    tiny_config: Config, tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, fitted = frozen._Embedded.fit, []

    def once(embedded: frozen._Embedded, job: object, started: float) -> None:
        if fitted:
            raise KeyboardInterrupt
        fitted.append(job)
        fit(embedded, job, started)

    with monkeypatch.context() as patch:
        patch.setattr(frozen._Embedded, "fit", once)
        with pytest.raises(KeyboardInterrupt):
            runner.run(tiny_config(*FROZEN), tmp_path / "run")
    runner.run(tiny_config(*FROZEN), tmp_path / "run")
    frames = [
        pd.read_parquet(path / "predictions.parquet") for path in (finished, tmp_path / "run")
    ]
    pd.testing.assert_frame_equal(*frames)


def test_fixed_augmentations_take_part_in_the_softmax(
    tiny_config: Config, tmp_path: Path, finished: Path
) -> None:
    words = [word for word in FROZEN if word != "model.augment=null"]
    runner.run(tiny_config(*words, "model.augment_draws=2"), tmp_path / "run")
    plain = pd.read_parquet(finished / "predictions.parquet")
    drawn = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert not np.allclose(plain["softmax_positive"], drawn["softmax_positive"])
