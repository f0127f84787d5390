"""Heads: classifiers on the embeddings of a fold's training samples, beside the softmax.

A head looks at a finished network and leaves no trace on it: weights, batch-norm statistics,
training mode and random state stay as they were. Several heads share one pass over the samples.
A head may be fitted on other sources than the network's embedding, or on several side by side.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn

from mer.datasets.index import COLUMNS
from mer.errors import MerError, raise_all
from mer.models.backbones import evaluation_mode
from mer.models.seen_samples import SeenSamples

#: Ending of the key under which a predicted batch holds the scores of a head.
SCORES = "_scores"

#: Sources of every head: the network's embedding, and the input that the network gets.
EMBEDDING, INPUT = "embedding", "input"

#: Rows of a source, from positions in the dataset: (B,) to (B, W), float64.
SourceRows = Callable[[NDArray[np.int64]], NDArray[np.float64]]


class Rows(NamedTuple):
    """What heads are fitted on.

    Attributes:
        positions: Places of the samples in the dataset; -1 where a batch did not name one. (N,).
        labels: Class numbers. Shape: (N,).
        arrays: Name of each source -> its rows. Shape: (N, W).
    """

    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    arrays: dict[str, NDArray[np.float64]]


class Head(pl.Callback, ABC):
    """A classifier that is fitted on embeddings when a training ends.

    A subclass has a `name`, `fit` and `scores`. Predictions then hold a column `<name>_<class>`
    with the scores of each class and a column `<name>` with the predicted class, and metrics,
    reports, comparisons and loggers show the head under its name.

    With `state_dict` and `load_state_dict` (tensors and plain values) its state is written to
    checkpoints and to a fold's `heads.pt`; with these and `export` it is part of exported models.

    Attributes:
        name: Name of its columns and scores; an identifier, unlike that of any other head.
        sources: What `fit` and `scores` get, side by side in one array: `embedding` (of the fold's
            network), `input` (the values that the network gets, before its own normalisation),
            a path or `mer:NAME` (the embedding by these weights), or a mapping of keys below
            `input` (another input of the same samples).
        widths: Width of each source in that array; set before `fit`.
        source_rows: Name of each source but the embedding -> its rows; set by a run.
        fitted_on: The arrays that it was fitted on last.
    """

    name: str = ""
    sources: Sequence[str | Mapping[str, Any]] = (EMBEDDING,)
    widths: tuple[int, ...] = ()
    source_rows: Mapping[str, SourceRows] = {}
    fitted_on: Rows | None = None

    @abstractmethod
    def fit(
        self, embeddings: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
    ) -> None:
        """Fit on embeddings of the training side.

        Args:
            embeddings: Finite numbers, of all `sources`. Shape: (N, E), N at least 1.
            labels: Class numbers; a class may be absent. Shape: (N,).
            n_classes: K.
        """

    @abstractmethod
    def scores(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score embeddings.

        Args:
            embeddings: Shape: (B, E).

        Returns:
            One score per class; the highest one is the predicted class. Shape: (B, K).
        """

    def export(self) -> nn.Module | None:
        """Give the fitted head as a module from what `scores` gets to what it gives, float64.

        Returns:
            None if it cannot be part of an exported model.
        """
        return None

    @property
    def state_key(self) -> str:
        """Key of its state in a checkpoint; heads of one class differ by their names."""
        return self._generate_state_key(name=self.name)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fit all heads of the trainer, as soon as the first of them is called.

        They are fitted on what `trainer.datamodule.embedding_dataloader()` gives: training samples
        with labels, not augmented.
        """
        heads = [one for one in trainer.callbacks if isinstance(one, Head)]  # type: ignore[attr-defined]
        if self is not heads[0]:
            return
        # The trainer has moved the module back to the CPU by now, unless it never left it.
        device = pl_module.device
        pl_module.to(trainer.strategy.root_device)
        seen: SeenSamples = pl_module.seen  # type: ignore[assignment]
        try:
            with trainer.precision_plugin.forward_context(), seen.named():
                loader = trainer.datamodule.embedding_dataloader()  # type: ignore[attr-defined]
                fit_on_samples(heads, pl_module, loader)
        finally:
            pl_module.to(device)


def fit_on_samples(
    heads: Sequence[Head], module: Any, loader: Iterable[Mapping[str, torch.Tensor]]
) -> None:
    """Embed samples of the training side once, and fit heads on them.

    Args:
        heads: Fitted in place.
        module: Has `embed(image) -> (B, E)` and `classes`; nothing about it changes.
        loader: Batches with `image` (B, C, S, S) and `label` (B,), not augmented.

    Raises:
        MerError: See `fit_heads`.
    """
    if heads:
        embeddings, labels, index = _embed(module, loader)
        fit_heads(heads, embeddings, labels, len(module.classes), index)


def _embed(
    module: Any, loader: Iterable[Mapping[str, torch.Tensor]]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Embeddings (N, E), labels (N,) and positions of the samples of a loader.

    Module and random state stay as they were. Without positions (`index`) in a batch they are -1.
    """
    embeddings, labels, index = [], [], []
    with isolate_rng(), evaluation_mode(module):
        for batch in loader:
            embedding = module.embed(batch["image"].to(module.device))
            embeddings.append(embedding.to("cpu", torch.float64).numpy())
            labels.append(batch["label"].cpu().numpy())
            index.append(batch.get("index", torch.full_like(batch["label"], -1)).cpu().numpy())
    if not labels:
        return np.empty((0, 0)), np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(embeddings), np.concatenate(labels), np.concatenate(index)


def fit_heads(
    heads: Iterable[Head],
    embeddings: NDArray[np.float64],
    labels: NDArray[np.int64],
    n_classes: int,
    index: NDArray[np.int64] | None = None,
) -> None:
    """Fit heads on embeddings of the training side.

    Args:
        heads: Fitted in place.
        embeddings: Shape: (N, E).
        labels: Class numbers. Shape: (N,).
        n_classes: K.
        index: Positions of the samples; -1, or None for all, where they are not known.
            Shape: (N,).

    Raises:
        MerError: If a sample has no label, there is no sample, or an embedding is not finite.
    """
    problems = []
    if not len(labels):
        problems.append("there is no training sample")
    if (labels < 0).any():
        problems.append(
            f"{(labels < 0).sum()} samples have no label (-1): they are not of the training"
        )
    if not np.isfinite(embeddings).all():
        problems.append("embeddings are not finite: the training diverged; lower optimizer.lr")
    raise_all("Heads cannot be fitted:", problems)
    positions = np.full(len(labels), -1) if index is None else index
    with isolate_rng():  # a head may draw from global generators, as scikit-learn's SVC does
        for head in heads:
            arrays = arrays_of(head, embeddings, positions)
            head.widths = tuple(array.shape[1] for array in arrays.values())
            head.fit(_side_by_side(arrays), labels, n_classes)
            head.fitted_on = Rows(positions, labels, arrays)


def source_name(source: str | Mapping[str, Any]) -> str:
    """Name a source: a text as it is, a mapping of keys as JSON."""
    return source if isinstance(source, str) else json.dumps(source, sort_keys=True)


def arrays_of(
    head: Head, embeddings: NDArray[np.float64], positions: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Rows of some samples by source, in the order of the head's sources.

    Args:
        head: The head.
        embeddings: Embeddings by the fold's network. Shape: (B, E).
        positions: Positions of the samples in the dataset. Shape: (B,).

    Raises:
        MerError: If nobody has said where a source comes from, or which samples these are.
    """
    arrays = {}
    for name in map(source_name, head.sources):
        if name == EMBEDDING:
            arrays[name] = embeddings
        elif name not in head.source_rows or (positions < 0).any():
            raise MerError(
                f"The head {head.name} has the source {name}, which is known inside runs alone, "
                "where batches say which samples they hold (`index`)"
            )
        else:
            arrays[name] = head.source_rows[name](positions)
    return arrays


def scores_of(
    head: Head, embeddings: NDArray[np.float64], positions: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Score samples by a fitted head; see `arrays_of`. Shape: (B, K)."""
    rows = _side_by_side(arrays_of(head, embeddings, positions))
    return np.asarray(head.scores(rows), np.float64)


def _side_by_side(arrays: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    parts = list(arrays.values())
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def add_scores(heads: Iterable[Head], batch: dict[str, torch.Tensor]) -> None:
    """Add the scores of fitted heads to a predicted batch, as `<name>_scores` (B, K) float64.

    Args:
        heads: Fitted heads.
        batch: Holds `embedding` (B, E) of any float type, `logits` (B, K) and `index` (B,), which
            heads on the embedding alone do not need.

    Raises:
        MerError: If a head gives scores of another shape.
    """
    embeddings = batch["embedding"].detach().to("cpu", torch.float64).numpy()
    index = batch.get("index", torch.full((len(embeddings),), -1)).cpu().numpy()
    for head in heads:
        scores = scores_of(head, embeddings, index)
        if scores.shape != (expected := tuple(batch["logits"].shape)):
            raise MerError(
                f"scores of the head {head.name} ({type(head).__name__}) have the shape "
                f"{scores.shape}; give one score per sample and class, {expected}"
            )
        batch[f"{head.name}{SCORES}"] = torch.from_numpy(scores)


def name_problems(heads: Mapping[str, Head], classes: Sequence[str]) -> list[str]:
    """Find heads whose names or columns are not theirs alone.

    Returns:
        A sentence for each.
    """
    taken = dict.fromkeys((*COLUMNS, "label", "fold"), "a column of every table of predictions")
    others = ("baseline", "ensemble", "majority", "file", "zero_shot")
    taken |= dict.fromkeys(others, "the name of other scores")
    taken |= dict.fromkeys(_columns("softmax", classes), "a column of the softmax")
    problems = []
    for key, head in heads.items():
        setting = f"callbacks.{key}.name"
        if not head.name.isidentifier():
            problems.append(
                f"{setting} is {head.name!r}; set a name of letters, digits and underscores"
            )
            continue
        if head.name.startswith("softmax"):
            problems.append(f"{setting} is {head.name}; set a name that starts with another word")
            continue
        columns = _columns(head.name, classes)
        column = next((one for one in columns if one in taken), None)
        if column is None:
            taken |= dict.fromkeys(columns, f"a column of {setting}")
        elif column == head.name:
            problems.append(f"{setting} is {head.name}, {taken[column]}; set another name")
        else:
            problems.append(
                f"{setting} is {head.name}, which gives the column {column}, {taken[column]}; "
                "set another name"
            )
    return problems


def _columns(name: str, classes: Sequence[str]) -> list[str]:
    """Names that a head takes up in tables, batches and files."""
    return [name, *(f"{name}_{end}" for end in (*classes, "correct", "label", "scores"))]
