"""What the networks of a run make of their test samples: embeddings and class activation.

In most protocols each tested person has a network of their own, and two networks give the same
sample unlike embeddings. Neighbours are therefore counted within the space of one network, where
the samples that it was not tested on are embedded too; for the map, the spaces are rotated onto
each other.
"""

import logging
import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from mer.models.modules import MERModule
from mer.report import cam, numbers
from mer.report.networks import Absent, Networks
from mer.report.numbers import Share

log = logging.getLogger(__name__)

#: Passes of inputs up to 64 pixels that a report may take in all; larger inputs get fewer.
PASSES = 35_000

FEWEST = 50  # samples beside the tested ones that a network embeds at least

BATCH = 128


@dataclass
class Inside:
    """What was seen.

    Attributes:
        embeddings: Of each sample by the network that was tested on it, rotated. Shape: (N, E).
        shares: Question -> how neighbours agree.
        others: Samples beside the tested ones that each network embedded.
        different: Samples whose softmax class is not the stored one.
        maps: Class activation of each sample; None where there is none. Shape: (N, GRID, GRID).
        layer: Where it was taken, or why there is none.
    """

    embeddings: NDArray[np.float64]
    shares: dict[str, Share]
    others: int
    different: int
    maps: NDArray[np.float32] | None
    layer: str
    predicted: list[str] = field(default_factory=list)


def look(networks: Networks, stored: dict[str, str], seed: int) -> Inside:
    """Send the samples through the networks; rows of the result are in the dataset's order.

    Args:
        networks: Data and networks of a complete run.
        stored: Sample id -> class that the softmax predicted.
        seed: Draws the samples that every network embeds, where not all of them are.

    Raises:
        Absent: If a network cannot be loaded.
    """
    dataset, table = networks.dataset, networks.dataset.table
    count = len(dataset)
    anchors = _anchors(count, len(networks.tested), dataset.settings.size, seed)
    kinds = {"class": table["label"], "dataset": table["dataset"], "person": table["person"]}
    columns = {name: column.to_numpy(dtype=object) for name, column in kinds.items()}
    shares: dict[str, list[Share]] = {}
    weights: dict[str, list[int]] = {}
    rows: NDArray[np.float64] | None = None
    maps = np.zeros((count, cam.GRID, cam.GRID), np.float32)
    layer, reason = None, ""
    predicted = [""] * count
    reference: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None
    for tested, module in networks.modules():
        others = np.setdiff1d(anchors, tested)
        here = np.concatenate([tested, others])
        found = _embed(networks, module, here)
        for name, value in _shares(found, columns, here, len(tested)).items():
            shares.setdefault(name, []).append(value)
            weights.setdefault(name, []).append(len(tested))
        if reference is None:
            reference = others, found[len(tested) :]
            rows = np.zeros((count, found.shape[1]))
        assert rows is not None
        rows[tested] = _rotate(found, here, len(tested), *reference)
        with torch.no_grad():
            logits = module.classifier(torch.from_numpy(found[: len(tested)]).float())
        for position, best in zip(tested, logits.argmax(dim=1).tolist(), strict=True):
            predicted[position] = module.classes[best]
        try:
            if not reason:
                layer = layer or cam.find_layer(module, networks.batch(tested[:1]))
                for part in _batches(tested):
                    maps[part] = cam.class_activation(module, layer, networks.batch(part))
        except Absent as error:
            reason = str(error)
    assert rows is not None
    ids = table["sample_id"]
    different = sum(stored[i] != own for i, own in zip(ids, predicted, strict=True))
    return Inside(
        rows,
        {name: numbers.mean_share(values, weights[name]) for name, values in shares.items()},
        len(anchors),
        different,
        None if reason else maps,
        reason or str(layer),
        predicted,
    )


def flatten(embeddings: NDArray[np.floating], seed: int) -> dict[str, NDArray[np.float64]]:
    """Lay embeddings (N, E) out in the plane: method -> places (N, 2).

    PCA is linear; t-SNE keeps neighbours together, but neither distances nor sizes of groups.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count, width = embeddings.shape
    principal = PCA(min(50, count - 1, width), random_state=seed).fit_transform(embeddings)
    places = {}
    if count > 4:
        perplexity = min(30.0, (count - 1) / 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
            places["t-SNE"] = model.fit_transform(principal)
    if principal.shape[1] > 1:
        places["PCA"] = principal[:, :2]
    return places


def _anchors(count: int, folds: int, size: int, seed: int) -> NDArray[np.int64]:
    """Samples that every network embeds: all, or as many as keep the report within minutes."""
    affordable = int(PASSES * min(1.0, (64 / size) ** 2) / folds)
    chosen = min(count, max(FEWEST, affordable))
    return np.sort(np.random.default_rng(seed).permutation(count)[:chosen])


def _embed(
    networks: Networks, module: MERModule, positions: NDArray[np.int64]
) -> NDArray[np.float64]:
    with torch.inference_mode():
        parts = [module.embed(networks.batch(part)).double() for part in _batches(positions)]
    return torch.cat(parts).numpy()


def _batches(positions: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(positions, range(BATCH, len(positions), BATCH))


def _shares(
    found: NDArray[np.float64], columns: dict[str, NDArray], here: NDArray[np.int64], tested: int
) -> dict[str, Share]:
    """How the neighbours of the tested samples, who come first, agree with them."""
    queries = np.arange(tested)
    others = np.ones((tested, len(here)), dtype=bool)
    others[queries, queries] = False
    near = numbers.neighbours(found, queries, others, numbers.NEIGHBOURS)
    own = {name: column[here] for name, column in columns.items()}
    shares = {name: numbers.share(own[name], queries, others, near) for name in own}
    strangers = own["person"][None] != own["person"][queries][:, None]
    if strangers.any(axis=1).all():
        near = numbers.neighbours(found, queries, strangers, numbers.NEIGHBOURS)
        shares["class, other persons only"] = numbers.share(own["class"], queries, strangers, near)
    return shares


def _rotate(
    found: NDArray[np.float64],
    here: NDArray[np.int64],
    tested: int,
    known: NDArray[np.int64],
    target: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Bring the tested samples of one space into another (orthogonal Procrustes).

    The rotation is found on samples that neither network was tested on.

    Args:
        found: Embeddings of `here`, the tested samples first. Shape: (M, E).
        here: Their positions.
        tested: How many are tested.
        known: Positions with an embedding in the other space.
        target: Those embeddings.

    Returns:
        Shape: (tested, E).
    """
    common, mine, theirs = np.intersect1d(here[tested:], known, return_indices=True)
    if not len(common):  # no two folds share a sample that neither tests
        return found[:tested] - found.mean(axis=0)
    own, other = found[tested:][mine], target[theirs]
    middle, goal = own.mean(axis=0), other.mean(axis=0)
    own, other = own - middle, other - goal
    left, _, right = np.linalg.svd(own.T @ other)
    scale = np.linalg.norm(other) / max(np.linalg.norm(own), 1e-12)
    return (found[:tested] - middle) @ (left @ right) * scale + goal
