"""Cross entropy with class weights and label smoothing, without a look at the batch's values."""

from collections.abc import Sequence

import torch
from torch import nn


class CrossEntropy(nn.Module):
    """What `torch.nn.CrossEntropyLoss` computes, in steps that a CUDA graph can hold.

    With weights and label smoothing, torch selects the labels that are not to be ignored, and waits
    for the GPU to know their number. Here no label is ignored.

    Args:
        weight: Weight of each class, or None for equal ones. Shape: (K,).
        label_smoothing: Share of the target that is spread over all classes, in [0, 1).
    """

    weight: torch.Tensor | None

    def __init__(self, weight: Sequence[float] | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        values = None if weight is None else torch.tensor(weight, dtype=torch.float32)
        self.register_buffer("weight", values)
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch, each sample weighted by its class.

        Args:
            logits: Shape: (B, K).
            label: Class numbers. Shape: (B,), int64.
        """
        surprise = -torch.log_softmax(logits.float(), dim=1)
        weight = torch.ones_like(surprise[0]) if self.weight is None else self.weight
        own = weight[label]
        target = (own * surprise.gather(1, label[:, None])[:, 0]).sum()
        spread = (surprise @ weight).sum() / logits.shape[1]
        smoothing = self.label_smoothing
        return ((1 - smoothing) * target + smoothing * spread) / own.sum()
