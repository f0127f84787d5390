"""The scores of a fitted support vector machine from tensors alone.

scikit-learn's objects cannot be put in a checkpoint that loads safely, nor be exported; tensors
can. `tests/callbacks/test_svm_head.py` holds these scores against scikit-learn's.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mer.errors import MerError

KERNELS = ("rbf", "linear", "poly")


class SupportVectorScores(nn.Module):
    """One-vs-rest scores of an SVM, scaler included.

    For k classes present in training there are P = k (k - 1) / 2 pairwise machines. As scikit-learn
    does, each pair gives one vote, and the sum of a class's margins breaks ties: score = votes +
    s / (3 (|s| + 1)), which never outweighs a vote. For two classes the scores are the margin with
    either sign.

    Args:
        settings: `kernel`, `gamma`, `coef0`, `degree`, `normalise` and `n_classes` (K).
        tensors: float64 `mean` and `scale` (E,), `support` (S, E), `weights` (P, S), `intercepts`
            (P,); int64 `classes` (k,), class numbers in rising order.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    support: torch.Tensor
    weights: torch.Tensor
    intercepts: torch.Tensor

    def __init__(self, settings: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.settings = dict(settings)
        for name in ("mean", "scale", "support", "weights", "intercepts", "classes"):
            self.register_buffer(name, tensors[name])
        self._present: list[int] = tensors["classes"].tolist()

    @classmethod
    def from_sklearn(
        cls,
        svc: Any,
        settings: Mapping[str, Any],
        mean: NDArray[np.float64],
        scale: NDArray[np.float64],
    ) -> "SupportVectorScores":
        """Take the tensors from a fitted `sklearn.svm.SVC`.

        Args:
            svc: Two classes or more.
            settings: See the class.
            mean: Subtracted from embeddings before the kernel. Shape: (E,).
            scale: Divides them. Shape: (E,).
        """
        # dual_coef_ (k - 1, S) packs the weights of a support vector of class i in the k - 1 pairs
        # that i is in; unpacked to one row per pair, a margin is a plain matrix product.
        ends = np.cumsum(svc.n_support_)
        owned = [slice(end - count, end) for count, end in zip(svc.n_support_, ends, strict=True)]
        k = len(svc.classes_)
        rows = []
        for i in range(k):
            for j in range(i + 1, k):
                row = np.zeros(len(svc.support_vectors_))
                row[owned[i]] = svc.dual_coef_[j - 1, owned[i]]
                row[owned[j]] = svc.dual_coef_[i, owned[j]]
                rows.append(row)
        # Of two classes scikit-learn lets the second be positive, of more the first of each pair.
        sign = -1 if k == 2 else 1
        return cls(
            settings,
            {
                "mean": torch.tensor(mean),
                "scale": torch.tensor(scale),
                "support": torch.tensor(svc.support_vectors_),
                "weights": torch.tensor(sign * np.stack(rows)),
                "intercepts": torch.tensor(sign * svc.intercept_),
                "classes": torch.tensor(svc.classes_, dtype=torch.int64),
            },
        )

    @classmethod
    def constant(
        cls, settings: Mapping[str, Any], width: int, only_class: int
    ) -> "SupportVectorScores":
        """The head of a training side with one class: it gets 0, all others minus infinity."""
        empty = torch.zeros(0, dtype=torch.float64)
        return cls(
            settings,
            {
                "mean": torch.zeros(width, dtype=torch.float64),
                "scale": torch.ones(width, dtype=torch.float64),
                "support": empty.view(0, 1).expand(0, width).clone(),
                "weights": empty.view(0, 1)[:, :0].clone(),
                "intercepts": empty,
                "classes": torch.tensor([only_class]),
            },
        )

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """Score embeddings.

        Args:
            embedding: Shape: (B, E), of the type of the tensors.

        Returns:
            Shape: (B, K); minus infinity for classes that had no training sample.

        Raises:
            MerError: If the width E is not that of the training.
        """
        width = self.mean.shape[0]
        if embedding.shape[1] != width:
            raise MerError(
                f"The SVM head was fitted on embeddings of width {width}; this model's have width "
                f"{embedding.shape[1]}. Use the backbone of the training, or fit the head again."
            )
        x = (embedding - self.mean) / self.scale
        if self.settings["normalise"]:
            x = nn.functional.normalize(x)
        columns = dict(zip(self._present, self._one_vs_rest(x), strict=True))
        absent = torch.full_like(x[:, 0], -torch.inf)
        numbers = range(self.settings["n_classes"])
        return torch.stack([columns.get(number, absent) for number in numbers], dim=1)

    def _one_vs_rest(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Scores (B,) of each class that was present in training."""
        k = len(self._present)
        if k == 1:
            return [torch.zeros_like(x[:, 0])]
        margins = (self._kernel(x) @ self.weights.T + self.intercepts).unbind(1)
        if k == 2:
            return [margins[0], -margins[0]]
        # No write into a tensor, which an exported graph would not hold.
        votes = [torch.zeros_like(margins[0])] * k
        sums = list(votes)
        for margin, (i, j) in zip(margins, itertools.combinations(range(k), 2), strict=True):
            votes[i], votes[j] = votes[i] + (margin >= 0), votes[j] + (margin < 0)
            sums[i], sums[j] = sums[i] + margin, sums[j] - margin
        return [v + s / (3 * (s.abs() + 1)) for v, s in zip(votes, sums, strict=True)]

    def _kernel(self, x: torch.Tensor) -> torch.Tensor:
        """Kernel values (B, S) between embeddings and support vectors."""
        products = x @ self.support.T
        gamma, kernel = self.settings["gamma"], self.settings["kernel"]
        if kernel == "linear":
            return products
        if kernel == "poly":
            return (gamma * products + self.settings["coef0"]) ** self.settings["degree"]
        squares = (x**2).sum(1, keepdim=True) - 2 * products + (self.support**2).sum(1)
        return torch.exp(-gamma * squares.clamp(min=0))
