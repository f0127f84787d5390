"""Clips for tests: lossless videos, and a synthetic clip with its annotated frames."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from mer.config.composition import typed
from mer.data import sources
from mer.datasets.frame_files import frame_number, index_frames
from mer.prepare.sample import Drop, read_picture
from tests.builders import Config


class Clip(NamedTuple):
    """A synthetic clip: its frames and those that are annotated, numbered from 0."""

    sample: str
    onset_path: Path
    apex_path: Path
    pictures: list[np.ndarray]
    onset: int
    apex: int


def clip_of(config: Config, sample: str | None = None) -> Clip:
    """Read a clip of the tiny corpora, by default the first."""
    table = sources.load(typed(config()), "micro").table.set_index("sample_id")
    name = table.index[0] if sample is None else sample
    onset, apex = (Path(table.loc[name, f"{key}_path"]) for key in ("onset", "apex"))
    files = index_frames(onset.parent)
    pictures = [read(path) for path in files.values()]
    numbers = list(files)
    places = [numbers.index(frame_number(path) or 0) for path in (onset, apex)]
    return Clip(name, onset, apex, pictures, *places)


def read(path: Path) -> np.ndarray:
    """Read a picture that must be there."""
    picture = read_picture(path)
    assert not isinstance(picture, Drop)
    return picture


def write_video(path: Path, pictures: Iterable[np.ndarray], fps: float = 200) -> Path:
    """Write a lossless video: FFV1 in a Matroska file."""
    writer = None
    for picture in pictures:
        if writer is None:
            size = picture.shape[1], picture.shape[0]
            code = cv2.VideoWriter_fourcc(*"FFV1")
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, size)
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert writer is not None
    writer.release()
    return path


def same_scores(one: dict[str, dict[str, float]], other: dict[str, dict[str, float]]) -> bool:
    """Whether two predictions give the same scores, to 1e-4."""
    return list(one) == list(other) and all(
        one[head] == pytest.approx(other[head], abs=1e-4) for head in one
    )
