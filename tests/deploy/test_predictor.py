"""`mer.load`: what a model says of files is what an evaluation says of the same samples."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mer
from mer.config.composition import typed
from mer.config.settings import Input, Prepare
from mer.data import sources
from mer.deploy.facts import Facts
from mer.deploy.networks import Mean
from mer.deploy.predictor import Predictor
from mer.errors import MerError
from mer.prepare.sample import Sample
from mer.runs.calibration import Calibration
from mer.training import runner
from tests.builders import CLASSES, Config
from tests.prepare.prepare_inputs import paint, save

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


def pair_of(table: pd.DataFrame, sample: str) -> tuple[Path, Path]:
    return Path(table.loc[sample, "onset_path"]), Path(table.loc[sample, "apex_path"])


def test_scores_of_files_are_those_of_the_evaluation(run_dir: tuple[Path, pd.DataFrame]) -> None:
    folder, table = run_dir
    expected = mer.load_run(folder).predictions.groupby("fold").head(3)
    for fold, rows in expected.groupby("fold"):
        with mer.load(folder, fold=str(fold)) as model:
            predictions = model.predict_batch(pair_of(table, one) for one in rows["sample_id"])
        assert list(predictions[0].scores) == ["svm", "softmax", "zero_shot"]
        for prediction, (_, row) in zip(predictions, rows.iterrows(), strict=True):
            assert prediction.label == (None if prediction.reason else row["svm"])
            for head, scores in prediction.scores.items():
                for name, score in scores.items():
                    assert score == pytest.approx(row[f"{head}_{name}"], abs=1e-4)


def test_a_run_without_a_fold_is_the_mean_of_its_folds(run_dir: tuple[Path, pd.DataFrame]) -> None:
    folder, table = run_dir
    stored = mer.load_run(folder)
    pair = pair_of(table, stored.predictions["sample_id"][0])
    with mer.load(folder) as model:
        assert "mean of 3 networks" in " ".join(model.facts.warnings)
        assert set(model.facts.calibration) == {"svm", "softmax", "zero_shot"}
        together = model.predict(*pair)
    each = []
    for fold in stored.folds:
        with mer.load(folder, fold=fold) as model:
            each.append(model.predict(*pair))
    for name in CLASSES:
        mean = np.mean([one.scores["softmax"][name] for one in each])
        assert together.scores["softmax"][name] == pytest.approx(mean)
        assert each[0].scores["zero_shot"][name] == each[1].scores["zero_shot"][name]
    assert together.label is None or together.confidence == pytest.approx(
        together.probabilities["svm"][together.label]
    )
    with pytest.raises(MerError, match="no finished fold `none`; there are: group-00"):
        mer.load(folder, fold="none")


def score_of(facts: Facts, needs: str = "flow", **more: list[float]) -> Predictor:
    """A predictor whose network always gives the same scores."""

    def network(samples: list[Sample]) -> dict[str, np.ndarray]:
        return {name: np.tile(values, (len(samples), 1)) for name, values in more.items()}

    network.needs = (needs,)
    return Predictor(Mean([network], facts), facts)


FACTS = Facts("made", tuple(CLASSES), ("svm", "softmax"), Prepare(), Input("flow", size=32))
MOVED = np.zeros((3, 224, 224), np.float32)
MOVED[0, 100:160, 60:160] = 2


def test_the_first_head_decides_and_thresholds_move_the_class_alone() -> None:
    scores = {"svm": [2.2, 1.0, 0.0], "softmax": [0.2, 0.5, 0.3]}
    plain = score_of(FACTS, **scores).predict_flow(MOVED)
    assert plain.label == "negative"
    assert plain.scores["softmax"] == {"negative": 0.2, "positive": 0.5, "surprise": 0.3}
    assert plain.confidence is None
    moved = Facts(**{**vars(FACTS), "offsets": {"svm": (0.0, 0.0, 3.0)}})
    assert score_of(moved, **scores).predict_flow(MOVED).label == "surprise"


def test_confidence_is_the_calibrated_probability_of_the_label() -> None:
    fitted = {"softmax": Calibration(2.0, "probabilities", "some")}
    facts = Facts(**{**vars(FACTS), "heads": ("softmax",), "calibration": fitted})
    found = score_of(facts, softmax=[0.64, 0.32, 0.04]).predict_flow(MOVED)
    roots = np.sqrt([0.64, 0.32, 0.04])
    assert found.confidence == pytest.approx(roots[0] / roots.sum())
    assert found.as_dict()["probabilities"]["softmax"]["surprise"] == pytest.approx(
        roots[2] / roots.sum()
    )


def test_action_units_come_by_their_names_with_both_halves() -> None:
    facts = Facts(**{**vars(FACTS), "heads": ("softmax",), "units": (1, 12)})
    found = score_of(facts, softmax=[1, 0, 0], units=[0.1, 0.7, 0.2, 0.3]).predict_flow(MOVED)
    assert found.units == {"AU1": 0.2, "AU12": 0.7}
    assert found.sides == {"AU1": (0.1, 0.2), "AU12": (0.7, 0.3)}


def test_facts_survive_a_file() -> None:
    facts = Facts(
        **{
            **vars(FACTS),
            "offsets": {"svm": (0.0, 0.5, -0.5)},
            "calibration": {"svm": Calibration(1.5, "votes", "some", 9, 3, 0.2, None)},
            "units": (1, 12),
            "warnings": ("beware",),
            "provenance": {"persons": ["a"]},
        }
    )
    assert facts.as_dict()["persons"] == ["a"]
    assert Facts.from_dict(facts.as_dict(), Path("model.onnx")) == facts
    with pytest.raises(MerError, match=r"model.onnx does not say .*\n  - no classes\n  - no heads"):
        Facts.from_dict({"prepare": {"size": 224}, "input": {"size": 32}}, Path("model.onnx"))


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """A face whose brows rise."""
    return paint(256, brows=0.0), paint(256, brows=0.08)


def test_threads_share_a_model(face: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    files = [Path(save(tmp_path / f"{place}.png", one)) for place, one in enumerate(face)]
    with mer.load("motion-mlps") as model:
        expected = model.predict(*face)
        assert expected.label in CLASSES
        assert expected.confidence == max(expected.probabilities["zero_shot"].values())
        with ThreadPoolExecutor(4) as pool:
            others = [pool.submit(model.predict, *files) for _ in range(8)]
            assert [other.result() for other in others] == [expected] * 8


@pytest.mark.slow
def test_a_process_that_forgets_to_close_a_model_ends(
    face: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    files = [save(tmp_path / f"{place}.png", one) for place, one in enumerate(face)]
    code = f"import mer; m = mer.load('motion-mlps'); print(m.predict(*{files!r}).label)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() in CLASSES


@pytest.mark.parametrize("changed", ["nothing", "jpeg", "shifted", "noise"])
def test_a_still_face_gets_no_label(
    face: tuple[np.ndarray, np.ndarray], changed: str, tmp_path: Path
) -> None:
    onset = face[0]
    noise = np.random.default_rng(0).normal(0, 2, onset.shape)
    apex = {
        "nothing": onset,
        "jpeg": Path(save(tmp_path / "again.jpg", onset)),
        "shifted": np.roll(onset, 1, axis=1),
        "noise": np.clip(onset + noise, 0, 255).astype(np.uint8),
    }[changed]
    with mer.load("motion-mlps") as model:
        found = model.predict(onset, apex)
    assert (found.label, found.confidence, found.units) == (None, None, None)
    assert found.reason is not None and "no motion above that of a still face" in found.reason
    assert found.strength is not None and found.still is not None
    assert found.strength <= found.still


@pytest.mark.parametrize("needs", ["flow", "landmarks"])
def test_landmarks_of_the_apex_are_found_where_an_input_reads_them(
    face: tuple[np.ndarray, np.ndarray], needs: str
) -> None:
    with score_of(FACTS, needs, softmax=[1, 0, 0]) as model:
        sample = model.prepare(*face)
    assert isinstance(sample, Sample) and sample.landmarks is not None
    assert np.isnan(sample.landmarks[1]).all() == (needs == "flow")
    assert np.isfinite(sample.landmarks[0]).all()


def test_pictures_that_cannot_be_used_give_a_reason(
    face: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    onset, apex = face
    blank = np.zeros_like(onset)
    small = paint(256, width=20)
    cases = {
        "no face: the apex": (onset, blank),
        "onset and apex differ in size: the onset is 256 x 256": (onset, apex[:200]),
        "face too small: the apex": (small, small),
        "missing frame": (onset, tmp_path / "absent.png"),
    }
    with mer.load("motion-mlps") as model:
        found = model.predict_batch(cases.values())
        for reason, one in zip(cases, found, strict=True):
            assert one.label is None and one.reason is not None
            assert reason in one.reason
        with pytest.raises(MerError, match=r"the apex is float64 \(2, 2\); give uint8"):
            model.predict(onset, np.zeros((2, 2)))  # type: ignore[arg-type]
        with pytest.raises(MerError, match=r"the onset is uint8 \(0, 0, 3\); give uint8"):
            model.predict(*[np.zeros((0, 0, 3), np.uint8)] * 2)  # would break the face finder
        with pytest.raises(MerError, match="the onset is None; give uint8"):
            model.predict(None, apex)  # type: ignore[arg-type]
        with pytest.raises(MerError, match=r"a pair is 'a.jpg'; give \(onset, apex\)"):
            model.predict_batch(["a.jpg"])  # type: ignore[list-item]
        with pytest.raises(MerError, match=r"flow is 'x\.flo'; give an array"):
            model.predict_flow("x.flo")  # type: ignore[arg-type]
        sample = model.prepare(onset, apex)
        assert isinstance(sample, Sample) and sample.frames is not None
        turned = replace(sample, frames=np.stack([sample.frames[0], 255 - sample.frames[1]]))
        plain, other = model.predict_samples([sample, turned], followed=True)
        assert plain.label == other.label and plain.confidence is not None
        assert other.confidence is None and "may have turned" in other.warnings[0]
        for wrong in (np.nan, 1e9):
            with pytest.raises(MerError, match=r"flow holds .* give finite pixels"):
                model.predict_flow(np.full((3, 64, 64), wrong))


@pytest.mark.parametrize("name", ["nothing", "runs/absent", "mer:motion-none"])
def test_what_is_no_model_is_named(name: str) -> None:
    with pytest.raises(MerError, match=r"There is no model .*name a run directory"):
        mer.load(name)
    with pytest.raises(MerError, match="is no run directory, so it has no fold zz"):
        mer.load(name, fold="zz")
