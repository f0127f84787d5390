"""`Predictor.predict_video`: annotated and spotted expressions, in frames and seconds."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import mer
from mer.config.settings import Input, Prepare
from mer.deploy import expression_pictures, occlusion, video
from mer.deploy.facts import Facts
from mer.deploy.prediction import Moment, Prediction
from mer.deploy.predictor import Predictor
from mer.deploy.scores import Scores
from mer.errors import MerError
from mer.prepare.sample import Sample
from mer.training import runner
from tests.builders import Config
from tests.deploy.clips import Clip, clip_of, same_scores, write_video


@pytest.fixture(scope="module")
def model() -> Iterator[Predictor]:
    with mer.load("motion-mlps") as opened:
        yield opened


@pytest.fixture(scope="module")
def clip(tiny_config: Config) -> Clip:
    return clip_of(tiny_config)


def test_a_video_gives_the_scores_of_the_evaluation(tiny_config: Config, tmp_path: Path) -> None:
    runner.run(tiny_config("macro.enabled=false", "model.epochs=1"), tmp_path / "run")
    row = mer.load_run(tmp_path / "run").predictions.iloc[0]
    clip = clip_of(tiny_config, row["sample_id"])
    film = write_video(tmp_path / "clip.mkv", clip.pictures)
    with mer.load(tmp_path / "run", fold=str(row["fold"])) as model:
        (found,) = model.predict_video(film, onset=clip.onset, apex=clip.apex).expressions
    for head, scores in found.prediction.scores.items():
        expected = {name: row[f"{head}_{name}"] for name in scores}
        assert scores == pytest.approx(expected, abs=1e-4)


def test_annotated_frames_say_when(model: Predictor, clip: Clip, tmp_path: Path) -> None:
    film = write_video(tmp_path / "clip.mkv", clip.pictures, fps=200)
    last = len(clip.pictures) - 1
    result = model.predict_video(film, onset=clip.onset, apex=clip.apex, offset=last)
    (found,) = result.expressions
    assert found.annotated and found.face == 0
    assert (found.onset, found.apex, found.offset) == tuple(
        Moment(number, pytest.approx(number / 200, abs=1e-3))
        for number in (clip.onset, clip.apex, last)
    )
    assert result.fps == 200
    of_files = model.predict(clip.onset_path, clip.apex_path)
    assert same_scores(found.prediction.scores, of_files.scores)
    plain = json.loads(json.dumps(result.as_dict()))
    assert plain["expressions"][0]["apex"] == {"frame": clip.apex, "seconds": found.apex.seconds}
    assert "sample" not in plain["expressions"][0]


def test_frames_that_are_not_there_are_named(model: Predictor, clip: Clip) -> None:
    last = len(clip.pictures) - 1
    with pytest.raises(MerError, match=f"no frame 9000: it has 0 to {last}"):
        model.predict_video(clip.pictures, fps=200, onset=0, apex=9000)
    with pytest.raises(MerError, match="no frame -1: it begins with frame 0"):
        model.predict_video(clip.pictures, fps=200, onset=-1, apex=clip.apex)
    with pytest.raises(MerError, match=r"frames \[5, 2\]; expected them in this order"):
        model.predict_video(clip.pictures, fps=200, onset=5, apex=2)
    with pytest.raises(MerError, match="needs its onset and its apex"):
        model.predict_video(clip.pictures, fps=200, apex=2)


def test_an_annotated_face_that_changes_much_is_labelled_if_it_can_be_followed(
    model: Predictor, clip: Clip
) -> None:
    picture = clip.pictures[0]
    changing = [_swollen(picture, size) for size in np.linspace(0, 40, 12)]
    assert "do not match" in (model.predict(changing[0], changing[-1]).reason or "")
    (found,) = model.predict_video(changing, fps=50, onset=0, apex=11).expressions
    assert found.prediction.label is not None
    assert "more than a micro-expression" in found.prediction.warnings[0]
    cut = [changing[0]] * 6 + [changing[-1][:, ::-1]] * 6
    (found,) = model.predict_video(cut, fps=50, onset=0, apex=11).expressions
    assert "do not match" in (found.prediction.reason or "")


def _swollen(picture: np.ndarray, size: float) -> np.ndarray:
    """The picture with its middle moved down by so many pixels at most."""
    y, x = np.indices(picture.shape[:2], dtype=np.float32)
    middle = picture.shape[1] / 2, picture.shape[0] / 2
    near = np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / 2 / 60**2)
    return cv2.remap(picture, x, (y - size * near).astype(np.float32), cv2.INTER_LINEAR)


@pytest.mark.parametrize(
    ("seconds", "label", "words"),
    [(0.4, "positive", None), (1.5, "positive", "no micro-expression"), (5.0, None, "too long")],
)
def test_what_lasts_long_is_no_micro_expression(
    seconds: float, label: str | None, words: str | None
) -> None:
    given = Prediction("positive", confidence=0.9, warnings=("a",))
    got = video.of_length(given, seconds)
    assert got.label == label
    assert words is None or words in f"{got.warnings[-1]} {got.reason}"
    if seconds < 0.5:
        assert got == given
    if label is None:
        assert got.confidence is None


def test_still_faces_and_clips_without_one_have_no_expression(model: Predictor, clip: Clip) -> None:
    still = model.predict_video([clip.pictures[0]] * 60, fps=50)
    assert (still.expressions, still.faces) == ((), 1)
    assert still.reason is not None
    assert re.fullmatch(
        r"no expression was spotted: the strongest motion, at \d\.\d\d s, is \d\.\d times that of "
        r"the face at rest; an expression has 4\.5 or more\. If you know its frames, name them: "
        r"--onset N --apex M .*",
        still.reason,
    )
    black = model.predict_video([np.zeros_like(clip.pictures[0])] * 20, fps=50)
    assert (black.expressions, black.faces) == ((), 0)
    assert black.reason is not None and black.reason.startswith("No face was found in 20 frames")


def test_a_face_among_others_is_the_one_that_is_labelled(model: Predictor, clip: Clip) -> None:
    """A spotted interval of face 1 is prepared from face 1, though face 0 is as large."""
    onset, apex = clip.pictures[clip.onset], clip.pictures[clip.apex]
    height, width = onset.shape[:2]
    box = (width * 1.3, height * 0.25, width * 1.7, height * 0.75)
    alone = model.prepare(onset, apex)
    beside = [np.concatenate([onset, moved], axis=1) for moved in (onset, apex)]
    cut = model.prepare(*(video.around(picture, box) for picture in beside))
    assert np.abs(cut.flow.astype(float)).max() > 0.5 * np.abs(alone.flow.astype(float)).max()


def test_long_curves_keep_their_peaks() -> None:
    levels = np.zeros(3 * video.POINTS)
    levels[4321] = 7.5
    curve = video.thinned(np.arange(len(levels)) / 100, levels)
    assert len(curve) == video.POINTS
    assert max(curve, key=lambda point: point[1]) == (43.2, 7.5)


def test_pictures_of_an_expression(model: Predictor, clip: Clip) -> None:
    result = model.predict_video(clip.pictures, fps=200, onset=clip.onset, apex=clip.apex)
    shown = expression_pictures.pictures(model, result.expressions[0])
    names = [picture.caption.split()[0].strip(",") for picture in shown]
    assert names == ["onset", "apex", "motion", "what"]  # perceptrons have no feature map
    sheet = expression_pictures.strip(shown, "positive")
    side = expression_pictures.SIDE
    assert sheet.shape[1] > 3 * side and (sheet[60:200, 20:200] != 255).any()
    without = replace(result.expressions[0], sample=None)
    assert expression_pictures.pictures(model, without) == []


class _LeftHalf:
    """A model that sees the motion in the left half of the crop alone."""

    def __call__(self, samples: list[Sample]) -> Scores:
        strength = [np.abs(one.flow[:2, :, :112].astype(float)).mean() for one in samples]
        scores = np.array([[1 - value, value] for value in strength])
        return Scores({"svm": scores}, {"svm": scores.argmax(axis=1)})


def test_a_label_rests_on_the_part_whose_stillness_would_cost_it() -> None:
    facts = Facts("half", ("none", "some"), ("svm",), Prepare(), Input("flow", size=32))
    flow = np.zeros((3, 224, 224), np.float16)
    flow[0, 28:84, :] = 8  # above the middle, in both halves
    heat = occlusion.explain(Predictor(_LeftHalf(), facts), Sample(flow=flow))
    assert heat.shape == (56, 56)
    assert heat[14, 10] > 0.9 * heat.max() > 0  # inside
    assert not heat[:, 45:].any() and not heat[45:].any()  # the right half; where nothing moves
    still = Sample(flow=np.zeros_like(flow))
    assert occlusion.explain(Predictor(_LeftHalf(), facts), still) is None
