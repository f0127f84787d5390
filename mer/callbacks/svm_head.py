"""An SVM on the embeddings of a fold's training samples, or on several sources, beside the softmax.

Its state is tensors and plain values, so it travels in checkpoints that load with
`weights_only=True`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mer.callbacks.head import EMBEDDING, Head, source_name
from mer.callbacks.svm_scores import (
    DECISIONS,
    KERNELS,
    SupportVectorScores,
    kernel_values,
)
from mer.errors import MerError, raise_all


class SVMHead(Head):
    """A support vector machine with z-scored inputs.

    A class without a training sample gets the score minus infinity, so it is never predicted. With
    one class only, there is nothing to separate and every sample gets that class.

    Of several sources each is standardised by itself and has a kernel of its own; the mean of the
    kernels is the SVM's.

    Args:
        kernel: rbf | linear | poly.
        C: Penalty of training errors, positive; larger fits closer.
        gamma: Width of the rbf and poly kernels: scale (1 over width and variance of a source,
            after scaling), auto (1 over its width), or a positive number.
        class_weight: balanced (errors count by inverse class frequency) or None.
        standardise: Whether to z-score each dimension with constants of the training samples.
        normalise: Whether to scale each embedding to length 1, after standardising.
        degree: Degree of the poly kernel.
        coef0: Constant of the poly kernel.
        sources: What it is fitted on, see `mer.callbacks.head.Head`.
        decision: votes (scores as scikit-learn's: one vote per pair of classes) or margins (sums
            of tanh of the pairwise margins, which can be added to other scores).
        name: Name of its columns and scores.

    Attributes:
        by_matrix: Whether the kernel of a single source is computed as one matrix, too: faster, and
            rounded otherwise.

    Raises:
        MerError: If an argument cannot be used; all are listed.
    """

    by_matrix = False

    def __init__(
        self,
        kernel: str = "rbf",
        C: float = 1.0,
        gamma: float | str = "scale",
        class_weight: str | None = "balanced",
        standardise: bool = True,
        normalise: bool = False,
        degree: int = 3,
        coef0: float = 0.0,
        sources: Sequence[str | Mapping[str, Any]] = (EMBEDDING,),
        decision: str = "votes",
        name: str = "svm",
    ) -> None:
        problems = []
        if kernel not in KERNELS:
            problems.append(f"kernel={kernel}; set one of {', '.join(KERNELS)}")
        if not C > 0:
            problems.append(f"C={C}; set a positive number")
        if gamma not in ("scale", "auto") and not (isinstance(gamma, int | float) and gamma > 0):
            problems.append(f"gamma={gamma}; set scale, auto or a positive number")
        if class_weight not in ("balanced", None):
            problems.append(f"class_weight={class_weight}; set balanced or null")
        if decision not in DECISIONS:
            problems.append(f"decision={decision}; set one of {', '.join(DECISIONS)}")
        if not 0 < len(sources) == len({source_name(source) for source in sources}):
            problems.append(f"sources={list(sources)}; name one or more, each once")
        raise_all(f"The SVM head {name} cannot be used:", problems)
        self.name = name
        self.kernel, self.C, self.gamma = kernel, C, gamma
        self.class_weight, self.standardise, self.normalise = class_weight, standardise, normalise
        self.degree, self.coef0 = degree, coef0
        self.sources, self.decision = list(sources), decision
        self.fitted: SupportVectorScores | None = None

    def fit(
        self, embeddings: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
    ) -> None:
        """Fit scaler and SVM; see `Head.fit`."""
        self.fitted = self._fit(embeddings, labels, n_classes)

    def scores(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score embeddings.

        Returns:
            With `votes` those of scikit-learn's `decision_function` (one-vs-rest shape); for two
            classes (-d, d). Shape: (B, K).

        Raises:
            MerError: If the head is not fitted, or was fitted on embeddings of another width.
        """
        if self.fitted is None:
            raise MerError(
                f"The SVM head {self.name} is not fitted. Train first, load its state, or leave it "
                "out of `callbacks`."
            )
        scores: NDArray[np.float64] = self.fitted(torch.from_numpy(embeddings)).numpy()
        return scores

    def export(self) -> nn.Module | None:
        """Give the fitted SVM as a module from embeddings to scores; None if it is not fitted."""
        return self.fitted

    def state_dict(self) -> dict[str, Any]:
        """Give the fitted head as tensors and plain values; empty when it isn't fitted."""
        if self.fitted is None:
            return {}
        return {"settings": self.fitted.settings, "tensors": dict(self.fitted.state_dict())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.fitted = None
        if state_dict:
            self.fitted = SupportVectorScores(state_dict["settings"], state_dict["tensors"])

    def _fit(
        self, embeddings: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
    ) -> SupportVectorScores:
        from sklearn.preprocessing import StandardScaler, normalize
        from sklearn.svm import SVC

        width = embeddings.shape[1]
        mean, scale = np.zeros(width), np.ones(width)
        if self.standardise:
            scaler = StandardScaler().fit(embeddings)
            mean, scale = scaler.mean_, scaler.scale_
        settings: dict[str, Any] = {
            "kernel": self.kernel,
            "coef0": float(self.coef0),
            "degree": int(self.degree),
            "normalise": bool(self.normalise),
            "n_classes": n_classes,
            "decision": self.decision,
            # What was set, for the audit; `gamma` below is the number that it means here.
            "C": float(self.C),
            "gamma_set": self.gamma,
            "sources": [source_name(source) for source in self.sources],
        }
        widths = self.widths or (width,)
        if len(self.sources) > 1:
            settings["widths"] = list(widths)
        x = (embeddings - mean) / scale
        parts = np.split(x, np.cumsum(widths)[:-1], axis=1)
        if self.normalise:
            parts = [normalize(part) for part in parts]
            x = np.concatenate(parts, axis=1)
        gammas = [self._gamma(part) for part in parts]
        settings["gamma"] = gammas if len(self.sources) > 1 else gammas[0]
        present = np.unique(labels)
        if len(present) == 1:
            return SupportVectorScores.constant(settings, width, int(present[0]))
        options, given = {"kernel": self.kernel, "gamma": settings["gamma"]}, x
        if self.by_matrix or len(self.sources) > 1:
            options, rows = {"kernel": "precomputed"}, torch.from_numpy(x)
            given = kernel_values(rows, rows, settings).numpy()
        svc = SVC(
            C=self.C,
            coef0=self.coef0,
            degree=self.degree,
            class_weight=self.class_weight,
            decision_function_shape="ovr",
            break_ties=True,
            **options,
        ).fit(given, labels)
        settings["C"] = float(svc.C)
        return SupportVectorScores.from_sklearn(svc, settings, mean, scale, x[svc.support_])

    def _gamma(self, rows: NDArray[np.float64]) -> float:
        """The number that `gamma` means for the rows of a source, as the kernel takes them."""
        if self.gamma == "auto":
            return 1.0 / int(rows.shape[1])
        if self.gamma == "scale":
            spread = float(rows.shape[1] * rows.var())
            return 1 / spread if spread > 0 else 1.0
        return float(self.gamma)
