"""Building a backbone from a `conf/backbone/*.yaml` node, by timm's contract.

Any name of timm works, and so does an own class with the same four members. All that can be wrong
with a node (name, weights, keywords, embedding shape) is found here, before training starts.
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from mer.config import absent, trust
from mer.config.arguments import unknown_arguments
from mer.errors import MerError, raise_all
from mer.models import weights

#: What the rest of the project asks of a backbone; timm's models all have it.
CONTRACT = ("num_features", "forward_features", "forward_head", "reset_classifier")
KEYS = ("name", "pretrained", "weights", "kwargs", "_target_")

#: Arguments of timm that name files or downloads.
LOADING = ("cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay")

#: Side in pixels that the embedding is measured at; networks with a fixed size get their own.
PROBE_SIZE = 64

#: Widths measured in this process.
_WIDTHS: dict[tuple[type[nn.Module], str], int] = {}

WEIGHT_FILES = (".pth", ".pt", ".ckpt", ".safetensors")


def build(cfg: Mapping[str, Any], in_chans: int, num_classes: int = 0) -> nn.Module:
    """Build a backbone and check that it keeps the contract.

    Args:
        cfg: `name` (any timm name), `pretrained` (download timm's weights), `weights` (local file
            of weights under timm's tensor names, or null), `kwargs` (passed to the network), and
            `_target_` for an own `torch.nn.Module` class, which gets `in_chans`, `num_classes` and
            `kwargs`.
        in_chans: Channels of the input.
        num_classes: Outputs of the network's own classifier; 0 leaves it out.

    Returns:
        The network, in training mode.

    Raises:
        MerError: If the node, the name, the weights or the network cannot be used.
    """
    cfg = _settings(cfg)
    options = {**cfg["kwargs"], "in_chans": in_chans, "num_classes": num_classes}
    if "_target_" in cfg:
        backbone: nn.Module = trust.call(_own_class(cfg), "backbone", cfg["_target_"], options)
        missing = [member for member in CONTRACT if not hasattr(backbone, member)]
        if missing:
            raise MerError(
                f"backbone._target_={cfg['_target_']} lacks {', '.join(missing)}; a backbone needs "
                f"{', '.join(CONTRACT)} (timm's contract)."
            )
    else:
        _check_name(cfg["name"])
        if cfg["pretrained"]:
            weights.require_download(cfg["name"])
        try:
            backbone = timm.create_model(cfg["name"], pretrained=cfg["pretrained"], **options)
        except Exception as error:
            raise MerError(
                f"timm cannot build backbone.name={cfg['name']} with "
                f"backbone.kwargs={cfg['kwargs']}: {_unknown(cfg, error) or error}"
            ) from error
    if cfg["weights"] is not None:
        weights.load_file(backbone, cfg, in_chans)
    measured_width(backbone, cfg, in_chans)
    return backbone


def _unknown(cfg: Mapping[str, Any], error: Exception) -> str | None:
    """The arguments that timm's class does not know, and those that it takes."""
    if "unexpected keyword" not in str(error):
        return None
    known = inspect.signature(type(timm.create_model(cfg["name"]))).parameters
    unknown = unknown_arguments(cfg["kwargs"], known)
    return f"it takes no {' and no '.join(unknown)}; it takes {', '.join(known)}"


def measured_width(
    backbone: nn.Module, cfg: Mapping[str, Any], in_chans: int, size: int | None = None
) -> int:
    """`embedding_width`, with a size also `check_size`; measured once for each network node.

    A run builds the same network for every fold, and a measurement takes longer than a small
    network's step.
    """
    key = (type(backbone), json.dumps([dict(cfg), in_chans, size], sort_keys=True, default=str))
    if key not in _WIDTHS:
        width = embedding_width(backbone, in_chans, size)
        if size is not None:
            check_size(backbone, in_chans, size)
        _WIDTHS[key] = width
    return _WIDTHS[key]


def embedding_width(backbone: nn.Module, in_chans: int, size: int | None = None) -> int:
    """Measure the width E of the embedding `forward_head(forward_features(x), pre_logits=True)`.

    It is measured because no attribute is right for all networks: mobilenetv3_small_100 has 576
    `num_features` and an embedding of 1024.

    Args:
        backbone: The network.
        in_chans: Channels of the input.
        size: Side of the input in pixels; None for any that the network takes.

    Raises:
        MerError: If the embedding is not of shape (B, E), or the network rejects every size tried.
    """
    sizes = list(dict.fromkeys((size or PROBE_SIZE, native_size(backbone))))
    for attempt, size in enumerate(sizes):
        try:
            embedding = _embed_zeros(backbone, in_chans, size)
            break
        except Exception as error:
            if attempt == len(sizes) - 1:
                raise MerError(
                    f"Backbone {type(backbone).__name__} rejects inputs of {in_chans} channels and "
                    f"{' or '.join(map(str, sizes))} pixels: {error}"
                ) from error
    if embedding.ndim != 2:
        raise MerError(
            f"Backbone {type(backbone).__name__} gives embeddings of shape "
            f"{tuple(embedding.shape)}, expected (B, E). Remove global_pool from backbone.kwargs."
        )
    return int(embedding.shape[1])


def check_size(backbone: nn.Module, in_chans: int, size: int) -> None:
    """Check that a backbone takes square inputs of a size.

    Raises:
        MerError: If it doesn't, with its own reason and the size it is made for.
    """
    try:
        _embed_zeros(backbone, in_chans, size)
    except Exception as error:
        own = native_size(backbone)
        raise MerError(
            f"Backbone {type(backbone).__name__} cannot take inputs of {size} x {size} pixels: "
            f"{error} Set input.size={own}, or +backbone.kwargs.img_size={size} if it is a vision "
            "transformer."
        ) from error


def native_size(backbone: nn.Module) -> int:
    """Side in pixels of the inputs that a network was made for."""
    patches = getattr(getattr(backbone, "patch_embed", None), "img_size", None)
    if patches is not None:
        return int(patches[0])
    return int(_pretrained_cfg(backbone).get("input_size", (3, PROBE_SIZE, PROBE_SIZE))[-1])


def input_stats(backbone: nn.Module | Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of RGB in [0, 1] that a network was made for.

    MobileViT takes pixels as they are (mean 0, deviation 1); most others take ImageNet's.

    Args:
        backbone: A network, or its `conf/backbone` node. An own class without `pretrained_cfg`
            takes pixels as they are.

    Returns:
        Mean and standard deviation, three values each.
    """
    if not isinstance(backbone, Mapping):
        own = _pretrained_cfg(backbone)
    elif "_target_" in backbone:
        own = _pretrained_cfg(_own_class(_settings(backbone)))
    else:
        _check_name(backbone["name"])
        own = timm.models.get_pretrained_cfg(backbone["name"]).to_dict()
    mean, std = own.get("mean", (0.0, 0.0, 0.0)), own.get("std", (1.0, 1.0, 1.0))
    return [float(value) for value in mean], [float(value) for value in std]


def learns(network: nn.Module) -> bool:
    """Whether a network has any weight."""
    return next(network.parameters(), None) is not None


def can_learn(cfg: Mapping[str, Any], in_chans: int) -> bool:
    """Whether the network of a node of `conf/backbone` has any weight; see `build`."""
    with torch.random.fork_rng(devices=[]):
        return learns(build({**cfg, "pretrained": False, "weights": None}, in_chans))


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode without gradients; restore every part's own mode after."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes.items():
            part.training = training


def _embed_zeros(backbone: Any, in_chans: int, size: int) -> torch.Tensor:
    parameter = next(backbone.parameters(), None)
    device = None if parameter is None else parameter.device
    with evaluation_mode(backbone):
        image = torch.zeros(1, in_chans, size, size, device=device)
        return backbone.forward_head(backbone.forward_features(image), pre_logits=True)


def _pretrained_cfg(network: Any) -> dict[str, Any]:
    return dict(getattr(network, "pretrained_cfg", None) or {})


def _settings(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in defaults and refuse keys that mean nothing."""
    problems = [
        f"backbone.{key} is not a key; there are {', '.join(KEYS)} (options of the network go "
        "under backbone.kwargs)"
        for key in cfg
        if key not in KEYS
    ]
    kwargs = dict(cfg.get("kwargs") or {})
    problems += [
        f"backbone.kwargs.{key} is set by the input and the labels; remove it"
        for key in ("in_chans", "num_classes")
        if key in kwargs
    ]
    problems += [
        f"backbone.kwargs.{key} would load weights beside backbone.weights; remove it"
        for key in LOADING
        if key in kwargs
    ]
    if not isinstance(cfg.get("name"), str):
        problems.append(f"backbone.name is {cfg.get('name')!r}; set one like mobilevit_xxs")
    if cfg.get("pretrained") and cfg.get("weights") is not None:
        problems.append("backbone.pretrained=true and backbone.weights exclude each other; set one")
    if cfg.get("pretrained") and "_target_" in cfg:
        problems.append("an own class has no download; set backbone.weights in place of pretrained")
    raise_all("The backbone node cannot be used:", problems)
    defaults = {"pretrained": False, "weights": None}
    return {**defaults, **cfg, "kwargs": kwargs}


def _own_class(cfg: Mapping[str, Any]) -> type[nn.Module]:
    """Import the class of `_target_`; anything but a network class is refused, never called."""
    made = trust.resolve(cfg["_target_"], "backbone")
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise MerError(f"backbone._target_={cfg['_target_']} is not a torch.nn.Module class.")
    return made


def _check_name(name: str) -> None:
    """Refuse paths and unknown names with what the user may have meant."""
    if any(sign in name for sign in "/\\:") or Path(name).suffix in WEIGHT_FILES:
        raise MerError(
            f"backbone.name={name} looks like a path. Give timm's name of the network, and "
            f"the file as backbone.weights={name}."
        )
    if not timm.is_model(name.split(".")[0]):
        raise MerError(absent.no_network(name))
    try:
        timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = ", ".join(timm.list_pretrained(name.split(".")[0])) or "none"
        raise MerError(f"backbone.name={name}: {error} Weights there are: {tags}.") from error
