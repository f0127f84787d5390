"""Exponential moving average of a network's weights over the steps of its training."""

import torch
from torch import nn


class WeightAverage:
    """Averages the weights and norm statistics of a network.

    In the first steps the decay is (1 + step) / (10 + step), so that the first weights are soon
    forgotten.

    Args:
        decay: Share that a step leaves of the average, in [0, 1); 0 averages nothing.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._steps = 0
        self._is_in = False
        self._averages: list[torch.Tensor] = []

    def update(self, network: nn.Module) -> None:
        """Take in the weights that a step has left."""
        if not self.decay:
            return
        weights = _averaged(network)
        if not self._steps:
            self._averages = [weight.clone() for weight in weights]
        decay = min(self.decay, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(self._averages, weights, 1 - decay)
        self._steps += 1

    def put_in(self, network: nn.Module) -> None:
        """Put the averages in the place of the weights, which are kept."""
        if self._steps and not self._is_in:
            self._exchange(network)

    def take_out(self, network: nn.Module) -> None:
        """Put the weights back, and keep the averages."""
        if self._is_in:
            self._exchange(network)

    def _exchange(self, network: nn.Module) -> None:
        for average, weight in zip(self._averages, _averaged(network), strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
        self._is_in = not self._is_in


def _averaged(network: nn.Module) -> list[torch.Tensor]:
    """Tensors that are averaged; what counts steps is left alone."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
