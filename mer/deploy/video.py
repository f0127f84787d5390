"""From a clip to predictions: frames, faces followed, intervals spotted, each of them labelled.

    with mer.load() as model:
        result = model.predict_video("clip.mp4")
    for expression in result.expressions:
        expression.apex.seconds, expression.prediction.label

A video of any length needs the memory of a few frames.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mer.deploy.prediction import ClipPrediction, FoundExpression, Moment, Prediction
from mer.errors import MerError
from mer.prepare.sample import Sample
from mer.spotting.frames import Source, open_frames, require_numbers
from mer.spotting.spotted_expression import MACRO, MICRO, Expression, Settings
from mer.spotting.spotter import Spotter, strongest
from mer.spotting.stream import Frame, Frames, Progress
from mer.spotting.tracking import Tracker

if TYPE_CHECKING:
    from mer.deploy.predictor import Predictor

#: Expressions of a clip that keep their arrays, so that their pictures can be drawn; 0.6 MB each.
KEPT = 100

#: What to do where nothing is spotted.
NAME_FRAMES = "If you know its frames, name them: --onset N --apex M (in Python onset=N, apex=M)"

#: Pairs that are scored at once.
BATCH = 32

#: Points of the motion of a face over time that are kept.
POINTS = 2000


def predict_pairs(
    predictor: "Predictor", pairs: Iterable[tuple[str, Any, Any]]
) -> Iterator[ClipPrediction]:
    """Label pairs of onset and apex, each a clip of its own."""
    waiting: list[tuple[str, Any]] = []

    def score() -> Iterator[ClipPrediction]:
        samples = [sample for _, sample in waiting]
        for (name, sample), one in zip(waiting, predictor.predict_samples(samples), strict=True):
            kept = sample if isinstance(sample, Sample) else None
            yield ClipPrediction(name, (FoundExpression(one, annotated=True, sample=kept),))
        waiting.clear()

    for name, onset, apex in pairs:
        waiting.append((name, predictor.prepare(onset, apex)))
        if len(waiting) == BATCH:
            yield from score()
    yield from score()


def predict_annotated(
    predictor: "Predictor",
    source: Source,
    onset: int,
    apex: int,
    offset: int | None = None,
    fps: float | None = None,
    progress: Progress | None = None,
) -> ClipPrediction:
    """Label one expression of a clip whose frames are known; see `Predictor.predict_video`."""
    numbers = [onset, apex] + ([] if offset is None else [offset])
    if numbers != sorted(numbers):
        raise MerError(f"onset, apex and offset are frames {numbers}; expected them in this order")
    settings = predictor.facts.prepare
    with (
        open_frames(source, fps, progress) as frames,
        closing(Tracker(settings.confidence, settings.min_face)) as tracker,
    ):
        kept, followed, count, last = _annotated(frames, numbers, tracker)
    sample = predictor.prepare(kept[onset].picture, kept[apex].picture)
    moments = [_moment(kept[number]) for number in numbers]
    length = moments[-1].seconds - moments[0].seconds
    prediction = of_length(predictor.predict_samples([sample], followed)[0], length)
    found = FoundExpression(
        prediction,
        0,
        moments[0],
        moments[1],
        moments[2] if offset is not None else None,
        annotated=True,
        sample=sample if isinstance(sample, Sample) else None,
    )
    return ClipPrediction(
        frames.name,
        (found,),
        fps=frames.fps,
        frames=count,
        seconds=round(last, 4),
        warnings=tuple(frames.warnings),
    )


def _annotated(
    frames: Frames, numbers: Sequence[int], tracker: Tracker
) -> tuple[dict[int, Frame], bool, int, float]:
    """Read the frames of one expression.

    Returns:
        Number -> frame; whether a face was followed from the first to the second of them; how many
        frames were read; time of the last one.
    """
    kept: dict[int, Frame] = {}
    seen: dict[int, set[int]] = {}
    read: list[int] = []
    for frame in frames:
        read.append(frame.number)
        if numbers[0] <= frame.number <= numbers[1]:
            seen[frame.number] = set(tracker.update(frame))
        if frame.number in numbers:
            kept[frame.number] = frame
        if frame.number >= numbers[-1]:
            break
    require_numbers(frames.name, numbers, read)
    followed = bool(seen[numbers[0]] & seen[numbers[1]])
    return kept, followed, len(read), frame.time


def predict_spotted(
    predictor: "Predictor",
    source: Source,
    fps: float | None = None,
    progress: Progress | None = None,
) -> ClipPrediction:
    """Follow the faces of a clip, spot their expressions, and label each.

    A camera is watched until Ctrl-C.
    """
    prepare = predictor.facts.prepare
    found: list[FoundExpression] = []

    def label(one: Expression) -> None:
        found.append(_label(predictor, one, spotter, keep=len(found) < KEPT))

    with (
        open_frames(source, fps, progress) as frames,
        Spotter(frames.fps, confidence=prepare.confidence, min_face=prepare.min_face) as spotter,
    ):
        spotter.watch(frames, label)
    limits, reason = spotter.warnings, None
    if len(found) > KEPT:
        limits.append(f"{len(found)} expressions; pictures are of the first {KEPT}")
    if not spotter.faces:
        reason = limits.pop()
    elif not found:
        seen = (
            f"{spotter.seconds:.2f} s are too short to know the face at rest"
            if spotter.seconds < MICRO
            else strongest(spotter.faces, Settings().threshold)
        )
        reason = f"no expression was spotted: {seen}. {NAME_FRAMES}"
    return ClipPrediction(
        frames.name,
        tuple(sorted(found, key=lambda one: (one.onset.seconds if one.onset else 0, one.face))),
        reason,
        frames.fps,
        spotter.frames,
        round(spotter.seconds, 4),
        len(spotter.faces),
        tuple(thinned(face.times, face.levels) for face in spotter.faces),
        (*frames.warnings, *limits),
    )


def _label(
    predictor: "Predictor", spotted: Expression, spotter: Spotter, keep: bool
) -> FoundExpression:
    """Prepare and label a spotted expression."""
    onset, apex = spotted.onset.picture, spotted.apex.picture
    if len(spotter.faces) > 1:  # preparation takes the largest face
        box = spotter.faces[spotted.face].box
        onset, apex = around(onset, box), around(apex, box)
    sample = predictor.prepare(onset, apex)
    length = spotted.offset.time - spotted.onset.time
    prediction = of_length(predictor.predict_samples([sample], followed=True)[0], length)
    return FoundExpression(
        prediction,
        spotted.face,
        _moment(spotted.onset),
        _moment(spotted.apex),
        _moment(spotted.offset),
        # The strength is measured; pictures need no head motion.
        sample=replace(sample, head=None) if keep and isinstance(sample, Sample) else None,
    )


def around(picture: NDArray[np.uint8], box: tuple[float, float, float, float]) -> Any:
    """Cut out a face (left, top, right, bottom) with half its size around it."""
    left, top, right, bottom = box
    x, y = (right - left) / 2, (bottom - top) / 2
    rows = slice(max(0, int(top - y)), int(bottom + y) + 1)
    return picture[rows, max(0, int(left - x)) : int(right + x) + 1]


def thinned(times: Sequence[float], levels: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """At most `POINTS` points; of neighbours the largest counts."""
    step = -(-len(times) // POINTS) or 1
    return tuple(
        (round(float(times[i]), 3), round(float(max(levels[i : i + step])), 3))
        for i in range(0, len(times), step)
    )


def of_length(prediction: Prediction, seconds: float) -> Prediction:
    """Take the length of an interval into account, from its onset to its offset or apex."""
    if seconds > MACRO:
        reason = f"{seconds:.1f} s are too long for one expression ({MACRO:g} s at most)"
        return replace(prediction, label=None, confidence=None, reason=reason)
    if round(seconds, 1) > MICRO:
        warning = (
            f"It lasts {seconds:.2f} s: an expression, but no micro-expression "
            f"({MICRO:g} s at most)"
        )
        return replace(prediction, warnings=(*prediction.warnings, warning))
    return prediction


def _moment(frame: Frame) -> Moment:
    return Moment(frame.number, round(frame.time, 4))
