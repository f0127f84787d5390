"""Mixup: each training sample is mixed with another one of its batch, and so are their losses.

Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from mer.randomness import generator


class Mix(NamedTuple):
    """How a batch is mixed.

    Attributes:
        partners: Place of each sample's partner in the batch. Shape: (B,), int64.
        share: Share of the sample itself, 0.5 or more. Shape: (), float32.
    """

    partners: torch.Tensor
    share: torch.Tensor

    def to(self, device: torch.device) -> "Mix":
        """Give the same on a device."""
        return Mix(self.partners.to(device), self.share.to(device))

    def images(self, images: torch.Tensor) -> torch.Tensor:
        """Mix a batch. Shape: (B, C, S, S)."""
        return torch.lerp(images[self.partners], images, self.share)

    def loss(
        self, loss: Callable[[torch.Tensor], torch.Tensor], labels: torch.Tensor
    ) -> torch.Tensor:
        """Mix what a loss says of the samples' labels (B,) and of their partners'."""
        return torch.lerp(loss(labels[self.partners]), loss(labels), self.share)


class MixupDraws:
    """Draws the mixes of one training, step by step; they depend on seed, epoch and step alone.

    Args:
        alpha: Parameter of the Beta distribution of the shares; 0 mixes nothing.
        seed: Another one gives other mixes.
    """

    def __init__(self, alpha: float, seed: int) -> None:
        self.alpha, self.seed = alpha, seed
        self.start(0)

    def start(self, epoch: int) -> None:
        """Begin an epoch, counted from 0."""
        self._generator = generator("mixup", self.seed, epoch)

    def draw(self, count: int) -> Mix | None:
        """Draw the mix of the next batch, on the CPU; None where nothing is mixed."""
        if not self.alpha:
            return None
        share = self._generator.beta(self.alpha, self.alpha)
        partners = torch.from_numpy(self._generator.permutation(count))
        return Mix(partners, torch.tensor(max(share, 1 - share), dtype=torch.float32))
