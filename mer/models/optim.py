"""Optimizer and learning-rate schedule from plain settings."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from mer.config import trust
from mer.errors import MerError, raise_all

DEFAULTS = {
    "name": "adamw",
    "lr": 5e-4,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "warmup_epochs": 0,
}
#: Keys of an own optimizer, beside those of `DEFAULTS`.
OWN = ("_target_", "kwargs")
NAMES = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "constant")


def complete(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Fill in the defaults of an `optimizer` node and check it.

    Args:
        settings: `name` (adamw | adam | sgd), `lr` (largest learning rate), `weight_decay`,
            `schedule` (cosine | constant), `warmup_epochs` (epochs of linear rise, also fractions);
            in place of `name` maybe `_target_`, a user's class, and its `kwargs`.

    Raises:
        MerError: If a key or value cannot be used; all are listed.
    """
    full = {**DEFAULTS, **(settings or {})}
    own = full.get("_target_") is not None
    problems = [
        f"optimizer.{key} is not a key; there are {', '.join((*DEFAULTS, *OWN))}"
        for key in full
        if key not in (*DEFAULTS, *OWN)
    ]
    if full.get("kwargs") and not own:
        problems.append("optimizer.kwargs are options of a class of your own; set _target_")
    for key, choices in (("name", NAMES), ("schedule", SCHEDULES)):
        if full[key] not in choices and not (key == "name" and own):
            problems.append(f"optimizer.{key}={full[key]}; set one of {', '.join(choices)}")
    for key in ("lr", "weight_decay", "warmup_epochs"):
        value = full[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
            problems.append(f"optimizer.{key}={value!r}; set a number from 0 to below 1000000")
    raise_all("The optimizer node cannot be used:", problems)
    return full


def parameter_groups(
    parameters: Iterable[tuple[str, nn.Parameter]],
    weight_decay: float,
    slow: Collection[str] = (),
    lr_scale: float = 1.0,
) -> list[dict[str, Any]]:
    """Group the trainable parameters by weight decay and learning rate.

    Biases and norm weights (one dimension) are not decayed, as is usual for networks with attention
    (timm's rule).

    Args:
        parameters: Names and parameters; frozen ones are left out.
        weight_decay: Decay of the others.
        slow: Names whose rate is multiplied by `lr_scale`.
        lr_scale: Factor on the learning rate, 0 or more.

    Returns:
        Groups with `params`, `weight_decay` and `lr_scale`.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        if parameter.requires_grad:
            decay = weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((decay, lr_scale if name in slow else 1.0), []).append(parameter)
    return [
        {"params": members, "weight_decay": decay, "lr_scale": scale}
        for (decay, scale), members in groups.items()
    ]


def build_optimizer(
    groups: list[dict[str, Any]], settings: Mapping[str, Any], recorded: bool = False
) -> torch.optim.Optimizer:
    """Build the optimizer of a complete `optimizer` node over `parameter_groups`.

    Args:
        groups: Groups of `parameter_groups`.
        settings: The node.
        recorded: Whether its steps go into a CUDA graph: rates then are tensors on the device. An
            own optimizer is never recorded.

    Raises:
        MerError: If an own optimizer cannot be built.
    """
    rate = settings["lr"]
    if settings.get("_target_") is not None:
        return _own(groups, settings)
    if recorded:
        return _recorded(groups, settings)
    groups = [{**group, "lr": rate * group["lr_scale"]} for group in groups]
    if settings["name"] == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    kinds: dict[str, Any] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    # One call in place of one per tensor: 3 instead of 13 ms a step for MobileViT-XXS on one core.
    # On a GPU, Lightning cannot clip gradients of a fused optimizer in 16-bit precision.
    on_cpu = all(p.device.type == "cpu" for group in groups for p in group["params"])
    return kinds[settings["name"]](groups, lr=rate, fused=True if on_cpu else None)


def _own(groups: list[dict[str, Any]], settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Build an optimizer of a user's class; groups carry their weight decay and rate."""
    target, rate = settings["_target_"], settings["lr"]
    kind = trust.resolve(target, "optimizer")
    if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
        raise MerError(f"optimizer._target_={target} is no subclass of torch.optim.Optimizer")
    groups = [{**group, "lr": rate * group["lr_scale"]} for group in groups]
    options = {"params": groups, "lr": rate, **(settings.get("kwargs") or {})}
    made = trust.call(kind, "optimizer", target, options)
    assert isinstance(made, torch.optim.Optimizer)
    return made


def _recorded(groups: list[dict[str, Any]], settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    def rate(scale: float) -> torch.Tensor:
        return torch.tensor(settings["lr"] * scale, device=groups[0]["params"][0].device)

    groups = [{**group, "lr": rate(group["lr_scale"])} for group in groups]
    if settings["name"] == "sgd":
        return torch.optim.SGD(groups, lr=rate(1), momentum=0.9, nesterov=True, fused=True)
    kinds: dict[str, Any] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    return kinds[settings["name"]](groups, lr=rate(1), fused=True, capturable=True)


def set_rates(
    optimizer: torch.optim.Optimizer,
    settings: Mapping[str, Any],
    step: int,
    per_epoch: int,
    epochs: int,
) -> None:
    """Set the learning rates of a step, as `MERModule.configure_optimizers` has them.

    Args:
        optimizer: Optimizer of `build_optimizer`.
        settings: Its complete node.
        step: Steps done so far.
        per_epoch: Steps per epoch.
        epochs: Epochs of the whole training.
    """
    warmup = settings["warmup_epochs"] * per_epoch
    factor = rate_factor(step, warmup, epochs * per_epoch, settings["schedule"])
    for group in optimizer.param_groups:
        rate = settings["lr"] * group["lr_scale"] * factor
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def rate_factor(step: int, warmup_steps: float, total_steps: float, schedule: str) -> float:
    """Factor on the learning rate at a step.

    Linear from near 0 to 1 during warm-up; then constant, or half a cosine down to 0 (Loshchilov
    and Hutter, SGDR, ICLR 2017, without restarts).

    Args:
        step: Optimizer steps done so far.
        warmup_steps: Steps of warm-up.
        total_steps: Steps of the whole training; only read by `cosine`.
        schedule: cosine | constant.

    Returns:
        In [0, 1].
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
