"""Calibration: how often a head is right when it is so sure.

One parameter per head, a temperature, turns its scores into probabilities; it is fitted on
predictions for persons whom the network that made them was not trained on.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Calibration(NamedTuple):
    """How the scores of a head become probabilities.

    Attributes:
        temperature: What scores are divided by before their softmax, positive; larger is less sure.
        fitted_on: Whose predictions it was fitted on, in words.
        samples: Number of these predictions.
        persons: Number of their persons.
        error_before: Expected calibration error without it; None where nothing was measured.
        error_after: The same with temperatures that other persons gave.
    """

    temperature: float
    fitted_on: str
    samples: int = 0
    persons: int = 0
    error_before: float | None = None
    error_after: float | None = None


def as_logits(scores: Array) -> Array:
    """Scores whose softmax means something: of probabilities the logarithm, of others themselves.

    Args:
        scores: Scores of a head. Shape: (N, K).
    """
    probabilities = (scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-4)
    if not probabilities:
        return np.asarray(scores, np.float64)
    with np.errstate(divide="ignore"):
        return np.log(scores, dtype=np.float64)


def probabilities(logits: Array, temperature: float) -> Array:
    """Softmax of logits that are divided by a temperature. Shape: (N, K)."""
    scaled = logits / temperature
    scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: Array = scaled / scaled.sum(axis=1, keepdims=True)
    return shares
