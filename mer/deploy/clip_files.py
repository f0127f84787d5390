"""Files of predictions: JSON, CSV, a strip per expression, a timeline and an annotated video."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.deploy import expression_pictures
from mer.deploy.clip_words import Clip, Pair
from mer.deploy.prediction import ClipPrediction, FoundExpression
from mer.errors import MerError
from mer.files import write_csv, write_text, write_whole
from mer.prepare.faces import native_silence
from mer.spotting.frames import open_frames

if TYPE_CHECKING:
    from mer.deploy.facts import Facts
    from mer.deploy.predictor import Predictor

#: Raise it when a key of the JSON changes its meaning.
FORMAT = 1

#: Longest side of an annotated video in pixels.
LARGEST = 960


def to_json(facts: "Facts", clips: list[ClipPrediction]) -> str:
    """Write predictions as JSON, with what is known of the model."""
    model = facts.as_dict()
    kept = ("name", "classes", "heads", "units", "calibration", "warnings")
    plain = {
        "format": FORMAT,
        "model": {key: model[key] for key in kept if key in model},
        "clips": [clip.as_dict() for clip in clips],
    }
    return json.dumps(plain, indent=1, allow_nan=False, default=str) + "\n"


def to_table(clips: list[ClipPrediction]) -> pd.DataFrame:
    """One row per expression; a clip without any has one row with the reason."""
    return pd.DataFrame([row for clip in clips for row in _rows(clip)])


def _rows(clip: ClipPrediction) -> Iterator[dict[str, Any]]:
    if not clip.expressions:
        yield {"source": clip.source, "reason": clip.reason, "warnings": "; ".join(clip.warnings)}
    for one in clip.expressions:
        said = one.prediction
        row: dict[str, Any] = {"source": clip.source, "face": one.face}
        for name in ("onset", "apex", "offset"):
            moment = getattr(one, name)
            row[f"{name}_frame"] = None if moment is None else moment.frame
            row[f"{name}_seconds"] = None if moment is None else moment.seconds
        row |= {"label": said.label, "reason": said.reason, "confidence": said.confidence}
        row |= {"strength": said.strength, "still": said.still, "head_motion": said.head_motion}
        row |= {f"{head}_{k}": v for head, each in said.scores.items() for k, v in each.items()}
        row |= said.units or {}
        row["warnings"] = "; ".join((*said.warnings, *clip.warnings))
        yield row


class Writer:
    """Writes the files of predictions into a folder, clip by clip."""

    def __init__(self, folder: Path, predictor: "Predictor") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._predictor = folder, predictor
        self._names: set[str] = set()

    def add(self, asked: Pair | Clip, clip: ClipPrediction, fps: float | None = None) -> None:
        """Write the pictures of one clip; of a video also the timeline and an annotated copy."""
        stem = self._name(asked.name)
        for number, one in enumerate(clip.expressions, start=1):
            shown = expression_pictures.pictures(self._predictor, one)
            if shown:
                sheet = expression_pictures.strip(shown, title(clip, one))
                last = f"-{number}" if isinstance(asked, Clip) else ""
                _write_png(sheet, self._folder / f"{stem}{last}.png")
        if isinstance(asked, Pair):
            return
        plot = expression_pictures.timeline(clip)
        if plot is not None:
            target = self._folder / f"{stem}-timeline.png"
            write_whole(target, lambda path: plot.figure.savefig(path, format="png", dpi=150))
        if not isinstance(asked.source, int) and clip.expressions:
            write_whole(
                self._folder / f"{stem}-annotated.webm",
                lambda path: annotate(asked, clip, path, fps),
            )

    def close(self, clips: list[ClipPrediction]) -> None:
        """Write the JSON and the CSV of all clips."""
        write_text(to_json(self._predictor.facts, clips), self._folder / "predictions.json")
        write_csv(to_table(clips), self._folder / "predictions.csv")

    def _name(self, stem: str) -> str:
        """Name of a clip's files, which no other clip has."""
        name, number = stem, 1
        while name in self._names:
            number += 1
            name = f"{stem}-{number}"
        self._names.add(name)
        return name


def title(clip: ClipPrediction, one: FoundExpression) -> str:
    """Say in a line what an expression is."""
    said = one.prediction
    words = said.label or f"no label: {said.reason}"
    if said.confidence is not None:
        words += f" ({100 * said.confidence:.0f} %)"
    if clip.faces is not None and clip.faces > 1:
        words = f"face {one.face}: {words}"
    return words


def annotate(asked: Clip, clip: ClipPrediction, path: Path, fps: float | None = None) -> None:
    """Write a copy of a video (WebM, VP8) in which each expression is named while it lasts."""
    import cv2

    writer = None
    try:
        with open_frames(asked.source, fps) as frames:
            for frame in frames:
                picture = _smaller(frame.picture)
                if writer is None:
                    size = (picture.shape[1], picture.shape[0])
                    writer = _video_writer(path, frames.fps, size)
                now = [one for one in clip.expressions if _lasts(one, frame.number)]
                for line, one in enumerate(now):
                    _caption(picture, title(clip, one), line)
                writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    finally:
        if writer is not None:
            writer.release()


def _video_writer(path: Path, fps: float, size: tuple[int, int]) -> Any:
    import cv2

    code = cv2.VideoWriter_fourcc(*"VP80")
    with native_silence():  # OpenCV does not know that this code is the container's
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, min(fps, 120.0), size)
    if not writer.isOpened():
        raise MerError("this OpenCV writes no WebM (VP8): pip install -U opencv-python-headless")
    return writer


def _lasts(one: FoundExpression, number: int) -> bool:
    if one.onset is None or one.apex is None:
        return False
    return one.onset.frame <= number <= (one.offset or one.apex).frame


def _smaller(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy with even sides of at most `LARGEST`, as the codec needs them."""
    import cv2

    share = min(1.0, LARGEST / max(picture.shape[:2]))
    height, width = (max(2, int(side * share) // 2 * 2) for side in picture.shape[:2])
    return np.array(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _caption(picture: NDArray[np.uint8], text: str, line: int) -> None:
    import cv2

    scale = max(0.4, picture.shape[1] / 1000)
    place = (8, int((line + 1) * 36 * scale) + 4)
    words = text.encode("ascii", "replace").decode()
    for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(
            picture, words, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA
        )


def _write_png(picture: NDArray[np.uint8], path: Path) -> None:
    from PIL import Image

    write_whole(path, lambda target: Image.fromarray(picture).save(target, "PNG"))
