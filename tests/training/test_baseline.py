"""The SVM on the input itself that stands beside every run."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mer.config.composition import typed
from mer.training import baseline, runner
from mer.training.baseline import Split, Task
from tests.builders import Config, flow_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

#: Two classes, three samples of two pixels each, far apart.
PIXELS = np.array([[0, 0], [0, 1], [1, 0], [9, 9], [9, 8], [8, 9]], np.float32)
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_it_is_what_a_run_on_pixels_gives(tiny_config: Config, tmp_path: Path) -> None:
    alike = ("input.size=16", "macro.enabled=false", "protocol.validation=0.3")
    runner.run(tiny_config(*alike, "model.epochs=1", "callbacks=none"), tmp_path / "network")
    result = runner.run(
        tiny_config(*alike, "backbone=pixels", "model.augment=null"), tmp_path / "pixels"
    )
    assert "baseline" not in result["heads"]  # it would be its own
    beside = pd.read_parquet(tmp_path / "network" / "baseline.parquet").set_index("sample_id")
    pixels = pd.read_parquet(tmp_path / "pixels" / "predictions.parquet").set_index("sample_id")
    beside = beside.loc[pixels.index]
    assert beside["baseline"].tolist() == pixels["svm"].tolist()
    assert beside["fold"].tolist() == pixels["fold"].tolist()
    for name in ("negative", "positive", "surprise"):
        expected = pytest.approx(pixels[f"svm_{name}"].tolist(), abs=1e-3)  # float32 there
        assert beside[f"baseline_{name}"].tolist() == expected
    metrics = json.loads((tmp_path / "network" / "metrics.json").read_text())
    assert metrics["heads"]["baseline"] == result["heads"]["svm"]
    assert metrics["looks"] == 1


def test_large_inputs_are_reduced_by_area() -> None:
    image = np.zeros((64, 64, 3), np.float32)
    image[0, 0], image[1, 1], image[63, 63, 2] = 4, 8, 4

    class Large:
        settings = SimpleNamespace(size=64)

        def __len__(self) -> int:
            return 2

        def images(self, positions: np.ndarray) -> np.ndarray:
            return np.stack([image] * len(positions))

    rows = baseline.pixels(Large()).reshape(2, 32, 32, 3)
    assert rows[0, 0, 0].tolist() == [3, 3, 3]  # (4 + 0 + 0 + 8) / 4
    assert rows[1, 31, 31].tolist() == [0, 0, 1]
    assert rows[0].sum() == 10
    dataset = flow_dataset(size=32)
    assert np.array_equal(baseline.pixels(dataset)[5], dataset.image(5).ravel())


def test_labels_of_tested_samples_play_no_part() -> None:
    split = Split(np.array([0, 1, 3, 4]), np.array([2, 5]))
    (scores,) = baseline.fit(Task(PIXELS, LABELS, 2), [split])
    assert scores.argmax(axis=1).tolist() == [0, 1]
    (again,) = baseline.fit(Task(PIXELS, np.where(np.arange(6) % 3 == 2, 0, LABELS), 2), [split])
    assert np.array_equal(scores, again)


def test_helpers_give_the_same_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = [Split(np.delete(np.arange(6), n), np.array([n])) for n in range(6)]
    alone = baseline.fit(Task(PIXELS, LABELS, 2), splits, alone=True)
    monkeypatch.setattr(baseline, "HELP_FROM", 0)
    monkeypatch.setattr(baseline.processes, "cores", lambda: 2)
    assert np.array_equal(baseline.fit(Task(PIXELS, LABELS, 2), splits), alone)


@pytest.mark.parametrize(
    ("words", "most"),
    [(["baseline=null"], 600), (["trial.number=3"], 600), ([], 0)],
    ids=["switched off", "a trial", "it would take too long"],
)
def test_a_run_may_have_none(
    words: list[str],
    most: float,
    tiny_config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baseline, "MOST_SECONDS", most)
    config = typed(tiny_config(*words, "input.size=16"))
    dataset = flow_dataset(size=16)
    fold = SimpleNamespace(
        name="a",
        train=dataset.table["sample_id"].tolist()[:12],
        test=dataset.table["sample_id"].tolist()[12:],
    )
    monkeypatch.setattr(baseline.rundir, "is_done", lambda *_: True)
    baseline.write_baseline(tmp_path, config, dataset, [fold])
    assert not list(tmp_path.iterdir())
