"""Naming parts of a backbone, for transfer, freezing and layer-wise rates.

One small language serves all three: `mobilenetv2`, `all`, `auto` (the first where a backbone has
such blocks, else the second), or patterns of tensor and module names.
The MobileNetV2 blocks are found by their type, since their names differ between networks.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from timm.models.byobnet import BottleneckBlock
from timm.models.efficientvit_mit import DSConv, EfficientVitBlock, MBConv
from timm.models.mobilevit import MobileVitBlock, MobileVitV2Block
from torch import nn

from mer.errors import raise_all

#: Inverted residuals (Sandler et al., MobileNetV2, CVPR 2018) under timm's names.
MOBILENETV2_BLOCKS = (BottleneckBlock, InvertedResidual, DepthwiseSeparableConv, MBConv, DSConv)

#: Blocks that mix convolution and attention; whatever lies inside belongs to them.
TRANSFORMER_BLOCKS = (MobileVitBlock, MobileVitV2Block, EfficientVitBlock)


def select(backbone: nn.Module, blocks: str | Sequence[str]) -> list[str]:
    """Name the tensors (parameters and buffers) that a selection means.

    Args:
        backbone: Any network.
        blocks: One or several of `mobilenetv2` (the stem and every MobileNetV2 block, batch-norm
            statistics included, never a part of a transformer block), `all`, `auto`, and shell
            patterns of tensor or module names (`stages.0.*`, `stages.0`, `*.bn.*`).

    Returns:
        Names in the order of `backbone.state_dict()`.

    Raises:
        MerError: If one of `blocks` selects nothing; all such are listed.
    """
    words = resolve_auto(backbone, blocks)
    names = list(backbone.state_dict())
    chosen: set[str] = set()
    problems = []
    for word in words:
        if word == "all":
            found = set(names)
        elif word == "mobilenetv2":
            found = _mobilenetv2(backbone, names)
        else:
            found = {n for n in names if fnmatchcase(n, word) or fnmatchcase(n, f"{word}.*")}
        if not found:
            problems.append(_nothing(backbone, word, names))
        chosen |= found
    raise_all("These blocks select no tensor of the backbone:", problems)
    return [name for name in names if name in chosen]


def freeze(backbone: nn.Module, blocks: str | Sequence[str]) -> list[nn.Module]:
    """Stop the gradients of a selection of a backbone.

    Returns:
        The batch norms in it, whose statistics have to stand still.
    """
    frozen = set(select(backbone, blocks))
    for name, parameter in backbone.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    return [
        module
        for prefix, module in backbone.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and f"{prefix}.running_mean" in frozen
    ]


def resolve_auto(backbone: nn.Module, blocks: str | Sequence[str]) -> list[str]:
    """Give a selection as a list of words, `mobilenetv2` or `all` in place of `auto`."""
    words = [blocks] if isinstance(blocks, str) else list(blocks)
    if "auto" not in words:
        return words
    has_blocks = bool(_mobilenetv2(backbone, list(backbone.state_dict())))
    auto = "mobilenetv2" if has_blocks else "all"
    return [auto if word == "auto" else word for word in words]


def mismatches(
    wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], shown: int = 4
) -> list[str]:
    """Say which tensors are missing from `found` or have another shape there.

    Args:
        wanted: Tensors of the model, by name.
        found: Tensors of a file, by the same names.
        shown: Number of names that a sentence lists before it only counts.

    Returns:
        No, one or two sentences.
    """
    missing = [name for name in wanted if name not in found]
    unequal = [
        f"{name} {list(found[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    sentences = []
    for what, names in (("missing", missing), ("of another shape", unequal)):
        if names:
            rest = f" and {len(names) - shown} more" if len(names) > shown else ""
            listed = ", ".join(names[:shown])
            sentences.append(f"{len(names)} of {len(wanted)} tensors {what}: {listed}{rest}")
    return sentences


def outline(module: nn.Module, names: Iterable[str]) -> dict[str, int]:
    """Group tensors by the largest modules that hold no other tensor than these.

    Args:
        module: The network.
        names: Some names of its `state_dict()`.

    Returns:
        Number of tensors per group, keyed `stages.2.1 MobileVitBlock`.
    """
    wanted, groups = set(names), {}
    stack = [("", module)]
    while stack:
        prefix, part = stack.pop()
        own = {f"{prefix}{name}" for name in part.state_dict()}
        if own and own <= wanted:
            groups[f"{prefix[:-1]} {type(part).__name__}".strip()] = len(own)
        elif own & wanted:
            children = [(f"{prefix}{name}.", child) for name, child in part.named_children()]
            stack.extend(reversed(children))
            below = {f"{start}{name}" for start, child in children for name in child.state_dict()}
            groups |= {name: 1 for name in sorted(own & wanted - below)}
    return groups


def _mobilenetv2(backbone: nn.Module, names: list[str]) -> set[str]:
    """Names of the stem's tensors and of every MobileNetV2 block's."""
    modules = dict(backbone.named_modules())
    closed = tuple(f"{n}." for n, m in modules.items() if isinstance(m, TRANSFORMER_BLOCKS))
    prefixes = tuple(
        f"{name}."
        for name, module in modules.items()
        if isinstance(module, MOBILENETV2_BLOCKS)
        and _is_depthwise(module)
        and not name.startswith(closed)
    )
    if not prefixes:
        return set()
    beginnings = (*_stem(modules), *prefixes)
    return {name for name in names if name.startswith(beginnings)}


def _stem(modules: Mapping[str, nn.Module]) -> list[str]:
    """Prefixes of the first convolution and of the norm that follows it."""
    layers = [(n, m) for n, m in modules.items() if any(True for _ in m.parameters(recurse=False))]
    first = next(i for i, (_, layer) in enumerate(layers) if isinstance(layer, nn.Conv2d))
    following = layers[first + 1 : first + 2]
    norms = [
        name for name, layer in following if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ]
    return [f"{name}." for name in (layers[first][0], *norms)]


def _is_depthwise(block: nn.Module) -> bool:
    """Whether a block has a depthwise convolution (a BottleneckBlock may also be ResNet's)."""
    convolutions = (m for m in block.modules() if isinstance(m, nn.Conv2d))
    return any(conv.groups == conv.in_channels > 1 for conv in convolutions)


def _nothing(backbone: nn.Module, word: str, names: list[str]) -> str:
    """Explain a selection that matches nothing."""
    if word == "mobilenetv2":
        return (
            f"mobilenetv2: {type(backbone).__name__} has no MobileNetV2 block; "
            "set model.transfer.blocks to auto, all or name patterns"
        )
    tops = list(dict.fromkeys(name.split(".")[0] for name in names))
    return f"{word}: no tensor or module has such a name; the parts are {', '.join(tops)}"
