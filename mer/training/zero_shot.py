"""Zero-shot scores: what a pretrained network itself says of samples that nothing was fitted on."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mer.callbacks.head import SCORES
from mer.config import trust
from mer.config.conversion import to_plain
from mer.config.settings import Input, Settings
from mer.data import inputs
from mer.data.dataset import PART, UnifiedDataset
from mer.models import ready_weights
from mer.models.backbones import evaluation_mode
from mer.models.checkpoints import load_module, network_of, read_checkpoint, write
from mer.models.modules import MacroPretrainModule, MERModule
from mer.models.motion_module import MotionPretrainModule
from mer.runs.head_columns import ZERO_SHOT
from mer.synthetic.unit_motion import UNITS
from mer.training.devices import fold_device

log = logging.getLogger(__name__)

#: The pretrained network in a run directory, from which it can be evaluated again.
FILE = "pretrained.ckpt"

#: Settings of the input that must be those of the pretraining; the size may differ.
_INPUT = ("name", "center", "scale", "blur")


def network(settings: Settings, run_dir: Path, macro: Path | None = None) -> Path | None:
    """Find the checkpoint that scores samples without any fit, of a run with synthetic motion.

    Returns:
        The checkpoint; None if the run has no synthetic motion, or keeps none.
    """
    kept = run_dir / FILE
    if settings.macro.enabled:
        if settings.macro.motion is None:
            return None
        if macro is not None and not kept.exists():
            write(network_of(read_checkpoint(macro)), kept)
        return kept if kept.exists() else None
    return ready_weights.named(settings.backbone.weights)


class Judge:
    """A pretrained network that scores samples by itself.

    Where `input.scale` has not made all samples equally strong, the strength of each sample's
    motion is made equal to that of the samples which trained the network, since lengths differ
    between datasets. No other sample plays a part.

    Args:
        module: The network.
        classes: Classes to score, all of which it knows.
        options: Its input.

    Attributes:
        units: Numbers of the action units that it gives, or nothing.
        columns: Places of the classes among those that the network knows.
        any_strength: Whether it has to make samples equally strong.
    """

    def __init__(self, module: MERModule, classes: Sequence[str], options: Input) -> None:
        self.module, self.input = module, inputs.make(options)
        self.columns = [module.classes.index(name) for name in classes]
        self.any_strength = options.scale == "none"
        self.units = tuple(UNITS) if isinstance(module, MotionPretrainModule) else ()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Compute embeddings of inputs as the data module gives them. Shape: (B, E)."""
        return self.module.embed(self.seen(images))

    def seen(self, images: torch.Tensor) -> torch.Tensor:
        """Inputs as the network sees them, of equal strength. Shape: (B, C, S, S)."""
        images = images.to(self.module.device)
        if self.any_strength:
            images = as_strong(images, self.module, self.input.kind)
        return images

    def logits(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Compute logits of the classes from embeddings. Shape: (B, K), float64, on the CPU."""
        logits: torch.Tensor = self.module.classifier(embeddings)
        return logits.cpu().double()[:, self.columns]

    def intensities(self, embeddings: torch.Tensor) -> torch.Tensor | None:
        """Intensities of the action units on the left and the right half: (B, 2 U), or None."""
        if not isinstance(self.module, MotionPretrainModule):
            return None
        intensities: torch.Tensor = self.module.units(embeddings).sigmoid().cpu()
        return intensities


def load_pretrained(checkpoint: Path, trusted: Iterable[str]) -> MacroPretrainModule:
    """Load the network of a macro-pretraining, with the action units of one on synthetic motion."""
    of_motion = "units.weight" in read_checkpoint(checkpoint)["state_dict"]
    kind = MotionPretrainModule if of_motion else MacroPretrainModule
    return load_module(kind, checkpoint, trusted)


def judge(settings: Settings, checkpoint: Path | None, classes: Sequence[str]) -> Judge | None:
    """Open the pretrained network of a run by the checkpoint that `network` gave.

    Returns:
        None without a checkpoint, or if the network does not know one of the classes, or was
        trained on another input.
    """
    if checkpoint is None:
        return None
    module = load_pretrained(checkpoint, trust.names(to_plain(settings)).values())
    unknown = [name for name in classes if name not in module.classes]
    if unknown:
        log.info(
            "no zero-shot scores: the pretrained network knows no class %s, only %s",
            " or ".join(unknown),
            ", ".join(module.classes),
        )
        return None
    theirs, ours = module.provenance["input"], to_plain(settings.input)
    if other := [f"input.{key}={theirs[key]}" for key in _INPUT if theirs[key] != ours[key]]:
        log.warning(
            "no zero-shot scores: the pretrained network saw another input. Set %s",
            " ".join(other),
        )
        return None
    return Judge(module, classes, settings.input)


def scores(
    settings: Settings, checkpoint: Path | None, dataset: UnifiedDataset
) -> NDArray[np.float64] | None:
    """Score every sample by the pretrained network; see `Judge`. No label is read.

    Returns:
        Probabilities of the dataset's classes. Shape: (N, K). None where `judge` gives none.
    """
    opened = judge(settings, checkpoint, dataset.classes)
    if opened is None:
        return None
    opened.module.to(fold_device(settings))
    parts = np.array_split(np.arange(len(dataset)), -(-len(dataset) // PART))
    images = (torch.from_numpy(dataset.images(part)).permute(0, 3, 1, 2) for part in parts)
    with evaluation_mode(opened.module):
        logits = torch.cat([opened.logits(opened.embed(part)) for part in images])
    return logits.softmax(dim=1).numpy()


def add(outputs: Iterable[dict[str, torch.Tensor]], values: NDArray[np.float64]) -> None:
    """Let predicted batches hold the scores of their samples, out of those of all (N, K)."""
    for batch in outputs:
        at = batch["index"].cpu().numpy()
        batch[f"{ZERO_SHOT}{SCORES}"] = torch.from_numpy(values[at])


class _Constants(Protocol):
    """What says how strong the motion was that trained a network. Shape: (1, C, 1, 1) each."""

    input_mean: torch.Tensor
    input_std: torch.Tensor


def as_strong(images: torch.Tensor, module: _Constants, kind: inputs.InputKind) -> torch.Tensor:
    """Give each sample's motion the strength of that which a network was trained on.

    Args:
        images: Shape: (B, C, S, S).
        module: Its constants say how strong that was.
        kind: The input. Frames stay as they are; u and v keep their proportion.
    """
    wanted = module.input_mean.square() + module.input_std.square()
    square = images.square().mean(dim=(2, 3), keepdim=True)
    gain = (_of_pairs(wanted, kind) / _of_pairs(square, kind).clamp(min=1e-12)).sqrt()
    parts = list(torch.split(gain, 1, dim=1))
    for frame in kind.frames:
        parts[frame] = torch.ones_like(parts[frame])
    return images * torch.cat(parts, dim=1)


def _of_pairs(values: torch.Tensor, kind: inputs.InputKind) -> torch.Tensor:
    """Give both channels of a vector their mean. Shape: (B, C, 1, 1).

    Without an assignment to a part, so that a graph can be traced through it.
    """
    parts = list(torch.split(values, 1, dim=1))
    for pair in map(list, kind.vectors):
        mean = values[:, pair].mean(dim=1, keepdim=True)
        for channel in pair:
            parts[channel] = mean
    return torch.cat(parts, dim=1)
