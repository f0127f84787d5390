"""How transformer blocks enter a network: as timm makes them, not at all, or starting as nothing.

A block that starts as nothing hands its input on unchanged, so the blocks around it compute what
they computed when they were trained without it. No weights make timm's blocks do so. MobileViT's
ends in a convolution that fuses its input with what the transformer gives, a norm and an
activation; without those two it can: the fusion starts as the identity of the input. MobileViTv2's
has no way for its input, which `AddedMobileVitV2Block` adds. Names of tensors stay timm's.
"""

from collections.abc import Sequence

import torch
from timm.layers import LayerScale2d
from timm.models.mobilevit import MobileVitBlock, MobileVitV2Block
from torch import nn

from mer.models.blocks import TRANSFORMER_BLOCKS, select

#: What `insert` can do with transformer blocks.
WAYS = ("random", "bypass", "gate", "residual")


class AddedMobileVitV2Block(MobileVitV2Block):  # type: ignore[misc]
    """MobileViTv2 block whose output, after a gate, is added to its input."""

    gate: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute feature maps of the shape of `x`, (B, C, H, W)."""
        added: torch.Tensor = self.gate(super().forward(x))
        return x + added


def transformer_blocks(
    backbone: nn.Module, without: str | Sequence[str] | None = None
) -> list[str]:
    """Name the transformer blocks of a backbone, in order.

    Args:
        backbone: Any network.
        without: Selection of `mer.models.blocks.select`; blocks that it has a tensor of are left
            out.
    """
    selected = select(backbone, without or [])
    return [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, TRANSFORMER_BLOCKS)
        and not any(tensor.startswith(f"{name}.") for tensor in selected)
    ]


def joins_all(backbone: nn.Module, taken_over: str | Sequence[str] | None) -> bool:
    """Whether a backbone has transformer blocks, and `gate` and `residual` would change all."""
    names = transformer_blocks(backbone)
    known = all(_can_start_as_nothing(backbone.get_submodule(name)) for name in names)
    return bool(names) and known and transformer_blocks(backbone, taken_over) == names


def insert(
    backbone: nn.Module, way: str, taken_over: str | Sequence[str] | None = None
) -> list[str]:
    """Change how transformer blocks enter a network, in place.

    Args:
        backbone: Network as timm makes it.
        way: `random` changes nothing. `bypass` puts the identity in the place of each block.
            `gate` and `residual` let the blocks of MobileViT and MobileViTv2 start as nothing; what
            a transformer gives is added to its block's input. `gate` multiplies it by weights that
            start at 0: the fusion convolution (MobileViT), a factor per channel (MobileViTv2).
            `residual` starts the norm of the block's last projection at 0.
        taken_over: Selection of tensors that are trained already (`mer.models.blocks.select`);
            blocks that it has a tensor of stay as they are.

    Returns:
        Names of the changed blocks.
    """
    names = [] if way == "random" else transformer_blocks(backbone, taken_over)
    if way == "bypass":
        for name in names:
            backbone.set_submodule(name, nn.Identity())
        return names
    names = [name for name in names if _can_start_as_nothing(backbone.get_submodule(name))]
    for name in names:
        block = backbone.get_submodule(name)
        if isinstance(block, MobileVitBlock):
            _fuse_linearly(block, way)
        else:
            _add_to_input(block, way)
        if way == "residual":
            nn.init.zeros_(block.get_parameter("conv_proj.bn.weight"))
    return names


def _can_start_as_nothing(block: nn.Module) -> bool:
    fused = type(block) is MobileVitBlock and block.conv_fusion is not None
    return fused or type(block) is MobileVitV2Block


def _fuse_linearly(block: MobileVitBlock, way: str) -> None:
    """Let a fusion convolution start as the identity of the block's input."""
    block.conv_fusion.bn = nn.Identity()  # norm and activation
    kept, added = block.conv_fusion.conv.weight.data.chunk(2, dim=1)
    nn.init.dirac_(kept)
    if way == "gate":
        nn.init.zeros_(added)
    else:
        nn.init.dirac_(added)


def _add_to_input(block: nn.Module, way: str) -> None:
    block.__class__ = AddedMobileVitV2Block
    channels = block.get_submodule("conv_proj.conv").out_channels
    block.gate = LayerScale2d(channels, init_values=0.0) if way == "gate" else nn.Identity()
