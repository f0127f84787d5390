"""What is chosen inside a fold from what its inner networks say; see `mer.training.inner`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mer import metrics
from mer.callbacks.epochs import RecordEpochs
from mer.callbacks.head import Head, fit_heads, scores_of
from mer.callbacks.svm_head import SVMHead
from mer.config.settings import Settings, SVMGrid
from mer.errors import raise_all
from mer.protocols import Fold
from mer.training.heads import heads_of, make_callbacks, svm_heads

Scores = NDArray[np.float64]

#: Carries out the training of an inner split.
Train = Callable[[Fold, RecordEpochs], None]


class Part(NamedTuple):
    """A finished inner split: class numbers and positions of its sides, what its network says.

    Logits and embeddings are per epoch. Where no network is trained and nobody asks for logits,
    these have no epoch.
    """

    train_labels: NDArray[np.int64]
    labels: NDArray[np.int64]
    logits: Scores
    train_embeddings: Scores
    embeddings: Scores
    train_positions: NDArray[np.int64]
    positions: NDArray[np.int64]


@dataclass(frozen=True)
class Trials:
    """How the inner splits of a fold are carried out.

    Args:
        settings: Settings of the run, or of one of its pipelines.
        train: Trains the network of an inner split and lets the recorder see it.
        attach: Lets heads know their sources.
        compute: Gives an inner split at once where there is no network to train.
    """

    settings: Settings
    train: Train
    attach: Callable[[Sequence[Head]], None] = lambda heads: None
    compute: Callable[[Fold], Part] | None = None

    def heads(self, svm: Mapping[str, Any] | None = None) -> list[Head]:
        """Make the heads, with settings of the SVM that replace its own."""
        made = heads_of(make_callbacks(self.settings.callbacks, svm))
        self.attach(made)
        return made


def decide_pipeline(
    judged: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]],
    n_classes: int,
) -> dict[str, Any]:
    """Choose the pipeline with the best pooled UF1; of equal ones the first.

    Returns:
        `candidates`, `uf1`, `chosen`, and `predicted`: the predicted classes of each candidate.
    """
    names, (places, _, _) = list(judged), next(iter(judged.values()))
    others = [name for name in names if not np.array_equal(judged[name][0], places)]
    raise_all("Pipelines were judged by other samples than the first one:", others)
    _, true, predicted = zip(*judged.values(), strict=True)
    found = _best(names, true, predicted, n_classes)
    return {**found, "predicted": [one.tolist() for one in predicted]}


def _best(
    candidates: Sequence[Any],
    true: Sequence[NDArray[np.int64]],
    predicted: Sequence[NDArray[np.int64]],
    n_classes: int,
) -> dict[str, Any]:
    """The candidate with the best UF1, and the UF1 of each."""
    pairs = zip(true, predicted, strict=True)
    uf1 = [float(metrics.scores(*pair, n_classes)["uf1"]) for pair in pairs]
    chosen = candidates[int(np.argmax(np.round(uf1, 12)))]
    return {"candidates": list(candidates), "uf1": uf1, "chosen": chosen}


def decide(trials: Trials, parts: Sequence[Part], n_classes: int) -> dict[str, Any]:
    """Choose epochs, SVM and thresholds from what the inner networks say.

    Returns:
        Choice -> `candidates`, `uf1` (pooled over the splits, one per candidate), `chosen`; of
        `thresholds` that for each head. Of equal candidates the first is chosen: the earlier epoch,
        the smaller offsets.
    """
    node = trials.settings.protocol.inner
    true = np.concatenate([part.labels for part in parts])

    def best(candidates: Sequence[Any], scores: Sequence[Scores]) -> dict[str, Any]:
        predicted = [one.argmax(axis=1) for one in scores]
        return _best(candidates, [true] * len(scores), predicted, n_classes)

    softmax = np.concatenate([part.logits for part in parts], axis=1)  # epochs, samples, classes
    found: dict[str, Any] = {}
    at, svm = len(parts[0].embeddings) - 1, {}

    def scored(head: Head) -> Scores:
        return head_scores(head, parts, at, n_classes)

    if "epochs" in node.choose:
        found["epochs"] = best(list(range(1, len(softmax) + 1)), list(softmax))
        at = found["epochs"]["chosen"] - 1
    if "svm" in node.choose:
        grid = svm_grid(node.svm)
        key = next(iter(svm_heads(make_callbacks(trials.settings.callbacks)).values())).name
        heads = [next(head for head in trials.heads(one) if head.name == key) for one in grid]
        found["svm"] = best(grid, [scored(head) for head in heads])
        svm = found["svm"]["chosen"]
    if "thresholds" in node.choose:
        offsets = offset_grid(node.offsets, n_classes)
        scores = {"softmax": _log_softmax(softmax[at])}
        for head in trials.heads(svm):
            scores[head.name] = scored(head)
        found["thresholds"] = {
            name: best(offsets, [values + np.array(one) for one in offsets])
            for name, values in scores.items()
        }
    return found


def svm_grid(lists: SVMGrid) -> list[dict[str, Any]]:
    """Every combination of `kernel`, `C` and `gamma`; for a linear kernel gamma means nothing."""
    grid = []
    for kernel, penalty in product(lists.kernel, lists.C):
        gammas = lists.gamma[:1] if kernel == "linear" else lists.gamma
        grid += [{"kernel": kernel, "C": penalty, "gamma": gamma} for gamma in gammas]
    return grid


def offset_grid(values: Sequence[float], n_classes: int) -> list[list[float]]:
    """Offsets of the K classes, the first class's 0; those that change least come first."""
    grid = [[0.0, *map(float, rest)] for rest in product(values, repeat=n_classes - 1)]
    return sorted(grid, key=lambda offsets: sum(map(abs, offsets)))


def _log_softmax(logits: Scores) -> Scores:
    return torch.log_softmax(torch.from_numpy(logits), dim=1).numpy()


def head_scores(
    head: Head, parts: Sequence[Part], at: int, n_classes: int, quick: bool = False
) -> Scores:
    """Scores (N, K) of the pooled validation persons, by the head of the inner training persons."""
    if isinstance(head, SVMHead):
        head.by_matrix = quick
    scores = []
    for part in parts:
        given = part.train_embeddings[at], part.train_labels, n_classes, part.train_positions
        fit_heads([head], *given)
        scores.append(scores_of(head, part.embeddings[at], part.positions))
    return np.concatenate(scores)
