"""`mer.load(MODEL)`: a model that labels new clips, prepared as its training samples were.

    with mer.load("runs/demo") as model:
        prediction = model.predict("onset.png", "apex.png")
    prediction.label, prediction.confidence, prediction.units

The shipped weights need no run: `mer.load("motion-xxs")`.
"""

import threading
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mer.config.settings import Flow
from mer.deploy import video
from mer.deploy.facts import Facts
from mer.deploy.motion_strength import Motion, measure
from mer.deploy.prediction import ClipPrediction, Prediction
from mer.deploy.scores import Scores
from mer.errors import MerError
from mer.prepare.faces import FaceFinder
from mer.prepare.sample import Drop, Sample, prepare_pictures, read_picture
from mer.runs.calibration import as_logits, probabilities
from mer.spotting.frames import Source
from mer.spotting.stream import Progress

#: Pixels of motion that no flow field holds.
MOST_FLOW = 10_000.0

#: A picture: uint8 (H, W, 3) RGB, or its file.
Picture = NDArray[np.uint8] | str | Path


class Score(Protocol):
    """Scores of prepared samples by some engine; may be called by several threads at a time."""

    @property
    def needs(self) -> Collection[str]:
        """Arrays of a sample that it reads, some of `mer.data.inputs.ARRAYS`."""

    def __call__(self, samples: Sequence[Sample]) -> Scores:
        """Score prepared samples."""


class Predictor(AbstractContextManager["Predictor"]):
    """A model that labels clips; made by `mer.load`.

    Threads may share one. Use it as a context manager, or call `close`: it holds a face finder,
    which is opened by the first pictures.

    Args:
        score: Scores prepared samples.
        facts: What is known of the model.

    Attributes:
        facts: The same.
    """

    def __init__(self, score: Score, facts: Facts) -> None:
        self.facts, self._score = facts, score
        self._faces = _Faces(facts.prepare.confidence)
        # MediaPipe can hang a process that ends with an open face finder.
        self._finalizer = weakref.finalize(self, self._faces.close)
        flow = facts.prepare.flow
        # Of inputs without flow too: the strength of the motion is needed.
        self._prepare = replace(facts.prepare, flow=flow if flow.used is not None else Flow())

    def __exit__(self, *error: object) -> None:
        """Close the face finder."""
        self.close()

    def __repr__(self) -> str:
        """Name the model and its classes."""
        return f"Predictor({self.facts.name!r}, classes={list(self.facts.classes)})"

    def close(self) -> None:
        """Close the face finder; further pictures would open it again."""
        self._faces.close()

    def predict(self, onset: Picture, apex: Picture) -> Prediction:
        """Label the expression between two pictures of one face.

        Args:
            onset: The face before the expression: uint8 (H, W, 3) RGB, or a file.
            apex: The face at its height, of the same size.

        Returns:
            The prediction; without a label, and with a reason, where the pictures cannot be used.

        Raises:
            MerError: If an array is no picture.
        """
        return self.predict_batch([(onset, apex)])[0]

    def predict_batch(self, pairs: Iterable[tuple[Picture, Picture]]) -> list[Prediction]:
        """Label pairs of onset and apex; see `predict`. The network scores all of them at once."""
        known = list(pairs)
        for pair in known:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise MerError(f"a pair is {pair!r:.60}; give (onset, apex), two pictures or files")
        return self.predict_samples([self.prepare(*pair) for pair in known])

    def prepare(self, onset: Picture, apex: Picture) -> Sample | Drop:
        """Align two pictures and compute the flow between them, as the model's training does.

        Returns:
            The sample, or why there is none.

        Raises:
            MerError: If an array is no picture.
        """
        names = _name(onset, "the onset"), _name(apex, "the apex")
        pictures = [_read(one, name) for one, name in zip((onset, apex), names, strict=True)]
        for picture in pictures:
            if isinstance(picture, Drop):
                return picture
        first, last = (one for one in pictures if not isinstance(one, Drop))
        if self.facts.prepare.faces != "landmarks":
            return prepare_pictures(first, last, self._prepare, names=names)
        with self._faces as finder:
            return prepare_pictures(
                first,
                last,
                self._prepare,
                finder,
                names=names,
                apex_landmarks="landmarks" in self._score.needs,
            )

    def predict_samples(
        self, samples: Sequence[Sample | Drop], followed: bool = False
    ) -> list[Prediction]:
        """Label what `prepare` gave; samples that could not be prepared get the reason.

        Unless a face was `followed` from onset to apex, pictures that differ by more than an
        expression get no label.
        """
        usable = [sample for sample in samples if isinstance(sample, Sample)]
        rest = iter(self._predictions(usable, followed) if usable else ())
        return [
            Prediction(None, f"{one.reason}: {one.detail}") if isinstance(one, Drop) else next(rest)
            for one in samples
        ]

    def predict_flow(self, flow: NDArray[np.floating]) -> Prediction:
        """Label a flow field that was computed elsewhere.

        Args:
            flow: u (right), v (down) and optical strain in pixels of a face crop. (3, S, S).

        Raises:
            MerError: If it has another shape, or the model sees more than flow.
        """
        if not isinstance(flow, np.ndarray):
            raise MerError(f"flow is {flow!r:.60}; give an array of u, v and strain (3, S, S)")
        if flow.ndim != 3 or flow.shape[0] != 3 or not flow.shape[1] == flow.shape[2] > 0:
            raise MerError(f"flow is {flow.shape}; give u, v and strain of a square crop (3, S, S)")
        if not np.abs(flow).max() < MOST_FLOW:  # nor NaN
            raise MerError(f"flow holds {np.abs(flow).max():g} px; give finite pixels of the crop")
        return self.predict_samples([Sample(flow=flow.astype(np.float16))])[0]

    def sureness(self, samples: Sequence[Sample]) -> NDArray[np.floating]:
        """How sure the main head is of each class: calibrated, else its scores. Shape: (B, K)."""
        main = self.facts.heads[0]
        scores = self._score(samples).scores[main]
        return self._probabilities({main: scores}).get(main, scores)

    def activation(self, sample: Sample) -> NDArray[np.float32] | None:
        """Where the network looks in a prepared sample, for the class that it favours.

        Returns:
            Grad-CAM, 0 or more. Shape: (56, 56). None where the model has no feature map, or is a
            file, which knows no gradients.
        """
        explain = getattr(self._score, "activation", None)
        return None if explain is None else explain(sample)

    def predict_video(
        self,
        source: Source,
        fps: float | None = None,
        *,
        onset: int | None = None,
        apex: int | None = None,
        offset: int | None = None,
        progress: Progress | None = None,
    ) -> ClipPrediction:
        """Label the expressions of a clip: spotted ones, or the one whose frames are given.

        Args:
            source: File of a video; folder of frames; number of a camera, which is watched until
                Ctrl-C; or pictures uint8 (H, W, 3) RGB in order.
            fps: Frames per second, where the source does not know them or is wrong.
            onset: Number of the frame where the one expression begins: 0 for the first of a video,
                the number in the file name for a folder.
            apex: Number of the frame of its height.
            offset: Number of the frame where it ends; may be left out.
            progress: Called after each frame with the number of frames so far and of all.

        Raises:
            MerError: If the source cannot be read, or has no such frames.
        """
        if onset is None and apex is None and offset is None:
            return video.predict_spotted(self, source, fps, progress)
        if onset is None or apex is None:
            raise MerError("an annotated expression needs its onset and its apex")
        return video.predict_annotated(self, source, onset, apex, offset, fps, progress)

    def _predictions(self, samples: Sequence[Sample], followed: bool) -> list[Prediction]:
        scores = self._score(samples)
        shares = self._probabilities(scores.scores)
        return [
            self._prediction(scores, shares, row, measure(sample, followed))
            for row, sample in enumerate(samples)
        ]

    def _probabilities(
        self, scores: Mapping[str, NDArray[np.floating]]
    ) -> dict[str, NDArray[np.float64]]:
        """Calibrated probabilities of the heads that are calibrated. Shape: (B, K) each."""
        return {
            head: probabilities(
                as_logits(np.asarray(scores[head], np.float64), calibration.form),
                calibration.temperature,
            )
            for head, calibration in self.facts.calibration.items()
            if head in scores
        }

    def _prediction(
        self, scores: Scores, shares: Mapping[str, NDArray[np.float64]], row: int, motion: Motion
    ) -> Prediction:
        classes, main = self.facts.classes, self.facts.heads[0]
        plain = {head: _named(classes, one[row]) for head, one in scores.scores.items()}
        known = Prediction(
            label=None,
            reason=motion.problem,
            scores=plain,
            strength=motion.strength,
            still=motion.still,
            head_motion=motion.head,
        )
        if known.reason is not None:
            return known
        number, sides = int(scores.labels[row]), self._sides(scores, row)
        # Motion of another kind than that of the samples that confidence was calibrated on.
        covered = main in shares and not motion.unlike
        return replace(
            known,
            label=classes[number],
            probabilities={head: _named(classes, one[row]) for head, one in shares.items()},
            confidence=float(shares[main][row, number]) if covered else None,
            units=None if sides is None else {name: max(both) for name, both in sides.items()},
            sides=sides,
            warnings=tuple(motion.warnings),
        )

    def _sides(self, scores: Scores, row: int) -> dict[str, tuple[float, float]] | None:
        if scores.units is None:
            return None
        left, right = scores.units[row].reshape(2, -1).tolist()
        names = [f"AU{number}" for number in self.facts.units]
        return dict(zip(names, zip(left, right, strict=True), strict=True))


class _Faces:
    """A face finder that threads use in turns; opened when it is needed."""

    def __init__(self, confidence: float) -> None:
        self._confidence, self._lock = confidence, threading.Lock()
        self._finder: FaceFinder | None = None

    def __enter__(self) -> FaceFinder:
        self._lock.acquire()
        if self._finder is None:
            self._finder = FaceFinder(self._confidence)
        return self._finder

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def close(self) -> None:
        """Close the face finder, if it is open."""
        with self._lock:
            if self._finder is not None:
                self._finder.close()
                self._finder = None


def _name(picture: Picture, name: str) -> str:
    return str(picture) if isinstance(picture, (str, Path)) else name


def _read(picture: Picture, name: str) -> NDArray[np.uint8] | Drop:
    if not isinstance(picture, (np.ndarray, str, Path)):
        raise MerError(f"{name} is {picture!r:.60}; give uint8 (H, W, 3) RGB, or a file")
    if not isinstance(picture, np.ndarray):
        return read_picture(Path(picture).expanduser())
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise MerError(
            f"{name} is {picture.dtype} {picture.shape}; give uint8 (H, W, 3) RGB, or a file"
        )
    return picture


def _named(classes: Sequence[str], values: NDArray[np.floating]) -> dict[str, float]:
    return dict(zip(classes, map(float, values), strict=True))
