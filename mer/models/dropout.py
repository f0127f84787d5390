"""Dropout whose draws depend on a seed, the epoch and the step alone."""

import numpy as np
import torch

from mer.randomness import generator


class DropoutDraws:
    """Gives the masks of one training, step by step.

    Torch's own dropout draws from a generator that everything else draws from as well. These masks
    are the same in every engine, on every device, and in a training that was interrupted.

    Args:
        probability: That a component is missed, in [0, 1).
        seed: Another one gives other masks.
    """

    def __init__(self, probability: float, seed: int) -> None:
        self.probability, self.seed = probability, seed
        self.scale = 1 / (1 - probability)
        self.start(0)

    def start(self, epoch: int) -> None:
        """Begin an epoch, counted from 0."""
        # The last name was a device's number; without it all masks would change.
        self._generator = generator("dropout", self.seed, epoch, 0)

    def mask(self, count: int, width: int) -> torch.Tensor | None:
        """Factors of the next batch: 0, or `scale` so that the expectation stays.

        Returns:
            Shape: (B, E), float32, on the CPU; None where nothing is missed.
        """
        kept = self.kept(count, width)
        return None if kept is None else kept * self.scale

    def kept(self, count: int, width: int) -> torch.Tensor | None:
        """What of the next batch is not missed, as `mask`. Shape: (B, E), bool."""
        if not self.probability:
            return None
        # Whole numbers of 16 bits are drawn four times as fast as fractions.
        numbers = np.frombuffer(self._generator.bytes(2 * count * width), np.uint16)
        return torch.from_numpy(numbers >= round(self.probability * 2**16)).view(count, width)
