"""Folds whose backbone is frozen as a whole: it computes each sample once, for all of them.

What is left of a fold is a linear classifier and the heads. The classifiers of several folds are
trained together as one stack of matrices, on the orders, draws and dropout that each would have
alone; the heads are fitted fold by fold. Nothing is set up per fold.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import ListConfig
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn

from mer.callbacks.head import add_scores, fit_heads
from mer.data.datamodule import EpochOrder
from mer.data.fixed_augmentations import FixedInputs, chosen_numbers
from mer.metrics import scores_from_confusion
from mer.models import optim
from mer.models.backbones import evaluation_mode
from mer.models.checkpoints import read_checkpoint, save_network
from mer.models.dropout import DropoutDraws
from mer.models.modules import first_classifier
from mer.protocols import Fold
from mer.randomness import derived_seed
from mer.runs import curves
from mer.runs.observers import RunContext
from mer.training import fold
from mer.training.devices import fold_device
from mer.training.fold import Job

#: Folds at a time.
WIDTH = 64


def applies(run: RunContext) -> bool:
    """Whether nothing but classifiers and heads is left to be trained in a run's folds."""
    cfg = run.cfg
    return (
        run.macro is not None
        and _is_all(cfg.model.transfer.blocks)
        and _is_all(cfg.model.transfer.freeze)
        and cfg.model.transfer.input_stats == "macro"
        and (cfg.model.augment is None or cfg.model.augment_draws is not None)
        and cfg.trainer.folds_at_once != 1
        and cfg.selection == "last"
        and not cfg.protocol.validation  # whose scores per epoch belong into the history
        and cfg.protocol.inner.n_splits is None
        and not cfg.reuse_networks
        and cfg.model.loss is None
        and cfg.model.optimizer.target is None
        and cfg.trainer.precision == "32-true"
        and not cfg.trainer.options
        and fold.has_heads_alone(run)
    )


def engine(run: RunContext, pending: int) -> "Frozen | None":
    """What trains a run's folds, if their backbone is frozen as a whole, and some are pending."""
    return Frozen(run) if pending and applies(run) else None


def _is_all(selection: str | ListConfig | None) -> bool:
    return selection == "all" or list(selection or []) == ["all"]


class Frozen:
    """Trains the classifiers and heads of a run's folds, several folds at a time.

    Args:
        run: A run that `applies`.
    """

    width = WIDTH

    def __init__(self, run: RunContext) -> None:
        self.run = run
        self._network: _Network | None = None

    def run_folds(self, folds: Sequence[Fold], announce: bool) -> None:
        """Do what `mer.training.fold.run_fold` does for each of some folds."""
        started = time.time()
        jobs = [fold.begin(self.run, one, announce and not at) for at, one in enumerate(folds)]
        if self._network is None:
            self._network = _Network(jobs[0])
        size = self.run.cfg.model.batch_size
        counts = [len(job.sides.train) for job in jobs]
        shapes = [(min(count, size), max(1, count // size)) for count in counts]
        for alike in sorted(set(shapes)):
            group = [job for job, own in zip(jobs, shapes, strict=True) if own == alike]
            stack = _Stack(self._network, group, alike)
            stack.train()
            for place, job in enumerate(group):
                self._network.conclude(job, *stack.classifier(place), alike[1], started)


class _Network:
    """The frozen network of a run, and what it makes of every sample.

    Attributes:
        module: The network; its classifier is that of the fold that was concluded last.
        plain: Embeddings of the samples as they are. Shape: (N, E), float32.
        drawn: Embeddings of their augmentations; D is 0 without any. Shape: (D, N, E).
        labels: Class numbers. Shape: (N,).
    """

    def __init__(self, job: Job) -> None:
        self.module, data = fold.make(job)
        assert isinstance(data.inputs, FixedInputs)
        self._report = (job.folder / "transfer.txt").read_text()
        self._macro = read_checkpoint(job.run.macro)["mer"]["persons"]
        self.labels = torch.tensor(data.dataset.labels)
        self.module.to(fold_device(job.run.cfg))
        self.plain = self._embed(data.inputs, None)
        draws = [self._embed(data.inputs, draw) for draw in range(data.inputs.count)]
        self.drawn = torch.stack(draws) if draws else self.plain[None][:0]
        self.module.cpu()

    def first(self, job: Job) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """First weights (K, E) and biases (K,) of a fold's classifier; its class weights (K,)."""
        made_with = fold.arguments(job)
        linear = nn.Linear(self.plain.shape[1], len(self.module.classes))
        first_classifier(linear, made_with["seed"])
        weights = made_with["class_weights"]
        own = torch.ones(linear.out_features) if weights is None else torch.tensor(weights)
        return linear.weight.detach(), linear.bias.detach(), own

    def conclude(
        self, job: Job, weight: torch.Tensor, bias: torch.Tensor, steps: int, started: float
    ) -> None:
        """Make the network that of a fold, write it, fit the heads, and write the predictions."""
        module, cfg = self.module, job.run.cfg
        made_with = fold.arguments(job)
        for name in ("seed", "class_weights"):
            module.hparams[name] = made_with[name]
        module.loss = module.configure_loss()
        module.classifier.weight.data.copy_(weight)
        module.classifier.bias.data.copy_(bias)
        module.provenance = fold.provenance(job) | fold.trained_by(job, module, self._macro)
        fold.check_persons(job, module)
        (job.folder / "transfer.txt").write_text(self._report)
        save_network(module, job.folder / "model.ckpt", cfg.model.epochs, cfg.model.epochs * steps)
        train = job.sides.train
        embeddings, labels = self.plain[train].double().numpy(), self.labels[train].numpy()
        fit_heads(job.heads, embeddings, labels, len(module.classes))
        outputs = {}
        for side in fold.SCORED:
            positions = torch.from_numpy(getattr(job.sides, side))
            if len(positions):
                embedding = self.plain[positions]
                logits = nn.functional.linear(embedding, weight, bias)
                batch = {"index": positions, "logits": logits, "embedding": embedding}
                add_scores(job.heads, batch)
                outputs[side] = [batch]
        fold.conclude(job, outputs, {"epochs": cfg.model.epochs, "best_epoch": None}, started)

    def _embed(self, inputs: FixedInputs, draw: int | None) -> torch.Tensor:
        everybody = np.arange(len(inputs.dataset))
        parts = np.array_split(everybody, -(-len(everybody) // 128))
        found = []
        with isolate_rng(), evaluation_mode(self.module):
            for part in parts:
                draws = None if draw is None else np.full(len(part), draw)
                images = inputs.tensors(part, draws).to(self.module.device)
                found.append(self.module.embed(images).float().cpu())
        return torch.cat(found)


class _Stack:
    """The classifiers of several folds, as matrices that are trained at once.

    Args:
        network: What is below them.
        jobs: The folds, all of one shape.
        shape: Samples per batch, and steps per epoch.
    """

    def __init__(self, network: _Network, jobs: Sequence[Job], shape: tuple[int, int]) -> None:
        self.network, self.jobs = network, jobs
        self.size, self.steps = shape
        weights, biases, of_classes = zip(*(network.first(job) for job in jobs), strict=True)
        self.weight = nn.Parameter(torch.stack(weights))
        self.bias = nn.Parameter(torch.stack(biases))
        self.of_classes = torch.stack(of_classes)
        self.seeds = [derived_seed(job.run.cfg.seed, job.fold.name) for job in jobs]
        given = network.module.hparams
        self.smoothing, self.settings = given["label_smoothing"], given["optimizer"]
        decay = self.settings["weight_decay"]
        groups = [
            {"params": [self.weight], "weight_decay": decay, "lr_scale": 1.0},
            {"params": [self.bias], "weight_decay": 0.0, "lr_scale": 1.0},
        ]
        self.optimizer = optim.build_optimizer(groups, self.settings)
        self.dropout = [DropoutDraws(given["dropout"], seed) for seed in self.seeds]

    def classifier(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (K, E) and biases (K,) of a fold."""
        return self.weight[place].detach(), self.bias[place].detach()

    def train(self) -> None:
        """Train all epochs and write the histories.

        Raises:
            MerError: If a training diverges.
        """
        epochs = self.jobs[0].run.cfg.model.epochs
        histories: list[list[dict[str, float]]] = [[] for _ in self.jobs]
        for epoch in range(epochs):
            pairs = zip(self.jobs, self.seeds, strict=True)
            orders = np.stack([self._order(job, seed, epoch) for job, seed in pairs])
            for dropout in self.dropout:
                dropout.start(epoch)
            said = []
            for step in range(self.steps):
                done = epoch * self.steps + step
                optim.set_rates(self.optimizer, self.settings, done, self.steps, epochs)
                said.append(self._step(orders, step, epoch))
            for history, values in zip(histories, self._scores(epoch, said), strict=True):
                named = {f"train/{n}": float(np.float32(values[n])) for n in sorted(values)}
                history.append({"epoch": epoch, "step": (epoch + 1) * self.steps - 1, **named})
        for job, history in zip(self.jobs, histories, strict=True):
            curves.write(job.folder, history)

    def _scores(
        self, epoch: int, said: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
    ) -> list[dict[str, float]]:
        """Loss and scores of an epoch, of each fold."""
        losses = torch.stack([loss for loss, _, _ in said]).mean(0).tolist()
        guesses = torch.cat([guess for _, guess, _ in said], dim=1)
        labels = torch.cat([label for _, _, label in said], dim=1)
        folds, k = self.weight.shape[:2]
        cells = (torch.arange(folds)[:, None] * k + labels) * k + guesses
        counts = torch.bincount(cells.ravel(), minlength=folds * k * k).view(folds, k, k).numpy()
        for loss in losses:
            self.network.module.check_loss(epoch, loss)
        pairs = zip(losses, counts, strict=True)
        return [{"loss": loss, **scores_from_confusion(matrix)} for loss, matrix in pairs]

    def _order(self, job: Job, seed: int, epoch: int) -> NDArray[np.int64]:
        order = EpochOrder(len(job.sides.train), seed)
        order.set_epoch(epoch)
        return job.sides.train[order.places()[: self.steps * self.size]]

    def _step(
        self, orders: NDArray[np.int64], step: int, epoch: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One step of all folds: losses (F,), guesses (F, B), class numbers (F, B)."""
        positions = orders[:, step * self.size : (step + 1) * self.size]
        labels = self.network.labels[positions]
        logits = torch.baddbmm(
            self.bias[:, None], self._embeddings(positions, epoch), self.weight.transpose(1, 2)
        )
        surprise = -torch.log_softmax(logits, dim=2)
        own = self.of_classes.gather(1, labels)
        target = (own * surprise.gather(2, labels[:, :, None])[:, :, 0]).sum(1)
        spread = (surprise * self.of_classes[:, None]).sum((1, 2)) / surprise.shape[2]
        loss = ((1 - self.smoothing) * target + self.smoothing * spread) / own.sum(1)
        self.optimizer.zero_grad()
        loss.sum().backward()
        self.optimizer.step()
        return loss.detach(), logits.detach().argmax(2), labels

    def _embeddings(self, positions: NDArray[np.int64], epoch: int) -> torch.Tensor:
        """Embeddings of a step, drawn and with dropout. Shape: (F, B, E)."""
        network = self.network
        if len(network.drawn):
            epochs = [epoch] * self.size
            pairs = zip(self.seeds, positions, strict=True)
            draws = [chosen_numbers(seed, row, epochs, len(network.drawn)) for seed, row in pairs]
            found = network.drawn[np.stack(draws), positions]
        else:
            found = network.plain[positions]
        kept = [dropout.kept(*found.shape[1:]) for dropout in self.dropout]
        if kept[0] is None:
            return found
        return found.mul_(self.dropout[0].scale).mul_(torch.stack(kept))
