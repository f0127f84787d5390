"""The module that learns from synthetic motion: action units and classes from one embedding."""

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
    Samples of the class -1 have none.

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
        logits, labelled = self.classifier(embedding), label >= 0
        loss: torch.Tensor = 0 * logits.sum()  # a batch may hold neither classes nor units
        if labelled.any():
            of_classes = self.loss(logits[labelled], label[labelled])
            self._epochs[stage].add(of_classes.detach(), logits[labelled].detach(), label[labelled])
            loss = loss + of_classes
        if "units" in batch and (known := batch["units"][:, 0] >= 0).any():
            of_units = functional.binary_cross_entropy_with_logits(
                self.units(embedding)[known], batch["units"][known]
            )
            loss = loss + self.hparams["units_weight"] * of_units
        self.seen.extend(stage, index[index >= 0].cpu().numpy())
        return loss
