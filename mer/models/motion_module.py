"""The module that learns from synthetic motion: action units and classes from one embedding."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from mer.models.modules import Batch, MacroPretrainModule, first_classifier
from mer.randomness import derived_seed
from mer.synthetic.unit_motion import UNITS


class MotionPretrainModule(MacroPretrainModule):
    """Learns the intensity of every action unit on both halves of the face, and the class.

    A batch may hold `units` (B, 2 U) too: intensities 0 to 1, or -1 where they are not known.
    Samples of the class -1 have none. Members of a backbone that has `members`, such as
    `mer.models.motion_mlps`, learn each by itself; their mean is the network's output.

    Args:
        units_weight: Weight of the loss on action units; that on the classes has 1.
        arguments: Arguments of `MERModule`.
    """

    def __init__(self, units_weight: float = 4.0, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.units = nn.Linear(self.embedding_width, 2 * len(UNITS))
        first_classifier(self.units, derived_seed("units", self.hparams["seed"]))

    def _step(self, batch: Batch, stage: str) -> torch.Tensor:
        label, index = batch["label"], batch["index"]
        with self.seen.named():
            embedding = self.embed(batch["image"])
        if stage == "train":
            mask = self.dropout.mask(len(label), self.embedding_width)
            embedding = embedding if mask is None else embedding * mask.to(embedding.device)
        logits, labelled = self._of_members(self.classifier, embedding), label >= 0
        loss: torch.Tensor = 0 * logits.sum()  # a batch may hold neither classes nor units
        if labelled.any():
            of_classes = _mean_loss(self.loss, logits[:, labelled], label[labelled])
            mean = logits[:, labelled].mean(dim=0).detach()
            self._epochs[stage].add(of_classes.detach(), mean, label[labelled])
            loss = loss + of_classes
        if "units" in batch and (known := batch["units"][:, 0] >= 0).any():
            units = self._of_members(self.units, embedding)[:, known]
            of_units = _mean_loss(
                functional.binary_cross_entropy_with_logits, units, batch["units"][known]
            )
            loss = loss + self.hparams["units_weight"] * of_units
        self.seen.extend(stage, index[index >= 0].cpu().numpy())
        return loss

    def _of_members(self, layer: nn.Linear, embedding: torch.Tensor) -> torch.Tensor:
        """Outputs of each member's part of a layer; their mean is the layer's. (K, B, M)."""
        members = getattr(self.backbone, "members", 1)
        if members == 1:
            outputs: torch.Tensor = layer(embedding)[None]
            return outputs
        weight = members * layer.weight.view(len(layer.weight), members, -1)
        rows = embedding.view(len(embedding), members, -1)
        return torch.einsum("bke,mke->kbm", rows, weight) + layer.bias


def _mean_loss(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    outputs: torch.Tensor,
    wanted: torch.Tensor,
) -> torch.Tensor:
    """Mean loss of K members (K, B, M), who should all say the same."""
    return loss(outputs.flatten(0, 1), wanted.repeat(len(outputs), *[1] * (wanted.ndim - 1)))
