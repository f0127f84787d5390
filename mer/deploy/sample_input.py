"""From two pictures to a network's input, by the functions that preparation and training use."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer.config.settings import Input, Prepare
from mer.data import inputs
from mer.errors import MerError
from mer.prepare.faces import FaceFinder
from mer.prepare.sample import Drop, Sample, prepare_pictures, read_picture

Picture = NDArray[np.uint8]


def sample_input(
    onset: Path | Picture,
    apex: Path | Picture,
    prepare: Prepare,
    options: Input,
    finder: FaceFinder | None = None,
) -> NDArray[np.float32]:
    """Build a network's input from the onset and the apex, equal to that of a prepared store.

    Args:
        onset: File, or uint8 (H, W, 3) RGB.
        apex: The same, of the same size. Both must show a face with `faces: landmarks`.
        prepare: Settings of the model's preparation.
        options: Kind and size of its input.
        finder: Open face finder; needed with `faces: landmarks`.

    Returns:
        Shape: (1, C, S, S), float32, not normalised, as the data module gives it.

    Raises:
        MerError: If a file cannot be read, the sizes differ, or a picture shows no face.
    """
    names = tuple(
        str(picture) if isinstance(picture, Path) else name
        for picture, name in ((onset, "the onset"), (apex, "the apex"))
    )
    pictures = [
        load(picture) if isinstance(picture, Path) else picture for picture in (onset, apex)
    ]
    sample = align(pictures[0], pictures[1], prepare, options, finder, (names[0], names[1]))
    return to_input(sample, options)


def load(path: Path) -> Picture:
    """Read a picture file: uint8 (H, W, 3) RGB.

    Raises:
        MerError: If it is missing or unreadable.
    """
    picture = read_picture(path)
    if isinstance(picture, Drop):
        raise MerError(f"this picture cannot be used: {picture.reason}: {picture.detail}")
    return picture


def align(
    onset: Picture,
    apex: Picture,
    prepare: Prepare,
    options: Input,
    finder: FaceFinder | None = None,
    names: tuple[str, str] = ("the onset", "the apex"),
) -> Sample:
    """Align two pictures, with the flow between them if the input reads one.

    Raises:
        MerError: If the sizes differ or a picture shows no face.
    """
    needs, chosen = inputs.make(options).kind.needs, prepare
    if "flow" not in needs:
        chosen = replace(prepare, flow=replace(prepare.flow, method=None))
    sample = prepare_pictures(
        onset, apex, chosen, finder, names=names, apex_landmarks="landmarks" in needs
    )
    if isinstance(sample, Drop):
        raise MerError(f"these pictures cannot be used: {sample.reason}: {sample.detail}")
    return sample


def to_input(sample: Sample, options: Input) -> NDArray[np.float32]:
    """Build the input of an aligned sample. Shape: (1, C, S, S), float32."""
    image = inputs.make(options).build(sample)
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])
