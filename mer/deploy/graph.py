"""A fold's model as one graph of tensors: normalisation, network, softmax, heads, thresholds."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from mer.callbacks.head import EMBEDDING
from mer.callbacks.head import INPUT as INPUT_SOURCE
from mer.models.modules import MERModule
from mer.models.motion_module import MotionPretrainModule
from mer.runs.head_columns import ZERO_SHOT
from mer.training import zero_shot

#: Sources of heads that a graph can compute from the image.
SOURCES = (EMBEDDING, INPUT_SOURCE)

#: Name of the graph's input, and of the output that every graph has, in every file format.
INPUT, SOFTMAX = "image", "softmax"

#: Name of the output with the intensities of action units, as far as a model has some.
UNITS = "units"


class ZeroShot(nn.Module):
    """The pretrained network of a run, which scores images by itself."""

    input_mean: torch.Tensor
    input_std: torch.Tensor

    def __init__(self, judge: zero_shot.Judge) -> None:
        super().__init__()
        module = judge.module
        self.register_buffer("input_mean", module.input_mean.detach().clone())
        self.register_buffer("input_std", module.input_std.detach().clone())
        self.backbone = deepcopy(module.backbone)
        self.classifier = deepcopy(module.classifier)
        self.units = deepcopy(module.units) if isinstance(module, MotionPretrainModule) else None
        self._strength = (judge.input.kind, judge.any_strength)
        self._columns = judge.columns

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Score images (B, C, S, S): probabilities (B, K), and action units (B, 2 U) if it can."""
        kind, any_strength = self._strength
        image = zero_shot.as_strong(image, self, kind) if any_strength else image
        embedding = embed(self.backbone, (image - self.input_mean) / self.input_std)
        logits = self.classifier(embedding).double()[:, self._columns]
        units = None if self.units is None else self.units(embedding).sigmoid()
        return logits.softmax(dim=1).float(), units


def embed(backbone: Any, image: torch.Tensor) -> torch.Tensor:
    """Embeddings (B, E) of normalised images (B, C, S, S)."""
    embedding: torch.Tensor = backbone.forward_head(
        backbone.forward_features(image), pre_logits=True
    )
    return embedding


class Deployed(nn.Module):
    """A trained model from image to scores, in evaluation mode; a copy, so the module stays as is.

    Args:
        module: The trained module.
        heads: Name -> module from the head's sources side by side (B, E) to scores (B, K), float64,
            the main head first.
        offsets: Head, softmax included -> what is added to the score (the log-probability) of each
            class before the highest one wins; nothing where a head is missing.
        facts: Metadata of its files; plain values.
        sources: Name of a head -> its sources, some of `SOURCES`; by default the embedding.
        softmax: Name of the head that is the network's own softmax.
        units: Layer from embeddings to logits of action units; None where there is none.
        judge: The pretrained network that scores by itself too; None where there is none. It gives
            the action units then.
    """

    mean: torch.Tensor
    std: torch.Tensor
    offsets: torch.Tensor

    def __init__(
        self,
        module: MERModule,
        heads: Mapping[str, nn.Module] | None = None,
        offsets: Mapping[str, Sequence[float]] | None = None,
        facts: dict[str, Any] | None = None,
        sources: Mapping[str, Sequence[str]] | None = None,
        softmax: str = SOFTMAX,
        units: nn.Module | None = None,
        judge: ZeroShot | None = None,
    ) -> None:
        super().__init__()
        self.facts = dict(facts or {})
        self.shape = (int(module.hparams["in_chans"]), int(module.hparams["image_size"]))
        self.register_buffer("mean", module.input_mean.detach().clone())
        self.register_buffer("std", module.input_std.detach().clone())
        self.backbone = deepcopy(module.backbone)
        self.classifier = deepcopy(module.classifier)
        self.units, self.judge = deepcopy(units), judge
        self.head_names = [*(heads or {}), softmax]
        self.sources = [list((sources or {}).get(name, [EMBEDDING])) for name in heads or {}]
        self.heads = nn.ModuleList(deepcopy(head) for head in (heads or {}).values())
        nothing = [0.0] * len(module.classes)
        rows = [(offsets or {}).get(name, nothing) for name in self.head_names]
        self.register_buffer("offsets", torch.tensor(rows, dtype=torch.float64))
        self.eval().requires_grad_(False)

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs: scores and class numbers of each head, then action units."""
        judges = [] if self.judge is None else [ZERO_SHOT]
        names = [*self.head_names, *judges]
        heads = [output for name in names for output in (name, label_output(name))]
        units = self.units if self.judge is None else self.judge.units
        return heads if units is None else [*heads, UNITS]

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Score images as the data module gives them, not normalised. (B, C, S, S), float32.

        Returns:
            See `outputs`. Scores (B, K), float32; class numbers (B,), int64; action units (B, 2 U),
            float32.
        """
        x = (image - self.mean) / self.std
        embedding = embed(self.backbone, x)
        logits = self.classifier(embedding)
        shown: list[torch.Tensor] = []
        parts = {EMBEDDING: embedding.double()}
        if any(INPUT_SOURCE in sources for sources in self.sources):
            parts[INPUT_SOURCE] = image.flatten(1).double()
        for number, head in enumerate(self.heads):
            given = [parts[source] for source in self.sources[number]]
            scores = head(given[0] if len(given) == 1 else torch.cat(given, dim=1))
            shown += [scores.float(), (scores + self.offsets[number]).argmax(dim=1)]
        # In float64, as a run's predictions are: rounding must not turn over a class.
        logarithms = logits.double().log_softmax(dim=1)
        softmax = logits.float().softmax(dim=1)
        shown += [softmax, (logarithms + self.offsets[-1]).argmax(dim=1)]
        units = None if self.units is None else self.units(embedding).sigmoid()
        if self.judge is not None:
            judged, units = self.judge(image)
            shown += [judged, judged.argmax(dim=1)]
        return tuple(shown if units is None else [*shown, units])

    def example(self, batch: int) -> torch.Tensor:
        """Images with the mean and deviation of the training side. Shape: (B, C, S, S)."""
        channels, size = self.shape
        noise = torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(0))
        return self.mean + self.std * noise


def label_output(head: str) -> str:
    """Name of the output with the class numbers of a head."""
    return f"{head}_label"
