"""Spot, then recognise: a model labels the micro-expressions that were spotted in long videos.

The spot-then-recognise score (STRS) of the challenges is the F1 of spotting micro-expressions times
the F1 of recognising those that were spotted rightly.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from mer.datasets.frame_files import index_frames
from mer.datasets.labels import load_scheme
from mer.datasets.long_videos import LongVideo, LongVideos
from mer.deploy.prediction import Prediction
from mer.deploy.predictor import Predictor
from mer.spotting.evaluation import Evaluation, borders
from mer.spotting.spotting_scores import pair, recognition_f1, strs


class Recognition(NamedTuple):
    """What a model says of the rightly spotted micro-expressions of a dataset.

    Attributes:
        table: One row each: `video`, `onset`, `apex`, `offset` (spotted), `emotion` (annotated),
            `label` (its class; missing where the model has none for it), `predicted`, and
            `reason`, why `mer predict` gives no label (a motion that still faces reach, for one).
        f1: F1 of the recognition, every class with equal weight; None where no row has a class.
        strs: F1 of the spotting of micro-expressions times `f1`.
    """

    table: pd.DataFrame
    f1: float | None
    strs: float | None


def recognise(model: Predictor, dataset: LongVideos, spotted: Evaluation) -> Recognition:
    """Label the rightly spotted micro-expressions by their spotted onset and apex."""
    rows, pictures = [], []
    for video in dataset.videos:
        frames = index_frames(video.folder)
        for one in _right(video, spotted.table):
            rows.append(one)
            pictures.append((frames[one["onset"]], frames[one["apex"]]))
    columns = ["video", "onset", "apex", "offset", "emotion"]
    table = pd.DataFrame(rows, columns=columns)
    classes = model.facts.classes
    table["label"] = [class_of(emotion, classes) for emotion in table["emotion"]]
    samples = [model.prepare(*pair) for pair in pictures]
    predictions = model.predict_samples(samples, followed=True)
    table["predicted"] = [favourite(one) for one in predictions]
    table["reason"] = [one.reason for one in predictions]
    known = table[table["label"].notna()]
    if known.empty:
        return Recognition(table, None, None)
    f1 = recognition_f1(known["label"].tolist(), known["predicted"].fillna("").tolist(), classes)
    return Recognition(table, f1, strs(spotted.counts["micro"], f1))


def favourite(prediction: Prediction) -> str | None:
    """The label, or the class of the highest score: that something moved is known already.

    Returns:
        None where the pictures could not be prepared.
    """
    if prediction.label is not None or not prediction.scores:
        return prediction.label
    scores = next(iter(prediction.scores.values()))
    return max(scores, key=lambda name: scores[name])


def class_of(emotion: str, classes: Sequence[str]) -> str | None:
    """Class of an annotated emotion: its own name, or that of the MEGC 2019 composite, or none."""
    coarse = {k: v for known in load_scheme("megc2019")["map"].values() for k, v in known.items()}
    return next((name for name in (emotion, coarse.get(emotion)) if name in classes), None)


def _right(video: LongVideo, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Spotted micro-expressions of a video that pair with annotated ones, as the counts do."""
    mine = table[(table["video"] == video.name) & (table["kind"] == "micro")]
    events = [one for one in video.expressions if one.kind == "micro"]
    pairs = pair(borders(mine), [(one.onset, one.offset) for one in events])
    return [
        {
            "video": video.name,
            **{name: int(mine.iloc[a][name]) for name in ("onset", "apex", "offset")},
            "emotion": events[b].emotion,
        }
        for a, b in pairs
    ]
