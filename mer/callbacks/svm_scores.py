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
DECISIONS = ("votes", "margins")


class SupportVectorScores(nn.Module):
    """Scores of an SVM per class, scaler included.

    For k classes present in training there are P = k (k - 1) / 2 pairwise machines. With `votes`,
    as scikit-learn does, each pair gives one vote, and the sum of a class's margins breaks ties:
    score = votes + s / (3 (|s| + 1)), which never outweighs a vote; for two classes the scores are
    the margin with either sign. With `margins` a class has the sum of tanh of its margins, so that
    scores of several models can be added.

    Args:
        settings: `kernel`, `gamma`, `coef0`, `degree`, `normalise` and `n_classes` (K); `decision`
            (`DECISIONS`, votes if it is missing). Where the kernel is the mean of kernels on
            several sources, `widths` has the width of each and `gamma` is a list.
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
        support: NDArray[np.float64],
    ) -> "SupportVectorScores":
        """Take the tensors from a fitted `sklearn.svm.SVC`.

        Args:
            svc: Two classes or more.
            settings: See the class.
            mean: Subtracted from embeddings before the kernel. Shape: (E,).
            scale: Divides them. Shape: (E,).
            support: Rows of the support vectors, as the kernel takes them. Shape: (S, E).
        """
        # dual_coef_ (k - 1, S) packs the weights of a support vector of class i in the k - 1 pairs
        # that i is in; unpacked to one row per pair, a margin is a plain matrix product.
        ends = np.cumsum(svc.n_support_)
        owned = [slice(end - count, end) for count, end in zip(svc.n_support_, ends, strict=True)]
        k = len(svc.classes_)
        rows = []
        for i in range(k):
            for j in range(i + 1, k):
                row = np.zeros(len(support))
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
                "support": torch.tensor(support),
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
            parts = torch.split(x, self.settings.get("widths") or [width], dim=1)
            x = torch.cat([nn.functional.normalize(part) for part in parts], dim=1)
        columns = dict(zip(self._present, self._by_class(x), strict=True))
        absent = torch.full_like(x[:, 0], -torch.inf)
        numbers = range(self.settings["n_classes"])
        return torch.stack([columns.get(number, absent) for number in numbers], dim=1)

    def _by_class(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Scores (B,) of each class that was present in training."""
        k = len(self._present)
        if k == 1:
            return [torch.zeros_like(x[:, 0])]
        values = kernel_values(x, self.support, self.settings)
        margins = (values @ self.weights.T + self.intercepts).unbind(1)
        added = self.settings.get("decision") == "margins"
        if added:
            margins = tuple(margin.tanh() for margin in margins)
        if k == 2:
            return [margins[0], -margins[0]]
        # No write into a tensor, which an exported graph would not hold.
        votes = [torch.zeros_like(margins[0])] * k
        sums = list(votes)
        for margin, (i, j) in zip(margins, itertools.combinations(range(k), 2), strict=True):
            votes[i], votes[j] = votes[i] + (margin >= 0), votes[j] + (margin < 0)
            sums[i], sums[j] = sums[i] + margin, sums[j] - margin
        if added:
            return sums
        return [v + s / (3 * (s.abs() + 1)) for v, s in zip(votes, sums, strict=True)]


def kernel_values(
    x: torch.Tensor, others: torch.Tensor, settings: Mapping[str, Any]
) -> torch.Tensor:
    """Mean over the sources of the kernel between rows. (B, E) and (S, E) give (B, S)."""
    if (widths := settings.get("widths")) is None:
        return _kernel(x, others, settings["gamma"], settings)
    parts = zip(
        torch.split(x, widths, 1), torch.split(others, widths, 1), settings["gamma"], strict=True
    )
    values = [_kernel(*part, settings) for part in parts]
    return torch.stack(values).mean(dim=0)


def _kernel(
    x: torch.Tensor, others: torch.Tensor, gamma: float, settings: Mapping[str, Any]
) -> torch.Tensor:
    products = x @ others.T
    kernel = settings["kernel"]
    if kernel == "linear":
        return products
    if kernel == "poly":
        powers: torch.Tensor = (gamma * products + settings["coef0"]) ** settings["degree"]
        return powers
    squares = (x**2).sum(1, keepdim=True) - 2 * products + (others**2).sum(1)
    return torch.exp(-gamma * squares.clamp(min=0))
