"""Inference without side effects: mode and random state stay as they were."""

from collections.abc import Iterable, Mapping

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng

from mer.models.backbones import evaluation_mode


def predict_batches(
    module: pl.LightningModule, loader: Iterable[Mapping[str, torch.Tensor]]
) -> list[dict[str, torch.Tensor]]:
    """Predict batches on the module's device.

    Returns:
        One mapping per batch, as of `MERModule.predict_step`, on the device.
    """
    with isolate_rng(), evaluation_mode(module):
        return [
            module.predict_step({name: tensor.to(module.device) for name, tensor in batch.items()})
            for batch in loader
        ]
