"""The Lightning modules: macro-pretraining and micro fine-tuning around one backbone.

A module takes plain values only and stores them, so that its checkpoints load with
`weights_only=True`. Normalisation is part of the network: the constants are in the checkpoint, and
every caller hands in images as the data module builds them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn

from mer import __version__
from mer.errors import MerError, raise_all
from mer.models import backbones, blocks, insertion, module_arguments, optim
from mer.models import loss as losses
from mer.models.dropout import DropoutDraws
from mer.models.epoch_counts import EpochTally
from mer.models.plain import plain
from mer.models.seen_samples import SeenSamples
from mer.randomness import generator

Batch = Mapping[str, torch.Tensor]


class MERModule(pl.LightningModule):
    """Backbone, dropout and a linear classifier.

    A subclass sets `monitor` and `mode` and may replace `configure_backbone`, `configure_loss` or
    `configure_optimizers`. There is no test step: test samples are predicted, and have no labels
    until the model is fixed.

    Batch norm needs more than one value per channel in training, so a training batch must hold two
    or more samples where the last feature map is a single pixel (inputs up to 32 pixels for most
    backbones of `conf/backbone`).

    Args:
        backbone: Node of `conf/backbone` (see `mer.models.backbones.build`).
        in_chans: Channels C of the input.
        classes: Names of the K classes; class number i is `classes[i]`.
        input_mean: Subtracted from the image, per channel, fitted on the training side.
        input_std: Divides the image after that, per channel.
        image_size: Side of the inputs in pixels; if given, the backbone is checked to take it.
        class_weights: Weight of each class in the loss, or None.
        optimizer: `name`, `lr`, `weight_decay`, `schedule`, `warmup_epochs` (see
            `mer.models.optim.complete`).
        label_smoothing: In [0, 1).
        dropout: Probability in [0, 1) that the classifier misses a component of the embedding.
        seed: Seed of the classifier's initial weights and of the dropout.
        freeze: Blocks that are not trained, batch-norm statistics included (see
            `mer.models.blocks.select`).
        lr_scale: Factor on the learning rate of the blocks that `mer.models.transfer` brought in.
        loss: `_target_` and arguments of a user's loss (see `mer.models.loss.build`); None
            for cross entropy.
        transformers: How transformer blocks enter the network, one of `insertion.WAYS`.
        taken_over: Blocks that `mer.models.transfer` will bring in; transformer blocks among them
            enter as timm makes them.

    Raises:
        MerError: If values contradict each other; all are listed.
    """

    monitor = "val/uf1"
    node = "model"  # of the configuration, for messages
    mode = "max"
    input_mean: torch.Tensor
    input_std: torch.Tensor

    def __init__(
        self,
        backbone: Mapping[str, Any],
        in_chans: int,
        classes: Sequence[str],
        input_mean: Sequence[float],
        input_std: Sequence[float],
        image_size: int | None = None,
        class_weights: Sequence[float] | None = None,
        optimizer: Mapping[str, Any] | None = None,
        label_smoothing: float = 0.0,
        dropout: float = 0.0,
        seed: int = 0,
        freeze: str | Sequence[str] | None = None,
        lr_scale: float = 1.0,
        loss: Mapping[str, Any] | None = None,
        transformers: str = "random",
        taken_over: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        # save_hyperparameters reads these local names, so they are made plain first.
        backbone, classes, class_weights = plain(backbone), plain(classes), plain(class_weights)
        input_mean, input_std, freeze = plain(input_mean), plain(input_std), plain(freeze)
        loss, taken_over = plain(loss), plain(taken_over)
        optimizer = optim.complete(plain(optimizer))
        self.save_hyperparameters(logger=False)
        raise_all("The model cannot be built:", module_arguments.problems(self.hparams))

        #: What checkpoints say of their making: `persons`, `input`, `data_hash`, and more.
        self.provenance: dict[str, Any] = {}
        #: What `mer.models.transfer.load_blocks` brought in, or None.
        self.transfer: dict[str, Any] | None = None
        #: Set by `mer.models.frozen_blocks.split_off`: takes features in place of images.
        self.later_blocks: Callable[[torch.Tensor], torch.Tensor] | None = None
        self.classes: list[str] = list(classes)
        for name, values in (("input_mean", input_mean), ("input_std", input_std)):
            constants = torch.tensor(values, dtype=torch.float32)
            self.register_buffer(name, constants.view(1, -1, 1, 1))
        self.backbone: Any = self.configure_backbone()
        #: Names of the transformer blocks that are not as timm makes them.
        self.changed_blocks = insertion.insert(self.backbone, transformers, taken_over)
        # Convolutions train 10 to 20 % faster in this layout; the values are the same.
        self.backbone.to(memory_format=torch.channels_last)
        self.embedding_width = backbones.measured_width(
            self.backbone, self.hparams["backbone"], in_chans, image_size
        )
        self.dropout = DropoutDraws(dropout, seed)
        self.classifier = nn.Linear(self.embedding_width, len(classes))
        first_classifier(self.classifier, seed)
        self.loss = self.configure_loss()
        self._epochs: dict[str, EpochTally] = {}
        self.seen = SeenSamples()
        self._frozen_norms = blocks.freeze(self.backbone, freeze or [])
        self.train()

    def configure_backbone(self) -> nn.Module:
        """Build the backbone; it must keep the contract of `mer.models.backbones.CONTRACT`."""
        return backbones.build(self.hparams["backbone"], self.hparams["in_chans"])

    def configure_loss(self) -> losses.Loss:
        """Build the loss of logits (B, K) and class numbers (B,), a mean over the batch."""
        given = self.hparams
        return losses.build(given["loss"], given["class_weights"], given["label_smoothing"])

    def configure_optimizers(self) -> Any:
        """Build the optimizer and a schedule that moves with every step."""
        settings = self.hparams["optimizer"]
        # As in `mer.training.engines.cuda_graph`, so that a fold gives the same alone and in
        # parallel. Lightning cannot clip gradients for it.
        recorded = self.device.type == "cuda" and not self.trainer.gradient_clip_val
        optimizer = optim.build_optimizer(self.parameter_groups(), settings, recorded)
        self.trainer.fit_loop.setup_data()  # so that the number of batches is known
        total = float(self.trainer.estimated_stepping_batches)
        if settings["schedule"] == "cosine" and not np.isfinite(total):
            raise MerError(
                "optimizer.schedule=cosine needs to know the end of the training: set a number of "
                "epochs, or optimizer.schedule=constant."
            )
        per_epoch = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        warmup = settings["warmup_epochs"] * per_epoch
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: optim.rate_factor(step, warmup, total, settings["schedule"]),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Group what is trained as `optim.parameter_groups` does."""
        slow = set()
        if self.transfer is not None:
            brought = blocks.select(self.backbone, self.transfer["blocks"])
            slow = {f"backbone.{name}" for name in brought}
        decay = self.hparams["optimizer"]["weight_decay"]
        return optim.parameter_groups(
            self.named_parameters(), decay, slow, self.hparams["lr_scale"]
        )

    def embed(self, image: torch.Tensor) -> torch.Tensor:
        """Compute embeddings (B, E).

        Args:
            image: As the data module gives it, not normalised. Shape: (B, C, S, S), float32.
        """
        self.seen.look(image)
        if self.later_blocks is not None:
            return self.backbone.forward_head(self.later_blocks(image), pre_logits=True)
        if image.shape[1] != self.hparams["in_chans"]:
            raise MerError(
                f"The model takes inputs of {self.hparams['in_chans']} channels, found "
                f"{image.shape[1]}. Use the `input` it was trained with."
            )
        image = (image - self.input_mean) / self.input_std
        return self.backbone.forward_head(self.backbone.forward_features(image), pre_logits=True)

    def forward(self, image: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Compute logits (B, K) of images (B, C, S, S), as `embed` takes them.

        Args:
            image: See `embed`.
            mask: In training, factors of the embedding (see `DropoutDraws.mask`).
        """
        embedding = self.embed(image)
        return self.classifier(embedding if mask is None else embedding * mask)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of a training batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of a validation batch."""
        return self._step(batch, "val")

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> dict[str, torch.Tensor]:
        """Predict a batch; labels are not read.

        Returns:
            `index` (B,) int64 as given, `logits` (B, K) float32, `embedding` (B, E) float32.
        """
        embedding = self.embed(batch["image"])
        logits = self.classifier(embedding)
        return {"index": batch["index"], "logits": logits.float(), "embedding": embedding.float()}

    def on_fit_start(self) -> None:
        """Train in training mode, also a model that was evaluated before."""
        self.train()
        self.seen.watch(True)

    def on_train_epoch_start(self) -> None:
        """Start the epoch's counts."""
        self._epochs["train"] = EpochTally(len(self.classes), self.device)
        self.dropout.start(self.current_epoch)

    def on_validation_epoch_start(self) -> None:
        """Start the epoch's counts."""
        self._epochs["val"] = EpochTally(len(self.classes), self.device)

    def on_train_epoch_end(self) -> None:
        """Log the epoch, and stop a training that has diverged."""
        self.check_loss(self.current_epoch, self._log_epoch("train")["loss"])

    def on_validation_epoch_end(self) -> None:
        """Log the epoch."""
        self._log_epoch("val")

    def check_loss(self, epoch: int, loss: float) -> None:
        """Refuse to go on with a loss that is no number.

        Raises:
            MerError: If it is none.
        """
        if not np.isfinite(loss):
            raise MerError(
                f"Training diverged: the loss of epoch {epoch} is {loss}. Lower "
                f"{self.node}.optimizer.lr (now {self.hparams['optimizer']['lr']}), or raise "
                f"{self.node}.optimizer.warmup_epochs."
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the checkpoint knows of its making, as plain values under `mer`."""
        own = self.hparams["backbone"]
        checkpoint["mer"] = {
            **plain(self.provenance),
            "transfer": plain(self.transfer),
            "classes": list(self.classes),
            "backbone": own,
            "version": __version__,
        }
        # Its own weights make the first ones useless: loading must not look for them again.
        first = {**own, "pretrained": False, "weights": None}
        checkpoint["hyper_parameters"] = {**checkpoint["hyper_parameters"], "backbone": first}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore `provenance` and `transfer`."""
        known = dict(checkpoint.get("mer") or {})
        self.transfer = known.pop("transfer", None)
        self.provenance = known

    def train(self, mode: bool = True) -> "MERModule":
        """Set the mode; frozen batch norms stay in evaluation, so their statistics do not move."""
        super().train(mode)
        for norm in getattr(self, "_frozen_norms", []):
            norm.eval()
        return self

    def _step(self, batch: Batch, stage: str) -> torch.Tensor:
        label, n_classes = batch["label"], len(self.classes)
        bad = (label < 0) | (label >= n_classes)
        if bad.any():
            raise MerError(
                f"{int(bad.sum())} of {len(label)} samples of a {stage} batch have no label among "
                f"0 to {n_classes - 1}; found {sorted(set(label[bad].tolist()))}. Samples without "
                "label (-1) may be predicted, never trained or validated on."
            )
        mask = self.dropout.mask(len(label), self.embedding_width) if stage == "train" else None
        image = batch["image"]
        with self.seen.named():
            logits = self(image) if mask is None else self(image, mask.to(self.device))
        loss = self.loss(logits, label)
        self._epochs[stage].add(loss.detach(), logits.detach(), label)
        self.seen.add(stage, batch)
        return loss

    def _log_epoch(self, stage: str) -> dict[str, float]:
        """Log `stage/loss` and the scores of the counts pooled over batches and devices."""
        values = self._epochs[stage].compute(self.trainer.strategy.reduce)
        for name, value in values.items():
            key = f"{stage}/{name}"
            self.log(key, value, prog_bar=key == self.monitor, sync_dist=True)
        return values


def first_classifier(classifier: nn.Linear, seed: int) -> None:
    """Draw a classifier's first weights from a seed alone, as `nn.Linear` draws them: uniformly."""
    limit = classifier.in_features**-0.5
    source = generator("classifier", seed)
    with torch.no_grad():
        for tensor in (classifier.weight, classifier.bias):
            drawn = source.uniform(-limit, limit, tuple(tensor.shape)).astype(np.float32)
            tensor.copy_(torch.from_numpy(drawn))


class MacroPretrainModule(MERModule):
    """Learns facial expressions from macro samples; the best epoch is that of highest accuracy."""

    monitor = "val/accuracy"
    node = "macro"


class MicroFinetuneModule(MERModule):
    """Learns micro-expressions, as a rule from blocks that macro-pretraining has trained."""

    monitor = "val/uf1"
