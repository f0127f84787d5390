"""Small networks side by side: multilayer perceptrons on a coarse picture of the motion.

Several of them, trained on the same samples from different initial weights, and their mean are
better than one that is trained longer, and cost less than one convolutional network.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional


class MotionMLPs(nn.Module):
    """A backbone of K perceptrons, whose embedding is all of theirs in one row.

    Args:
        in_chans: Channels C of the input.
        num_classes: Outputs of a classifier of its own; 0 leaves it out.
        members: Number K of perceptrons.
        side: Side in pixels of the averages that they see; inputs may be of any size.
        widths: Widths of their layers; the last is that of one embedding.
    """

    def __init__(
        self,
        in_chans: int,
        num_classes: int = 0,
        members: int = 8,
        side: int = 16,
        widths: tuple[int, ...] = (256, 128, 64),
    ) -> None:
        super().__init__()
        self.members = members
        self.num_features = members * widths[-1]
        self.perceptrons = _Perceptrons(members, side, (in_chans * side * side, *widths))
        self.reset_classifier(num_classes)

    def forward_features(self, image: torch.Tensor) -> torch.Tensor:
        """Compute all embeddings. Shape: (B, K * E, 1, 1)."""
        features: torch.Tensor = self.perceptrons(image)
        return features

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Give all embeddings of an image in one row, (B, K * E), or logits."""
        row = features.flatten(1)
        outputs: torch.Tensor = row if pre_logits else self.classifier(row)
        return outputs

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute logits, or the embedding if there is no classifier."""
        return self.forward_head(self.forward_features(image))

    def reset_classifier(self, num_classes: int) -> None:
        """Make another classifier; 0 for none."""
        wide = self.num_features
        self.classifier = nn.Linear(wide, num_classes) if num_classes else nn.Identity()


class _Perceptrons(nn.Module):
    """K perceptrons on the same averages. Shape: (B, C, S, S) to (B, K * E, 1, 1)."""

    def __init__(self, members: int, side: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.members, self.side = members, side
        self.layers = nn.ModuleList(_Layer(members, *pair) for pair in pairwise(widths))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        coarse = functional.adaptive_avg_pool2d(image, self.side).flatten(1)
        values = coarse[:, None].expand(-1, self.members, -1)
        for layer in self.layers:
            values = layer(values)
        return values.flatten(1)[:, :, None, None]


class _Layer(nn.Module):
    """The same layer of K perceptrons: linear, batch norm, GELU. Shape: (B, K, F) to (B, K, G)."""

    def __init__(self, members: int, wide: int, narrow: int) -> None:
        super().__init__()
        bound = wide**-0.5
        self.weight = nn.Parameter(torch.empty(members, wide, narrow).uniform_(-bound, bound))
        self.norm = nn.BatchNorm1d(members * narrow)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        batch, members = values.shape[:2]
        outputs = torch.bmm(values.transpose(0, 1), self.weight).transpose(0, 1)
        normed: torch.Tensor = functional.gelu(self.norm(outputs.reshape(batch, -1)))
        return normed.view(batch, members, -1)
