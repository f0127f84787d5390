"""What a label rests on: by how much its score falls where a part of the face is held still.

It asks a model for scores alone, so it serves where Grad-CAM cannot: files, and perceptrons.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from mer.models.grad_cam import GRID
from mer.prepare.sample import Sample

if TYPE_CHECKING:
    from mer.deploy.predictor import Predictor

#: Parts of the face beside each other; each is held still together with half of its neighbours.
PARTS = 8


def explain(predictor: "Predictor", sample: Sample) -> NDArray[np.float32] | None:
    """Hold one part of the face still after the other.

    Gives the mean fall of the main head's score of its favoured class (GRID, GRID), smoothed; None
    where no part matters.
    """
    edges = np.linspace(0, 1, PARTS + 1)
    windows = [
        (edges[top], edges[top + 2], edges[left], edges[left + 2])
        for top in range(PARTS - 1)
        for left in range(PARTS - 1)
    ]
    sure = predictor.sureness([sample, *(_held(sample, window) for window in windows)])
    falls = (sure[0] - sure[1:])[:, sure[0].argmax()]
    total, count = np.zeros((GRID, GRID)), np.zeros((GRID, GRID))
    for window, fall in zip(windows, falls, strict=True):
        total[_cells(window, GRID)] += max(float(fall), 0.0)
        count[_cells(window, GRID)] += 1
    smooth = cv2.GaussianBlur(total / count, (0, 0), GRID / PARTS / 3)
    return smooth.astype(np.float32) if smooth.any() else None


def _held(sample: Sample, window: tuple[float, float, float, float]) -> Sample:
    """The sample without motion in a window (top, bottom, left, right, shares of the side)."""
    frames, flow = sample.frames, sample.flow
    if frames is not None:
        frames, part = frames.copy(), _cells(window, frames.shape[1])
        still = frames[0][part] if sample.has_onset else frames[1].mean(axis=(0, 1))
        frames[1][part] = still
    if flow is not None:
        flow = flow.copy()
        flow[:, *_cells(window, flow.shape[1])] = 0
    return replace(sample, frames=frames, flow=flow)


def _cells(window: tuple[float, float, float, float], side: int) -> tuple[slice, slice]:
    top, bottom, left, right = (round(float(share) * side) for share in window)
    return slice(top, bottom), slice(left, right)
