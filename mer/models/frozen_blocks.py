"""The frozen first blocks of a backbone, whose features can be computed once and cached.

They are the longest run of modules, from the input on, that neither learn nor change. Their output
depends on the image alone, so `mer.data.feature_cache` keeps it; only later blocks are trained.
"""

import functools
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.layers import DropBlock2d, DropPath
from timm.models.byobnet import ByobNet
from timm.models.efficientnet import EfficientNet
from timm.models.efficientvit_mit import EfficientVit, EfficientVitStage
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import ResNet
from torch import nn

from mer.errors import MerError
from mer.models import flow_networks
from mer.models.backbones import PROBE_SIZE
from mer.models.checkpoints import read_checkpoint
from mer.models.modules import MERModule
from mer.models.motion_mlps import MotionMLPs

#: What `forward_features` of a network calls, in this order and nothing else.
ORDER: dict[type[nn.Module], tuple[str, ...]] = {
    ByobNet: ("stem", "stages", "final_conv"),
    EfficientNet: ("conv_stem", "bn1", "blocks", "conv_head", "bn2"),
    EfficientVit: ("stem", "stages"),
    MobileNetV3: ("conv_stem", "bn1", "blocks"),
    MotionMLPs: ("perceptrons",),
    ResNet: ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4"),
    **dict.fromkeys(flow_networks.NETWORKS, ("features",)),
}


class FrozenBlocks(nn.Module):
    """A copy of a model's normalisation and of its frozen first blocks, in evaluation mode."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, module: MERModule, names: list[str]) -> None:
        super().__init__()
        self.names = names
        self.register_buffer("mean", module.input_mean.clone())
        self.register_buffer("std", module.input_std.clone())
        self.steps = nn.Sequential()
        # Copies stay in evaluation mode whatever the training does with the model.
        self.steps.extend([deepcopy(module.backbone.get_submodule(name)) for name in names])
        self.eval().requires_grad_(False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute features (B, C', H', W') of images (B, C, S, S) that are not normalised."""
        return self.steps((image - self.mean) / self.std)


@dataclass(frozen=True)
class LaterBlocks:
    """What a model computes from the features of its frozen first blocks up to its head.

    Attributes:
        backbone: The whole backbone.
        names: Its blocks after the frozen ones, in order of execution.
        channels: Channels C' of the features.
    """

    backbone: nn.Module
    names: tuple[str, ...]
    channels: int

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Compute the last feature maps from features (B, C', H', W')."""
        if features.shape[1] != self.channels:
            raise MerError(
                f"The model's frozen blocks are split off: it takes features of {self.channels} "
                f"channels, found {features.shape[1]}. Set `later_blocks` to None for images."
            )
        # The layout of the weights; a loader's batches have the other one.
        features = features.contiguous(memory_format=torch.channels_last)
        for name in self.names:
            features = self.backbone.get_submodule(name)(features)
        return features


def split_off(module: MERModule) -> FrozenBlocks | None:
    """Make a model take the features of its frozen first blocks in place of images.

    Weights, their names and checkpoints stay as they are; `module.later_blocks = None` undoes it.

    Returns:
        The frozen blocks, or None if the first block is not frozen or the order of the blocks is
        unknown; the model is then as it was.
    """
    names = frozen_prefix(module)
    if not names:
        return None
    blocks = FrozenBlocks(module, names)
    size = module.hparams["image_size"] or PROBE_SIZE
    image = torch.zeros(1, module.hparams["in_chans"], size, size, device=module.device)
    later = [name for name, _ in _steps(module.backbone)][len(names) :]
    channels = blocks(image).shape[1]
    module.later_blocks = LaterBlocks(module.backbone, tuple(later), channels)
    return blocks


def frozen_prefix(module: MERModule) -> list[str]:
    """Name the frozen first blocks, in order of execution; empty if none of them has a weight."""
    norms = {id(norm) for norm in module._frozen_norms}
    names = []
    weights = False
    for name, step in _steps(module.backbone):
        if not _never_changes(step, norms):
            break
        names.append(name)
        weights = weights or next(step.parameters(), None) is not None
    return names if weights else []


@functools.lru_cache(maxsize=4)
def input_statistics(checkpoint: Path) -> tuple[list[float], list[float]]:
    """Read the normalisation that a macro model was trained with.

    Transferred blocks then see inputs on the scale of their own training, and all folds share their
    features.

    Returns:
        Mean and standard deviation per channel.

    Raises:
        MerError: If it is no checkpoint of this project.
    """
    state = read_checkpoint(checkpoint)["state_dict"]
    return state["input_mean"].flatten().tolist(), state["input_std"].flatten().tolist()


def _steps(backbone: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules whose composition is `forward_features`; empty for a network of unknown order."""
    # A subclass may call its parts otherwise, so the type must be exactly one of these.
    order = ORDER.get(type(backbone), ())
    return [step for name in order for step in _flatten(name, backbone.get_submodule(name))]


def _flatten(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Take apart what merely calls its parts one after another."""
    if type(module) is EfficientVitStage:
        return _flatten(f"{name}.blocks", module.get_submodule("blocks"))
    if type(module).forward is not nn.Sequential.forward:
        return [(name, module)]
    return [s for part, m in module.named_children() for s in _flatten(f"{name}.{part}", m)]


def _never_changes(step: nn.Module, norms: set[int]) -> bool:
    """Whether a module gives the same in training as in evaluation, and never changes."""
    for part in step.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and id(part) not in norms:
            return False
    return not is_random(step) and not any(
        parameter.requires_grad for parameter in step.parameters()
    )


def is_random(network: nn.Module) -> bool:
    """Whether a network draws random numbers in training."""
    return any(
        (isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0)
        or (isinstance(part, DropPath | DropBlock2d) and bool(part.drop_prob))
        for part in network.modules()
    )
