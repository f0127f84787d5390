"""Counting one epoch.

Scores come from counts pooled over batches and devices; averages of scores are another number.
"""

from collections.abc import Callable

import torch

from mer.metrics import scores_from_confusion


class EpochTally:
    """Loss and confusion counts of one epoch; they stay on the device and are read once."""

    def __init__(self, n_classes: int, device: torch.device) -> None:
        self.n_classes = n_classes
        self.counts = torch.zeros(n_classes * n_classes, dtype=torch.int64, device=device)
        self.loss = torch.zeros(2, device=device)  # sum over samples, number of samples

    def clear(self) -> None:
        """Begin another epoch."""
        self.counts.zero_()
        self.loss.zero_()

    def add(self, loss: torch.Tensor, logits: torch.Tensor, label: torch.Tensor) -> None:
        """Add a batch: its mean loss (scalar), logits (B, K), class numbers (B,)."""
        cell = label * self.n_classes + logits.argmax(dim=1)
        self.counts.index_add_(0, cell, torch.ones_like(cell))
        self.loss[0] += loss.float() * len(label)
        self.loss[1] += len(label)

    def compute(self, reduce: Callable[..., torch.Tensor]) -> dict[str, float]:
        """Compute `loss` (mean over samples), `accuracy`, `uf1` and `uar` of all devices together.

        Args:
            reduce: Sums a tensor over devices when called with `reduce_op="sum"`. Counts are
                summed, since the mean of several devices' UF1 is not the UF1 of their samples.
        """
        counts = reduce(self.counts, reduce_op="sum").cpu().numpy()
        total, number = reduce(self.loss, reduce_op="sum").cpu().tolist()
        found = scores_from_confusion(counts.reshape(self.n_classes, self.n_classes))
        values = {name: float(value) for name, value in found.items()}
        return {"loss": total / number if number else float("nan"), **values}
