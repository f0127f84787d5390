"""An SVM on the embeddings of a fold's training samples, beside the softmax classifier.

Its state is tensors and plain values, so it travels in checkpoints that load with
`weights_only=True`.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mer.callbacks.head import Head
from mer.callbacks.svm_scores import KERNELS, SupportVectorScores
from mer.errors import MerError, raise_all


class SVMHead(Head):
    """A support vector machine with z-scored inputs.

    A class without a training sample gets the score minus infinity, so it is never predicted. With
    one class only, there is nothing to separate and every sample gets that class.

    Args:
        kernel: rbf | linear | poly.
        C: Penalty of training errors, positive; larger fits closer.
        gamma: Width of the rbf and poly kernels: scale (1 over width and variance of the
            embeddings, after scaling), auto (1 over their width), or a positive number.
        class_weight: balanced (errors count by inverse class frequency) or None.
        standardise: Whether to z-score each dimension with constants of the training samples.
        normalise: Whether to scale each embedding to length 1, after standardising.
        degree: Degree of the poly kernel.
        coef0: Constant of the poly kernel.
        name: Name of its columns and scores.

    Raises:
        MerError: If an argument cannot be used; all are listed.
    """

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
        raise_all(f"The SVM head {name} cannot be used:", problems)
        self.name = name
        self.kernel, self.C, self.gamma = kernel, C, gamma
        self.class_weight, self.standardise, self.normalise = class_weight, standardise, normalise
        self.degree, self.coef0 = degree, coef0
        self.fitted: SupportVectorScores | None = None

    def fit(
        self, embeddings: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
    ) -> None:
        """Fit scaler and SVM; see `Head.fit`."""
        self.fitted = self._fit(embeddings, labels, n_classes)

    def scores(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score embeddings.

        Returns:
            Scores equal to scikit-learn's `decision_function` (one-vs-rest shape); for two classes
            (-d, d). Shape: (B, K).

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
        x = (embeddings - mean) / scale
        if self.normalise:
            x = normalize(x)
        gamma = self.gamma
        if gamma == "auto":
            gamma = 1 / width
        elif gamma == "scale":
            gamma = 1 / (width * x.var()) if x.var() > 0 else 1.0
        settings = {
            "kernel": self.kernel,
            "gamma": float(gamma),
            "coef0": float(self.coef0),
            "degree": int(self.degree),
            "normalise": bool(self.normalise),
            "n_classes": n_classes,
        }
        present = np.unique(labels)
        if len(present) == 1:
            return SupportVectorScores.constant(settings, width, int(present[0]))
        svc = SVC(
            kernel=self.kernel,
            C=self.C,
            gamma=settings["gamma"],
            coef0=self.coef0,
            degree=self.degree,
            class_weight=self.class_weight,
            decision_function_shape="ovr",
            break_ties=True,
        ).fit(x, labels)
        return SupportVectorScores.from_sklearn(svc, settings, mean, scale)
