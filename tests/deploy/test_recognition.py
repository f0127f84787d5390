"""Spot, then recognise: scores worked out by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from mer.datasets.long_videos import Annotated, LongVideo, LongVideos
from mer.deploy.prediction import Prediction
from mer.deploy.recognition import class_of, favourite, recognise
from mer.spotting.evaluation import Evaluation
from mer.spotting.spotting_scores import Counts

CLASSES = ("negative", "positive", "surprise")


class Model:
    """Answers in turn, and remembers the pictures."""

    def __init__(self, *answers: str) -> None:
        self.facts, self.answers = SimpleNamespace(classes=CLASSES), answers
        self.asked: list[tuple[str, str]] = []

    def prepare(self, onset: Path, apex: Path) -> None:
        self.asked.append((onset.name, apex.name))

    def predict_samples(self, samples: list[None], followed: bool) -> list[Prediction]:
        assert followed  # from onset to apex, so that they are of one face
        return [Prediction(label) for label in self.answers]


def dataset(folder: Path, *emotions: str) -> LongVideos:
    """Micro-expressions of 10 frames each: 100 to 109, 200 to 209 ...; a macro-expression."""
    for number in range(1, 700):
        (folder / f"img{number:03d}.jpg").touch()
    expressions = [
        Annotated(100 * n, None, 100 * n + 9, "micro", emotion, "")
        for n, emotion in enumerate(emotions, start=1)
    ]
    expressions.append(Annotated(600, None, 690, "macro", "happiness", ""))
    return LongVideos("made", [LongVideo("made/v", "made/s", folder, 30.0, (*expressions,))], [])


def spotted(*rows: tuple[int, int, str]) -> Evaluation:
    table = pd.DataFrame(
        [("made/v", kind, onset, onset + 4, offset) for onset, offset, kind in rows],
        columns=["video", "kind", "onset", "apex", "offset"],
    )
    return Evaluation(table, {"micro": Counts(3, 1, 2)}, None, [])


def test_right_micro_expressions_are_recognised_by_their_spotted_frames(tmp_path: Path) -> None:
    videos = dataset(tmp_path, "disgust", "happiness", "surprise", "other")
    # Three right ones, one of them without a class; one that overlaps by 4 of 16 frames; a macro.
    found = spotted(
        (100, 109, "micro"),
        (201, 210, "micro"),
        (306, 315, "micro"),
        (600, 690, "macro"),
        (400, 409, "micro"),
    )
    model: Any = Model("negative", "surprise", "negative")
    result = recognise(model, videos, found)
    assert model.asked == [
        ("img100.jpg", "img104.jpg"),
        ("img201.jpg", "img205.jpg"),
        ("img400.jpg", "img404.jpg"),
    ]
    assert result.table["label"].tolist()[:2] == ["negative", "positive"]
    assert result.table["label"].isna().tolist() == [False, False, True]
    # Precision and recall are 1, 0, 0 over the classes, so F1 is 1/3; of spotting 6 / (6 + 1 + 2).
    assert result.f1 == pytest.approx(1 / 3)
    assert result.strs == pytest.approx(1 / 3 * 6 / 9)


def test_without_emotions_there_is_no_score(tmp_path: Path) -> None:
    model: Any = Model("negative")
    result = recognise(model, dataset(tmp_path, ""), spotted((100, 109, "micro")))
    assert (result.f1, result.strs, len(result.table)) == (None, None, 1)


def test_what_was_spotted_gets_a_class_even_if_its_motion_is_weak() -> None:
    weak = Prediction(None, "no motion", {"svm": {"a": 0.2, "b": 0.5}, "softmax": {"a": 1, "b": 0}})
    assert favourite(weak) == "b"
    assert favourite(Prediction(None, "no face")) is None
    assert favourite(Prediction("a", scores={"svm": {"a": 0.2, "b": 0.5}})) == "a"


def test_emotions_become_classes_of_the_model() -> None:
    names = ("fear", "happiness", "surprise", "positive", "other", "")
    expected = ["negative", "positive", "surprise", "positive", None, None]
    assert [class_of(name, CLASSES) for name in names] == expected
    assert class_of("happiness", ("happiness", "disgust")) == "happiness"
    assert class_of("fear", ("happiness", "disgust")) is None
