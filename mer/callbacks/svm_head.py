"""An SVM on the embeddings of a fold's training samples, beside the softmax classifier.

It looks at a finished network and leaves no trace on it: weights, batch-norm statistics, training
mode and random state stay as they were. Its state is tensors and plain values, so it travels in
checkpoints that load with `weights_only=True`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.seed import isolate_rng

from mer.callbacks.svm_scores import KERNELS, SupportVectorScores
from mer.errors import MerError, raise_all
from mer.models.backbones import evaluation_mode


class SVMHead(pl.Callback):
    """Fits the SVM when training ends; `score_batch` adds its scores to a predicted batch.

    It is fitted after training, on what `trainer.datamodule.embedding_dataloader()` gives: training
    samples with labels, not augmented. On several devices that loader is not split, so each fits
    the same head and nothing is exchanged. `fit_head` does the same without a trainer.

    A class without a training sample gets the score minus infinity, so it is never predicted. With
    one class only, there is nothing to separate and every sample gets that class.

    Args:
        kernel: rbf | linear | poly.
        C: Penalty of training errors, positive; larger fits closer.
        gamma: Of rbf and poly: scale (1 over width and variance of the embeddings, after scaling),
            auto (1 over their width), or a positive number.
        class_weight: balanced (errors count by inverse class frequency) or None.
        standardise: Whether to z-score each dimension with constants of the training samples.
        normalise: Whether to scale each embedding to length 1, after standardising.
        degree: Degree of the poly kernel.
        coef0: Constant of the poly kernel.

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
        raise_all("callbacks.svm_head cannot be used:", problems)
        self.kernel, self.C, self.gamma = kernel, C, gamma
        self.class_weight, self.standardise, self.normalise = class_weight, standardise, normalise
        self.degree, self.coef0 = degree, coef0
        self.fitted: SupportVectorScores | None = None

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fit on the training samples of the fold."""
        # The trainer has put the module back on the CPU by now, unless it never left it.
        home = pl_module.device
        pl_module.to(trainer.strategy.root_device)
        try:
            with trainer.precision_plugin.forward_context():
                self.fit_head(pl_module, trainer.datamodule.embedding_dataloader())
        finally:
            pl_module.to(home)

    def score_batch(self, outputs: dict[str, torch.Tensor]) -> None:
        """Add `svm_scores` (B, K) float64 to a batch with `embedding` (B, E)."""
        outputs["svm_scores"] = self.scores(outputs["embedding"])

    def fit_head(
        self, module: pl.LightningModule, loader: Iterable[Mapping[str, torch.Tensor]]
    ) -> None:
        """Fit scaler and SVM on the embeddings of some samples, all of the training side.

        Args:
            module: Has `embed(image) -> (B, E)` and `classes`; nothing about it changes.
            loader: Batches with `image` (B, C, S, S) and `label` (B,), not augmented.

        Raises:
            MerError: If a sample has no label, there is no sample, or an embedding isn't finite.
        """
        self.fit_embeddings(*_embed(module, loader), len(module.classes))

    def fit_embeddings(
        self, embeddings: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
    ) -> None:
        """Fit scaler and SVM on embeddings of the training side.

        Args:
            embeddings: Shape: (N, E).
            labels: Class numbers. Shape: (N,).
            n_classes: K.

        Raises:
            MerError: As `fit_head`.
        """
        problems = []
        if not len(labels):
            problems.append("there is no training sample")
        if (labels < 0).any():
            problems.append(
                f"{(labels < 0).sum()} samples have no label (-1): they are not of the training"
            )
        if not np.isfinite(embeddings).all():
            problems.append("embeddings are not finite: the training diverged; lower optimizer.lr")
        raise_all("The SVM head cannot be fitted:", problems)
        self.fitted = self._fit(embeddings, labels, n_classes)

    def scores(self, embedding: torch.Tensor) -> torch.Tensor:
        """Score embeddings.

        Args:
            embedding: Shape: (B, E), any float type, any device.

        Returns:
            One score per class; the label is the arg-max. Equal to scikit-learn's
            `decision_function` (one-vs-rest shape); for two classes (-d, d). Shape: (B, K),
            float64, same device.

        Raises:
            MerError: If the head isn't fitted, or was on embeddings of another width.
        """
        if self.fitted is None:
            raise MerError(
                "The SVM head is not fitted. Train first, load its state, or set "
                "callbacks.svm_head=null."
            )
        return self.fitted(embedding.detach().to("cpu", torch.float64)).to(embedding.device)

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


def _embed(
    module: pl.LightningModule, loader: Iterable[Mapping[str, torch.Tensor]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Embeddings (N, E) and labels (N,) of a loader; module and random state stay as they were."""
    embeddings, labels = [], []
    with isolate_rng(), evaluation_mode(module):
        for batch in loader:
            embedding = module.embed(batch["image"].to(module.device))
            embeddings.append(embedding.to("cpu", torch.float64).numpy())
            labels.append(batch["label"].cpu().numpy())
    if not labels:
        return np.empty((0, 0)), np.empty(0, np.int64)
    return np.concatenate(embeddings), np.concatenate(labels)
