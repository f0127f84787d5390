"""A fold's model as one graph: normalisation, network, softmax and SVM head, tensors alone."""

from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mer.callbacks.svm_scores import SupportVectorScores
from mer.models.modules import MERModule

#: Names of the graph's input and outputs in every file format.
INPUT, SOFTMAX, SVM = "image", "softmax", "svm"


class Scores(NamedTuple):
    """What a model says of a batch.

    Attributes:
        softmax: Probabilities. Shape: (B, K), float32.
        svm: Scores of the SVM head, the label is the arg-max; None without one. (B, K), float32.
    """

    softmax: NDArray[np.float32]
    svm: NDArray[np.float32] | None

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers by the SVM head, or by softmax where there is none. Shape: (B,)."""
        return (self.softmax if self.svm is None else self.svm).argmax(axis=1)


class Deployed(nn.Module):
    """A trained model from image to scores, in evaluation mode; a copy, so the module stays as is.

    Args:
        module: The trained module.
        head: Its fitted SVM head, or None.
        facts: What a file of it says of its making; plain values.
    """

    def __init__(
        self,
        module: MERModule,
        head: SupportVectorScores | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.facts = dict(facts or {})
        self.shape = (int(module.hparams["in_chans"]), int(module.hparams["image_size"]))
        self.register_buffer("mean", module.input_mean.detach().clone())
        self.register_buffer("std", module.input_std.detach().clone())
        self.backbone = deepcopy(module.backbone)
        self.classifier = deepcopy(module.classifier)
        self.svm = None if head is None else deepcopy(head)
        self.eval().requires_grad_(False)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Score images as the data module gives them, not normalised. (B, C, S, S), float32.

        Returns:
            Softmax (B, K) and, with an SVM head, its scores (B, K), float32.
        """
        x = (image - self.mean) / self.std
        embedding = self.backbone.forward_head(self.backbone.forward_features(x), pre_logits=True)
        softmax = self.classifier(embedding).float().softmax(dim=1)
        if self.svm is None:
            return (softmax,)
        return softmax, self.svm(embedding.double()).float()

    def example(self, batch: int) -> torch.Tensor:
        """Images with the mean and deviation of the training side. Shape: (B, C, S, S)."""
        channels, size = self.shape
        noise = torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(0))
        return self.mean + self.std * noise
