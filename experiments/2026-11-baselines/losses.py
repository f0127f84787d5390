"""Losses for classes of unequal size that did not pay here: focal loss and logit adjustment."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Focal(nn.Module):
    """Focal loss (Lin et al., ICCV 2017)."""

    def __init__(
        self, weight: Tensor | None = None, label_smoothing: float = 0.0, gamma: float = 2.0
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.smoothing, self.gamma = label_smoothing, gamma

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Mean loss of a batch."""
        entropy = functional.cross_entropy(
            logits, label, self.weight, reduction="none", label_smoothing=self.smoothing
        )
        return ((1 - torch.exp(-entropy)) ** self.gamma * entropy).mean()


class LogitAdjusted(nn.Module):
    """Cross entropy of logits plus the log of the classes' shares (Menon et al., ICLR 2021).

    The shares are those of the training side, the inverse of balanced class weights
    (model.class_weights=balanced), which have no other part in the loss.
    """

    def __init__(self, weight: Tensor, label_smoothing: float = 0.0, tau: float = 1.0) -> None:
        super().__init__()
        share = torch.where(weight > 0, 1 / weight.clamp(min=1e-6), torch.zeros_like(weight))
        self.register_buffer("shift", tau * torch.log((share / share.sum()).clamp(min=1e-6)))
        self.smoothing = label_smoothing

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Mean loss of a batch."""
        shifted = logits + self.shift
        return functional.cross_entropy(shifted, label, label_smoothing=self.smoothing)
