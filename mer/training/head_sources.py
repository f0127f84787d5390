"""Where the sources of heads come from, beside the embedding of the fold's network.

Such a source does not depend on the fold: it has one row for every sample of the data, and a head
gets the rows of those samples that a batch names.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mer.callbacks.head import EMBEDDING, INPUT, Head, SourceRows, source_name
from mer.config import trust
from mer.config.conversion import to_plain, updated
from mer.config.settings import Input, Settings
from mer.data import inputs
from mer.data.dataset import PART, UnifiedDataset
from mer.errors import MerError
from mer.models import ready_weights
from mer.models.backbones import evaluation_mode
from mer.models.checkpoints import load_module, read_checkpoint
from mer.models.modules import MERModule, MicroFinetuneModule
from mer.models.motion_module import MotionPretrainModule
from mer.models.transfer import refuse_known_persons
from mer.prepare.sample import Sample
from mer.runs import evidence
from mer.training.zero_shot import as_strong, load_pretrained

Source = str | Mapping[str, Any]


def attach(
    heads: Sequence[Head], settings: Settings, dataset: UnifiedDataset, tested: set[str]
) -> None:
    """Let heads know their sources."""
    for head in heads:
        rows = {}
        for source in head.sources:
            if source != EMBEDDING:
                if is_weights(source):
                    refuse_known_persons(read_checkpoint(_path(source))["mer"], tested)
                rows[source_name(source)] = rows_of(source, settings, dataset)
        head.source_rows = rows


def rows_of(source: Source, settings: Settings, dataset: UnifiedDataset) -> SourceRows:
    """Give the rows of a source by the positions of samples."""
    other = dataset.as_input(_input(source, settings, dataset.settings))

    def rows(positions: NDArray[np.int64]) -> NDArray[np.float64]:
        if not is_weights(source):
            return other.rows[positions].astype(np.float64)
        return _embedded(source, _trusted(settings), other)[positions]

    return rows


def from_stores(
    source: Source, settings: Settings, dataset: UnifiedDataset, positions: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute rows of a source once more, from what the stores hold of these samples."""
    other = dataset.as_input(_input(source, settings, dataset.settings))
    samples = [other.sample(position) for position in positions.tolist()]
    return SourceOfSamples(source, settings)(samples)


class SourceOfSamples:
    """Computes rows of a source from prepared samples, whatever data they come from."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self.input = inputs.make(_input(source, settings, settings.input))
        self._module = _network(source, _trusted(settings)) if is_weights(source) else None

    def __call__(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Compute a row for each of some samples. Shape: (N, W)."""
        built = images(self.input, samples)
        if self._module is not None:
            return _embed(self._module, built, self.input.kind)
        return built.flatten(1).double().numpy()


def images(made: inputs.SampleInput, samples: Sequence[Sample]) -> torch.Tensor:
    """Build the inputs of samples. Shape: (B, C, S, S), float32."""
    built = np.stack([made.build(sample) for sample in samples])
    return torch.from_numpy(built).permute(0, 3, 1, 2)


def whose(head: Head, settings: Settings, dataset: UnifiedDataset) -> dict[str, list[str]]:
    """Source beside the embedding -> samples whose rows a head was fitted on.

    They are recognised by their values, not by the positions that somebody asked for.
    """
    found: dict[str, list[str]] = {}
    everybody = np.arange(len(dataset))
    for source in head.sources:
        if head.fitted_on is None or source == EMBEDDING:
            continue
        name, positions = source_name(source), head.fitted_on.positions.copy()
        rows, table = head.fitted_on.arrays[name], rows_of(source, settings, dataset)(everybody)
        for place in np.flatnonzero((rows != table[positions]).any(axis=1)):
            same = np.flatnonzero((table == rows[place]).all(axis=1))
            positions[place] = same[0] if len(same) else -1
        found[name] = evidence.ids_of(dataset.table, positions)
    return found


def is_weights(source: Source) -> bool:
    """Whether a source is the embedding by given weights."""
    return isinstance(source, str) and source not in (EMBEDDING, INPUT)


def problems(heads: Mapping[str, Head], settings: Settings) -> list[str]:
    """What of the sources of heads cannot be had, each with the mend."""
    sentences = []
    for key, head in heads.items():
        for source in head.sources:
            try:
                if source != EMBEDDING:
                    inputs.make(_input(source, settings, settings.input))
                if is_weights(source):
                    _network(source, _trusted(settings))
            except MerError as error:
                sentences.append(f"callbacks.{key}.sources: {error}")
    return sentences


def persons_of(heads: Sequence[Head]) -> dict[str, list[str]]:
    """Weights among the sources of heads -> persons who trained them."""
    found = {}
    for source in {source for head in heads for source in head.sources if is_weights(source)}:
        provenance = read_checkpoint(_path(source))["mer"]
        before = (provenance.get("transfer") or {}).get("persons", [])
        found[source_name(source)] = sorted({*provenance["persons"], *before})
    return found


def _input(source: Source, settings: Settings, given: Input) -> Input:
    """The input that a source is computed from."""
    if isinstance(source, Mapping):
        return updated(given, source, "input")
    if is_weights(source):
        path = _path(source)
        own = read_checkpoint(path)["mer"].get("input") or to_plain(given)
        trust.check({"input": own}, path, _trusted(settings))
        return updated(Input(), {**own, "cache_gb": given.cache_gb}, "input")
    return given


def _path(source: Source) -> Path:
    if str(source).startswith(ready_weights.PREFIX):
        return ready_weights.checkpoint(str(source))
    return Path(str(source)).expanduser()


def _trusted(settings: Settings) -> tuple[str, ...]:
    return tuple(sorted(map(str, trust.names(to_plain(settings)).values())))


def _network(source: Source, trusted: tuple[str, ...]) -> MERModule:
    path = _path(source)
    stage = read_checkpoint(path)["mer"].get("stage")
    if stage == "macro":
        return load_pretrained(path, trusted)
    if stage == "micro":
        return load_module(MicroFinetuneModule, path, trusted)
    raise MerError(f"{path} is no checkpoint of a network of mer (stage {stage})")


@functools.lru_cache(maxsize=32)
def _embedded(
    source: str, trusted: tuple[str, ...], dataset: UnifiedDataset
) -> NDArray[np.float64]:
    """Embeddings of all samples by given weights. Shape: (N, E)."""
    module = _network(source, trusted)
    parts = np.array_split(np.arange(len(dataset)), -(-len(dataset) // PART))
    built = (torch.from_numpy(dataset.images(part)).permute(0, 3, 1, 2) for part in parts)
    return np.concatenate([_embed(module, part, dataset.kind) for part in built])


def _embed(module: MERModule, images: torch.Tensor, kind: inputs.InputKind) -> NDArray[np.float64]:
    if isinstance(module, MotionPretrainModule):  # as for its zero-shot scores
        images = as_strong(images, module, kind)
    with evaluation_mode(module):
        rows: NDArray[np.float64] = module.embed(images).double().numpy()
    return rows
