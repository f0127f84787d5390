"""The frozen beginning of a backbone, whose activations can be computed once and kept.

The trunk is the longest run of modules, from the input on, that neither learn nor change. What it
gives depends on the image alone, so `mer.data.feature_cache` keeps it; only the rest is trained.
"""

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
from mer.models.backbones import PROBE_SIZE
from mer.models.modules import MERModule
from mer.models.transfer import read_checkpoint

#: What `forward_features` of a network calls, in this order and nothing else.
ORDER: dict[type[nn.Module], tuple[str, ...]] = {
    ByobNet: ("stem", "stages", "final_conv"),
    EfficientNet: ("conv_stem", "bn1", "blocks", "conv_head", "bn2"),
    EfficientVit: ("stem", "stages"),
    MobileNetV3: ("conv_stem", "bn1", "blocks"),
    ResNet: ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4"),
}


class Trunk(nn.Module):
    """A copy of a model's normalisation and of its frozen first modules, in evaluation mode.

    Args:
        module: The model.
        names: The modules, in order of execution.
    """

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
        """Compute activations (B, C', H', W') of images (B, C, S, S) that are not normalised."""
        return self.steps((image - self.mean) / self.std)


@dataclass(frozen=True)
class Rest:
    """What a cut model computes from activations up to its head.

    Attributes:
        backbone: The whole backbone.
        names: Its modules after the trunk, in order of execution.
        channels: Channels C' of the activations.
    """

    backbone: nn.Module
    names: tuple[str, ...]
    channels: int

    def __call__(self, activation: torch.Tensor) -> torch.Tensor:
        """Compute feature maps of activations (B, C', H', W')."""
        if activation.shape[1] != self.channels:
            raise MerError(
                f"The model is cut and takes activations of {self.channels} channels, found "
                f"{activation.shape[1]}. Join it before it sees images."
            )
        # The layout of the weights; a loader's batches have the other one.
        activation = activation.contiguous(memory_format=torch.channels_last)
        for name in self.names:
            activation = self.backbone.get_submodule(name)(activation)
        return activation


def cut(module: MERModule) -> Trunk | None:
    """Make a model take activations of its trunk in place of images.

    Weights, their names and checkpoints stay as they are; `join` undoes it.

    Args:
        module: The model, with all its weights in place.

    Returns:
        The trunk, or None if the first module is not frozen or the order of the modules is unknown;
        the model is then as it was.
    """
    names = frozen_prefix(module)
    if not names:
        return None
    trunk = Trunk(module, names)
    size = module.hparams["image_size"] or PROBE_SIZE
    image = torch.zeros(1, module.hparams["in_chans"], size, size, device=module.device)
    rest = [name for name, _ in _steps(module.backbone)][len(names) :]
    module.rest = Rest(module.backbone, tuple(rest), channels=trunk(image).shape[1])
    return trunk


def join(module: MERModule) -> None:
    """Make a model that was cut take images again."""
    module.rest = None


def frozen_prefix(module: MERModule) -> list[str]:
    """Name the modules of the trunk, in order of execution; empty if there is none."""
    norms = {id(norm) for norm in module._frozen_norms}
    names = []
    for name, step in _steps(module.backbone):
        if not _stands_still(step, norms):
            break
        names.append(name)
    return names


def trunk_statistics(checkpoint: Path) -> tuple[list[float], list[float]]:
    """Read the normalisation that a macro model was trained with.

    A transferred trunk sees inputs on the scale of its own training, and the same for all folds, so
    that its activations can be shared by them.

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
        return _flatten(f"{name}.blocks", module.blocks)
    if type(module).forward is not nn.Sequential.forward:
        return [(name, module)]
    return [s for part, m in module.named_children() for s in _flatten(f"{name}.{part}", m)]


def _stands_still(step: nn.Module, norms: set[int]) -> bool:
    """Whether a module gives the same in training as in evaluation, and never changes."""
    for part in step.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and id(part) not in norms:
            return False
    return not draws(step) and not any(parameter.requires_grad for parameter in step.parameters())


def draws(network: nn.Module) -> bool:
    """Whether a network draws random numbers in training."""
    return any(
        (isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0)
        or (isinstance(part, DropPath | DropBlock2d) and bool(part.drop_prob))
        for part in network.modules()
    )
