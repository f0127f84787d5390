"""One sample from its files to the network's input, stage by stage, as preparation does it."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mer.data import inputs
from mer.errors import MerError
from mer.prepare import faces, flow
from mer.prepare.samples import Drop, read_picture


class Pair(NamedTuple):
    """Picture files of a sample."""

    onset: Path
    apex: Path


class Staged(NamedTuple):
    """A sample's input (1, C, S, S) float32, and the milliseconds of each stage."""

    image: NDArray[np.float32]
    milliseconds: dict[str, float]


def staged(
    pair: Pair, finder: faces.FaceFinder, prepare: Mapping[str, Any], options: dict[str, Any]
) -> Staged:
    """Carry out all stages for one sample.

    The face is looked for in the onset alone: its transform serves both pictures.

    Args:
        pair: Its files.
        finder: Open face finder.
        prepare: The `prepare` node.
        options: The `input` node.

    Raises:
        MerError: If a file cannot be read or shows no face.
    """
    clock = _Clock()
    pictures = [read_picture(path) for path in pair]
    clock.lap("decode")
    if isinstance(pictures[0], Drop) or isinstance(pictures[1], Drop):
        raise MerError(f"mer bench cannot read {pair.onset} or {pair.apex}")
    landmarks = finder.find(pictures[0])
    clock.lap("face")
    if landmarks is None:
        raise MerError(f"mer bench finds no face in {pair.onset}")
    size = int(prepare["size"])
    matrix = faces.similarity(landmarks, size, prepare["margin"])
    onset, apex = (faces.crop(picture, matrix, size) for picture in pictures)
    clock.lap("align")
    motion = None
    if "flow" in inputs.kind_of(options).needs:
        moved = faces.move(landmarks, matrix)
        motion = compute_flow(onset, apex, prepare["flow"], faces.oval(moved, size)).to_array()
        clock.lap("flow")
    image = inputs.build(options, onset, apex, motion).transpose(2, 0, 1)[None]
    image = np.ascontiguousarray(image)
    clock.lap("input")
    return Staged(image, clock.milliseconds)


def flow_methods(
    pair: Pair, finder: faces.FaceFinder, prepare: Mapping[str, Any]
) -> Iterator[tuple[str, float]]:
    """Milliseconds of each flow method on the crops of one sample."""
    pictures = [read_picture(path) for path in pair]
    landmarks = finder.find(pictures[0])
    size = int(prepare["size"])
    matrix = faces.similarity(landmarks, size, prepare["margin"])
    onset, apex = (faces.crop(picture, matrix, size) for picture in pictures)
    face = faces.oval(faces.move(landmarks, matrix), size)
    for method in flow.METHODS:
        clock = _Clock()
        compute_flow(onset, apex, {**prepare["flow"], "method": method}, face)
        clock.lap(method)
        yield method, clock.milliseconds[method]


def compute_flow(
    onset: NDArray[np.uint8],
    apex: NDArray[np.uint8],
    settings: Mapping[str, Any],
    face: NDArray[np.bool_],
) -> flow.Flow:
    """Flow between two colour crops."""
    gray = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (onset, apex)]
    return flow.compute(gray[0], gray[1], settings, face=face)


class _Clock:
    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.milliseconds[name] = 1000 * (now - self._last)
        self._last = time.perf_counter()
