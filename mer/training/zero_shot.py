"""Zero-shot scores: what a pretrained network itself says of samples that nothing was fitted on."""

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mer.config import trust
from mer.config.conversion import to_plain
from mer.config.settings import Settings
from mer.data.dataset import PART, UnifiedDataset
from mer.data.inputs import InputKind
from mer.models.backbones import evaluation_mode
from mer.models.checkpoints import load_module, read_checkpoint
from mer.models.modules import MacroPretrainModule, MERModule
from mer.models.motion_module import MotionPretrainModule
from mer.training.devices import fold_device

log = logging.getLogger(__name__)


def scores(
    settings: Settings, checkpoint: Path, dataset: UnifiedDataset
) -> NDArray[np.float64] | None:
    """Score every sample by the pretrained network.

    Its input is the sample as it is, but for the strength of the motion: that of each sample is
    made equal to that of the samples which trained the network, since lengths differ between
    datasets. No other sample plays a part.

    Args:
        settings: Settings of the run.
        checkpoint: Checkpoint of macro-pretraining.
        dataset: The samples; their labels are not read.

    Returns:
        Probabilities of the dataset's classes. Shape: (N, K). None if the network does not know
        one of them.
    """
    named = trust.names(to_plain(settings)).values()
    of_motion = "units.weight" in read_checkpoint(checkpoint)["state_dict"]
    kind = MotionPretrainModule if of_motion else MacroPretrainModule
    module = load_module(kind, checkpoint, named)
    unknown = [name for name in dataset.classes if name not in module.classes]
    if unknown:
        log.info(
            "no zero-shot scores: the pretrained network knows no class %s, only %s",
            " or ".join(unknown),
            ", ".join(module.classes),
        )
        return None
    columns = [module.classes.index(name) for name in dataset.classes]
    module.to(fold_device(settings))
    parts = np.array_split(np.arange(len(dataset)), -(-len(dataset) // PART))
    with evaluation_mode(module):
        logits = torch.cat([_logits(module, dataset, part) for part in parts])
    return logits[:, columns].softmax(dim=1).numpy()


def _logits(
    module: MERModule, dataset: UnifiedDataset, positions: NDArray[np.int64]
) -> torch.Tensor:
    images = torch.from_numpy(dataset.images(positions)).permute(0, 3, 1, 2).to(module.device)
    logits: torch.Tensor = module(as_strong(images, module, dataset.kind))
    return logits.cpu().double()


def as_strong(images: torch.Tensor, module: MERModule, kind: InputKind) -> torch.Tensor:
    """Give each sample's motion the strength of that which a network was trained on.

    Args:
        images: Shape: (B, C, S, S).
        module: Its constants say how strong that was.
        kind: The input. Frames stay as they are; u and v keep their proportion.
    """
    wanted = (module.input_mean.square() + module.input_std.square()).expand(len(images), -1, 1, 1)
    square = images.square().mean(dim=(2, 3), keepdim=True)
    wanted = wanted.clone()
    for pair in map(list, kind.vectors):
        for values in (wanted, square):
            values[:, pair] = values[:, pair].mean(dim=1, keepdim=True)
    gain = (wanted / square.clamp(min=1e-12)).sqrt()
    gain[:, list(kind.frames)] = 1
    return images * gain
