"""The input itself as an embedding: a run without a network, for heads alone.

An SVM on well-scaled pixels is the model that every network has to beat. It has the same folds,
records and files as any other run.
"""

import torch
from torch import nn


class Pixels(nn.Module):
    """A backbone without weights, whose embedding is the image in one row."""

    def __init__(self, in_chans: int, num_classes: int = 0) -> None:
        super().__init__()
        self.num_features = in_chans

    def forward_features(self, image: torch.Tensor) -> torch.Tensor:
        """Give the image as it is. Shape: (B, C, S, S)."""
        return image

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Give all values of an image as its embedding. Shape: (B, C * S * S)."""
        return features.flatten(1)

    def reset_classifier(self, num_classes: int) -> None:
        """Do nothing: there is no classifier."""
