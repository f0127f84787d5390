"""Checks of a configuration across its groups, before anything is computed."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from mer.config import trust
from mer.config.conversion import to_plain
from mer.config.settings import Finetune, Pretrain, Settings
from mer.data import inputs, synthetic_motion
from mer.data.sources import Source
from mer.datasets import labels
from mer.errors import MerError, raise_all
from mer.models import backbones, blocks, insertion, optim, weights
from mer.models import loss as losses
from mer.prepare import flow
from mer.protocols import Fold
from mer.training import head_sources, heads, inner

T = TypeVar("T")

#: Longest name of a folder that every file system takes, less what file names add.
NAME_BYTES = 200


def check(settings: Settings) -> None:
    """Find the contradictions in a configuration."""
    schemes = {"labels": settings.labels}
    schemes |= {"macro.labels": settings.macro.labels} if settings.macro.enabled else {}
    problems: list[str] = []
    for key, scheme in schemes.items():
        _attempt(problems, f"{key}: ", labels.load_scheme, scheme)
    raise_all("The configuration contradicts itself:", problems)
    made = _attempt(problems, "", inputs.make, settings.input)
    _attempt(problems, "", flow.check, settings.prepare.flow)
    for role, sources in (("micro", settings.data.micro), ("macro", settings.data.macro or {})):
        for key, target in trust.names(sources, f"data.{role}").items():
            _attempt(problems, "", trust.resolve, target, key)
    if settings.selection == "validation" and not settings.protocol.validation:
        problems.append(
            "selection=validation needs validation persons; set protocol.validation to a share "
            "such as 0.2"
        )
    if all(node is None for node in settings.data.micro.values()):
        problems.append(f"data={settings.data.name} names no micro dataset under data.micro")
    reads_arrays = any(
        str((source or {}).get("root", "")).endswith((".npz", ".npy"))
        for source in settings.data.micro.values()
    )
    if made and "flow" in made.needs and settings.prepare.flow.method is None and not reads_arrays:
        problems.append(
            f"input={settings.input.name} needs flow, but prepare.flow.method is null; set dis, "
            "farneback or tvl1"
        )
    if settings.macro.enabled and settings.macro.motion is not None:
        problems += synthetic_motion.problems(settings)
    if settings.macro.reads_datasets and not settings.data.macro:
        problems.append(
            f"macro.enabled is true, but data={settings.data.name} names no macro dataset; add one "
            "under data.macro, or set macro.enabled=false"
        )
    if settings.macro.enabled and settings.model.transfer.blocks is None:
        problems.append(
            "macro.enabled is true, but model.transfer.blocks is null; set auto, all or "
            "patterns, or macro.enabled=false"
        )
    if made:
        problems += _network_problems(settings, len(made.channels))
    of_heads = heads.problems(settings.callbacks, settings.labels["classes"])
    if not of_heads and made:
        of_heads = head_sources.problems(heads.heads_by_key(settings.callbacks), settings)
        of_heads += inner.problems(settings)
    problems += of_heads
    raise_all("The configuration contradicts itself:", problems)


def check_names(settings: Settings, found: Sequence[Source]) -> None:
    """Find persons whose names cannot be those of folders, before any sample is prepared."""
    if settings.protocol.name not in ("loso", "loso_per_dataset"):
        return
    long = {
        f"{source.name}: {person[:40]}... has {len(person.encode())} bytes"
        for source in found
        for person in source.reading.table["person"].astype(str)
        if len(person.encode()) > NAME_BYTES
    }
    raise_all(
        f"A fold's folder is named after its person, in {NAME_BYTES} bytes at most. Shorten these "
        "names of subjects, or set protocol=group_kfold:",
        sorted(long),
    )


def check_sides(settings: Settings, folds: Sequence[Fold]) -> None:
    """Find folds that cannot be trained, before any is."""
    problems = [
        f"fold {fold.name}: a single sample to train on; batch normalisation needs two or more"
        for fold in folds
        if len(fold.train) == 1
    ]
    if settings.selection == "validation":
        problems += [
            f"fold {fold.name}: nobody validates, and selection=validation needs somebody; raise "
            "protocol.validation, or set selection=last"
            for fold in folds
            if not fold.validation
        ]
    raise_all("Folds of this protocol cannot be trained:", problems)


def _attempt(problems: list[str], where: str, make: Callable[..., T], *arguments: Any) -> T | None:
    """Call a function; its `MerError` becomes one more problem."""
    try:
        return make(*arguments)
    except MerError as error:
        problems.append(f"{where}{error}")
        return None


def _network_problems(settings: Settings, channels: int) -> list[str]:
    """What of the network, its loss and its optimizer cannot be made, or selects nothing."""
    problems: list[str] = []
    trainings: dict[str, Finetune | Pretrain] = {"model": settings.model}
    trainings |= {"macro": settings.macro} if settings.macro.enabled else {}
    with torch.random.fork_rng(devices=[]):
        network = _attempt(problems, "", _backbone, settings, channels)
        for name, node in trainings.items():
            _attempt(problems, f"{name}: ", _loss, node, len(_classes(settings, node)))
            _attempt(problems, f"{name}: ", _optimizer, node)
    if network is not None and not backbones.learns(network):
        name = settings.backbone.name
        if settings.macro.enabled:
            problems.append(f"backbone={name} has nothing to pretrain; set macro.enabled=false")
        if settings.model.augment is not None and settings.model.augment_draws is None:
            problems.append(f"backbone={name} does not train in epochs; set model.augment=null")
    if network is not None:
        problems += _transfer_problems(settings, network)
    return problems


def _transfer_problems(settings: Settings, network: torch.nn.Module) -> list[str]:
    """Which words name no block, or blocks that macro-pretraining would not train."""
    problems: list[str] = []
    transfer, macro = settings.model.transfer, settings.macro
    words = transfer.blocks if macro.enabled else None
    selected = _attempt(problems, "model.transfer.blocks: ", blocks.select, network, words or [])
    if selected is not None and macro.enabled:
        trained = insertion.transformer_blocks(network, words)
        lost = [name for name in insertion.transformer_blocks(network) if name not in trained]
        if lost and macro.network == "mobilenetv2":
            problems.append(
                f"model.transfer.blocks={words} takes over transformer blocks ({', '.join(lost)}), "
                "which macro.network=mobilenetv2 does not train; set macro.network=whole"
            )
        if not settings.backbone.has_weights:
            insertion.insert(network, transfer.insertion, words)
    freeze = transfer.freeze or []
    _attempt(problems, "model.transfer.freeze: ", blocks.select, network, freeze)
    return problems


def _backbone(settings: Settings, channels: int) -> torch.nn.Module:
    """The backbone without a download, checked to take the inputs."""
    plain = to_plain(settings.backbone)
    if settings.backbone.pretrained:
        weights.require_download(settings.backbone.name)
    network = backbones.build({**plain, "pretrained": False}, channels)
    backbones.measured_width(network, plain, channels, settings.input.size)
    return network


def _classes(settings: Settings, node: Finetune | Pretrain) -> list[str]:
    scheme = node.labels if isinstance(node, Pretrain) else settings.labels
    return list(scheme["classes"])


def _loss(node: Finetune | Pretrain, n_classes: int) -> None:
    given = node.class_weights
    balanced = [1.0] * n_classes if given == "balanced" else given
    class_weights = None if balanced is None else [float(weight) for weight in balanced]
    if class_weights is not None and len(class_weights) != n_classes:
        raise MerError(f"class_weights has {len(class_weights)} values for {n_classes} classes")
    losses.check(losses.build(node.loss, class_weights, node.label_smoothing), n_classes)


def _optimizer(node: Finetune | Pretrain) -> None:
    settings = optim.complete(to_plain(node.optimizer))
    parameters = [("weight", torch.nn.Parameter(torch.zeros(2, 2)))]
    optim.build_optimizer(optim.parameter_groups(parameters, 0.0), settings)
