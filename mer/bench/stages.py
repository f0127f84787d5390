"""One sample from its files to the network's input, as preparation does it: staged, or at once."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mer.data import inputs
from mer.errors import MerError
from mer.prepare import faces, flow
from mer.prepare.sample import Drop, read_picture


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
    pictures = [_decoded(path) for path in pair]
    clock.lap("decode")
    landmarks = _face(finder, pictures[0], pair.onset)
    clock.lap("face")
    size = int(prepare["size"])
    matrix = faces.similarity(landmarks, size, prepare["margin"])
    crops = [faces.crop(picture, matrix, size) for picture in pictures]
    clock.lap("align")
    motion = _motion(crops, faces.move(landmarks, matrix), prepare, options)
    if motion is not None:
        clock.lap("flow")
    image = _batch(options, crops, motion)
    clock.lap("input")
    return Staged(image, clock.milliseconds)


def network_input(
    pair: Pair,
    finder: faces.FaceFinder,
    prepare: Mapping[str, Any],
    options: dict[str, Any],
    helper: Executor,
) -> NDArray[np.float32]:
    """What `staged` gives, in one call that uses two cores: (1, C, S, S), float32.

    The face model has one thread, so the helper decodes the apex meanwhile. OpenCV spreads crops
    and flow over the cores by itself.

    Args:
        pair: Files of the sample.
        finder: Open face finder.
        prepare: The `prepare` node.
        options: The `input` node.
        helper: Threads; one is enough.

    Raises:
        MerError: If a file cannot be read or shows no face.
    """
    coming = helper.submit(_decoded, pair.apex)
    onset = _decoded(pair.onset)
    landmarks = _face(finder, onset, pair.onset)
    size = int(prepare["size"])
    matrix = faces.similarity(landmarks, size, prepare["margin"])
    crops = [faces.crop(picture, matrix, size) for picture in (onset, coming.result())]
    motion = _motion(crops, faces.move(landmarks, matrix), prepare, options)
    return _batch(options, crops, motion)


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
) -> flow.FlowField:
    """Flow between two colour crops."""
    gray = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (onset, apex)]
    return flow.compute(gray[0], gray[1], settings, face=face)


def _decoded(path: Path) -> NDArray[np.uint8]:
    picture = read_picture(path)
    if isinstance(picture, Drop):
        raise MerError(f"mer bench cannot use a sample: {picture.reason}: {picture.detail}")
    return picture


def _face(finder: faces.FaceFinder, picture: NDArray[np.uint8], path: Path) -> NDArray[np.float32]:
    landmarks = finder.find(picture)
    if landmarks is None:
        raise MerError(f"mer bench finds no face in {path}")
    return landmarks


def _motion(
    crops: list[NDArray[np.uint8]],
    landmarks: NDArray[np.float32],
    prepare: Mapping[str, Any],
    options: dict[str, Any],
) -> NDArray[np.float16] | None:
    if "flow" not in inputs.kind_of(options).needs:
        return None
    oval = faces.oval(landmarks, int(prepare["size"]))
    return compute_flow(crops[0], crops[1], prepare["flow"], oval).to_array()


def _batch(
    options: dict[str, Any], crops: list[NDArray[np.uint8]], motion: NDArray[np.float16] | None
) -> NDArray[np.float32]:
    image = inputs.build(options, crops[0], crops[1], motion)
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


class _Clock:
    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.milliseconds[name] = 1000 * (now - self._last)
        self._last = time.perf_counter()
