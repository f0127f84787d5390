"""Folds whose backbone is frozen as a whole: every sample is embedded once, for all folds.

What is left of a fold are the softmax and the heads; so it is with a backbone that has no weights.
The softmax is one full-batch fit (L-BFGS) of the loss that fine-tuning uses, class weights and
label smoothing included. `optimizer.weight_decay` is its L2 penalty on the weights; learning rate,
schedule, epochs, batch size and dropout mean nothing to it.
"""

import logging
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.seed import isolate_rng
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import nn

from mer.callbacks.head import add_scores, fit_heads
from mer.config.conversion import to_plain
from mer.data.fixed_augmentations import FixedInputs
from mer.models import backbones, ready_weights
from mer.models.backbones import evaluation_mode
from mer.models.checkpoints import read_checkpoint, save_network
from mer.models.loss import CrossEntropy
from mer.models.seen_samples import SeenSamples
from mer.protocols import Fold
from mer.runs import curves
from mer.runs.observers import RunContext
from mer.training import fold, fold_evidence, fold_network, pipelines
from mer.training.decisions import Part
from mer.training.devices import fold_device
from mer.training.fold_network import Job, Sides
from mer.training.heads import heads_of, make_callbacks

log = logging.getLogger(__name__)

#: Iterations that the fit may take; it ends before that when no slope is above TOLERANCE.
ITERATIONS = 200
TOLERANCE = 1e-5


def applies(run: RunContext) -> bool:
    """Whether nothing but the softmax and the heads is left to be fitted in a run's folds."""
    settings = run.settings
    return (
        (settings.model.augment is None or settings.model.augment_draws is not None)
        and settings.selection == "last"
        and not settings.protocol.validation  # whose scores per epoch belong into the history
        and _chooses_here(run)
        and not settings.reuse_networks
        and settings.model.loss is None
        and settings.model.optimizer.target is None
        and settings.trainer.precision == "32-true"
        and not settings.trainer.options
        and fold.has_heads_alone(run)
        and _is_frozen(run)
    )


def _chooses_here(run: RunContext) -> bool:
    """Whether a run makes no inner choices, or such that need no network to be trained."""
    inner = run.settings.protocol.inner
    plain = run.macro is None and ready_weights.named(run.settings.backbone.weights) is None
    return inner.n_splits is None or (plain and "epochs" not in inner.choose)


def _is_frozen(run: RunContext) -> bool:
    """Whether the whole backbone comes from a pretraining and stays, or has no weights."""
    transfer, everything = run.settings.model.transfer, ("all", ["all"])
    stays = transfer.freeze in everything and transfer.input_stats == "macro"
    if run.macro is not None:
        return stays and transfer.blocks in everything
    if ready_weights.named(run.settings.backbone.weights) is not None:
        return stays
    return not backbones.can_learn(to_plain(run.settings.backbone), run.dataset.kind.channels)


def engine(run: RunContext, pending: int) -> "Frozen | None":
    """Make the engine of frozen folds; None where a fold has a network to train."""
    if not pending:
        return None
    if applies(run):
        return Frozen(run)
    if run.macro is not None and run.settings.model.transfer.freeze in ("all", ["all"]):
        log.info(
            "the backbone is frozen as a whole, but its samples are embedded in every epoch; with "
            "model.augment=null (or model.augment_draws=4) and model.transfer.input_stats=macro "
            "they are embedded once, for all folds"
        )
    return None


def fit_softmax(
    loss: CrossEntropy,
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    penalty: float,
    n_classes: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a linear softmax classifier on all samples at once.

    Minimises the loss plus `penalty / 2` times the squared weights, from zero. The problem is
    convex, so the result does not depend on chance. Embeddings are centred and divided by one
    number while fitting, which changes the condition and not the kind of the classifier.

    Args:
        loss: Cross entropy, whose class weights and smoothing hold here too.
        embeddings: Shape: (M, E).
        labels: Class numbers. Shape: (M,).
        penalty: L2 penalty on the weights of scaled embeddings.
        n_classes: K.

    Returns:
        Weights (K, E) and biases (K,) for embeddings as they came.
    """
    targets = loss.targets(torch.from_numpy(labels), n_classes).numpy()
    totals = targets.sum(axis=1, keepdims=True)
    mean = embeddings.mean(axis=0, dtype=np.float64)
    centred = embeddings - mean
    scale = float(np.sqrt(np.square(centred).mean())) or 1.0
    inputs = np.column_stack([centred / scale, np.ones(len(labels))])
    shape = (inputs.shape[1], targets.shape[1])

    def value_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(shape)
        scores = log_softmax(inputs @ weights, axis=1)
        gradient = inputs.T @ (np.exp(scores) * totals - targets)
        gradient[:-1] += penalty * weights[:-1]
        value = penalty / 2 * np.square(weights[:-1]).sum() - (targets * scores).sum()
        return float(value), gradient.ravel()

    options = {"maxiter": ITERATIONS, "gtol": TOLERANCE, "ftol": 0.0}
    fitted = minimize(
        value_and_gradient, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=options
    )
    weights, biases = np.split(fitted.x.reshape(shape), [-1])
    return weights.T / scale, biases[0] - mean @ weights / scale


class Frozen:
    """Fits the softmax and the heads of a run's folds."""

    width = 1

    def __init__(self, run: RunContext) -> None:
        self.run = run
        # Choosing among pipelines takes longer than the start of a process.
        self.trains_networks = bool(pipelines.names(run.settings))
        self._embedded: _Embedded | None = None

    def run_folds(self, folds: Sequence[Fold], announce: bool) -> None:
        """Do what `mer.training.fold.run_fold` does for each of some folds."""
        for one in folds:
            started = time.time()
            job = fold.begin(self.run, one, announce, _inner_part)
            embedded = self._embedded or _Embedded(job)
            if self._embedded is None and fold_network.macro_constants(self.run) is not None:
                log.info("the backbone is frozen: every sample is embedded once, for all folds")
                self._embedded = embedded  # else constants differ by fold
            embedded.fit(job, started)


def _inner_part(job: Job, split: Fold) -> Part:
    """What softmax and embeddings of an inner split of a job are, on either side."""
    everybody = job.run.dataset.positions
    sides = Sides(everybody(split.train), everybody(split.validation), np.empty(0, np.int64))
    embedded = _Embedded(job._replace(fold=split, sides=sides, announce=False))
    embeddings, labels = embedded.plain.double().numpy(), embedded.labels.numpy()
    settings = job.run.settings
    logits = np.empty((0, len(sides.validation), len(embedded.module.classes)))
    if "thresholds" in settings.protocol.inner.choose or not heads_of(
        make_callbacks(settings.callbacks)
    ):
        weight, bias = embedded.fit_softmax(job, sides.train)
        logits = (embeddings[sides.validation] @ weight.T + bias)[None]
    return Part(
        labels[sides.train],
        labels[sides.validation],
        logits,
        embeddings[None, sides.train],
        embeddings[None, sides.validation],
        sides.train,
        sides.validation,
    )


class _Embedded:
    """The frozen network of a run, and the embedding of every sample.

    Attributes:
        module: The network; its classifier is that of the fold that was fitted last.
        plain: Embeddings of the samples as they are. Shape: (N, E), float32.
        drawn: Embeddings of their fixed augmentations; D is 0 without any. Shape: (D, N, E).
        labels: Class numbers. Shape: (N,).
    """

    def __init__(self, job: Job) -> None:
        self.module, self._data = fold_network.make(job)
        data = self._data
        assert isinstance(data.inputs, FixedInputs)
        self._report, self._macro = "", []
        if job.run.macro is not None:
            self._report = (job.folder / "transfer.txt").read_text()
            self._macro = read_checkpoint(job.run.macro)["mer"]["persons"]
        self.labels = torch.tensor(data.dataset.labels)
        self.module.to(fold_device(job.run.settings))
        self.plain = self._embed(data.inputs, None)
        draws = [self._embed(data.inputs, draw) for draw in range(data.inputs.count)]
        self.drawn = torch.stack(draws) if draws else self.plain[None][:0]
        self.module.cpu()

    def fit(self, job: Job, started: float) -> None:
        """Fit softmax and heads on the training side, and write the fold."""
        module, train = self.module, torch.from_numpy(job.sides.train)
        fitted = self.fit_softmax(job, job.sides.train)
        weight, bias = (torch.from_numpy(values).float() for values in fitted)
        module.classifier.weight.data.copy_(weight)
        module.classifier.bias.data.copy_(bias)
        module.provenance = fold_network.provenance(job) | fold_network.trained_by(
            job, module, self._macro
        )
        module.seen = SeenSamples()
        module.seen.extend("train", train.numpy())
        used = fold_evidence.of_training(job, module, self._data)
        if self._report:
            (job.folder / "transfer.txt").write_text(self._report)
        save_network(module, job.folder / "model.ckpt", 1, 1)
        samples, labels = self._training(train)
        final = float(module.loss(nn.functional.linear(samples, weight, bias), labels))
        module.check_loss(0, final)
        curves.write(job.folder, [{"epoch": 0, "step": 0, "train/loss": final}])
        embeddings = self.plain[train].double().numpy()
        given = self.labels[train].numpy(), len(module.classes), train.numpy()
        fit_heads(job.heads, embeddings, *given)
        outputs = {}
        for side in fold.SCORED:
            positions = torch.from_numpy(getattr(job.sides, side))
            if len(positions):
                embedding = self.plain[positions]
                logits = nn.functional.linear(embedding, weight, bias)
                batch = {"index": positions, "logits": logits, "embedding": embedding}
                add_scores(job.heads, batch)
                outputs[side] = [batch]
        record = {"epochs": 1, "best_epoch": None, "used": used}
        fold.conclude(job, module, outputs, record, started)

    def fit_softmax(
        self, job: Job, train: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Fit the softmax on some samples; see `fit_softmax`."""
        module, made_with = self.module, fold_network.arguments(job)
        for name in ("seed", "class_weights"):
            module.hparams[name] = made_with[name]
        module.loss = module.configure_loss()
        assert isinstance(module.loss, CrossEntropy)  # as `applies` says
        samples, labels = self._training(torch.from_numpy(train))
        penalty = job.run.settings.model.optimizer.weight_decay
        arrays = samples.numpy(), labels.numpy()
        return fit_softmax(module.loss, *arrays, penalty, len(module.classes))

    def _training(self, train: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings and labels of training samples, augmented if there are augmentations."""
        samples = self.drawn[:, train].flatten(0, 1) if len(self.drawn) else self.plain[train]
        return samples, self.labels[train].repeat(max(1, len(self.drawn)))

    def _embed(self, inputs: FixedInputs, draw: int | None) -> torch.Tensor:
        everybody: NDArray[np.int64] = np.arange(len(inputs.dataset))
        parts = np.array_split(everybody, -(-len(everybody) // 128))
        embeddings = []
        with isolate_rng(), evaluation_mode(self.module):
            for part in parts:
                numbers = None if draw is None else np.full(len(part), draw)
                images = inputs.tensors(part, numbers).to(self.module.device)
                embeddings.append(self.module.embed(images).float().cpu())
        return torch.cat(embeddings)
