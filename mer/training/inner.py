"""Choices made inside a fold, on its training side alone (`protocol.inner`).

The persons of the training side are split once more. Each inner split trains a network, what it
says of the split's own validation persons is pooled over the splits, and the best candidate by UF1
is taken. The persons whom the fold tests or keeps apart for validation play no part.

folds/<fold>/inner-<number>.npz   a finished inner training, until all of them are done
folds/<fold>/inner.json           every choice: candidates, their scores, what was chosen
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mer import metrics
from mer.callbacks.epochs import RecordEpochs
from mer.callbacks.head import Head, fit_heads
from mer.config.settings import Settings, SVMGrid
from mer.errors import raise_all
from mer.files import write_json, write_whole
from mer.protocols import Fold, inner_folds
from mer.runs import run_files
from mer.training.heads import heads_of, make_callbacks, svm_heads

log = logging.getLogger(__name__)

FILE = "inner.json"

Scores = NDArray[np.float64]

#: Carries out the training of an inner split.
Train = Callable[[Fold, RecordEpochs], None]


def problems(settings: Settings) -> list[str]:
    """What in a configuration contradicts inner choices, each with the mend."""
    inner = settings.protocol.inner
    if inner.n_splits is None:
        return []
    choose, found = inner.choose, []
    if "epochs" in choose and settings.selection != "last":
        found.append(
            f"selection={settings.selection} and protocol.inner both choose the epoch; set "
            "selection=last, or leave epochs out of protocol.inner.choose"
        )
    if "svm" in choose and not svm_heads(make_callbacks(settings.callbacks)):
        found.append(
            "protocol.inner.choose names svm, and no SVM head is named svm; set "
            "callbacks=svm_head, or leave svm out"
        )
    if settings.reuse_networks:
        found.append("reuse_networks=true keeps networks without inner choices; set false")
    return found


def check(settings: Settings) -> None:
    """Refuse what contradicts inner choices.

    Raises:
        MerError: With all of `problems`.
    """
    raise_all("protocol.inner cannot be used:", problems(settings))


class Part(NamedTuple):
    """A finished inner split: class numbers of its sides; per epoch, logits and embeddings."""

    train_labels: NDArray[np.int64]
    labels: NDArray[np.int64]
    logits: Scores
    train_embeddings: Scores
    embeddings: Scores


def choose(
    settings: Settings,
    table: pd.DataFrame,
    classes: Sequence[str],
    fold: Fold,
    folder: Path,
    train: Train,
) -> dict[str, Any]:
    """Make the choices of a fold, or read them if they are made.

    Args:
        settings: Settings of the run.
        table: All samples, in the order of the dataset.
        classes: Names of the K classes.
        fold: The outer fold.
        folder: Its folder; inner trainings that are finished there are not repeated.
        train: Trains an inner split and lets the recorder see it.

    Returns:
        What was chosen: `epochs` (number), `svm` (C, gamma, kernel), `thresholds` (head -> offset
        per class); without keys that `protocol.inner.choose` does not name.
    """
    inner = settings.protocol.inner
    if inner.n_splits is None:
        return {}
    check(settings)
    path = folder / FILE
    if not path.exists():
        splits = inner_folds(table, fold, inner.n_splits, settings.seed)
        splits = [split for split in splits if split.validation]
        files = [folder / f"inner-{place}.npz" for place in range(len(splits))]
        for split, file in zip(splits, files, strict=True):
            if not file.exists():
                _train(split, file, table, train, "epochs" in inner.choose)
        indices = [_indices(file) for file in files]
        if others := _others(table, fold, indices):
            for file in files:  # another start must not find them
                file.unlink()
            raise_all(
                f"Fold {fold.name}: the choices inside it rest on samples outside of its training "
                "side:",
                others[:3],
            )
        content = {
            "splits": [
                {side: sorted(set(table["person"].iloc[at])) for side, at in sides.items()}
                for sides in indices
            ],
            "choices": decide(
                settings, [_read(file, table, classes) for file in files], len(classes)
            ),
        }
        write_json(content, path)
    for file in folder.glob("inner-*.npz"):
        file.unlink()
    chosen = read_choices(path)
    log.info("fold %s, chosen on its training side: %s", fold.name, chosen)
    return chosen


def read_choices(path: Path) -> dict[str, Any]:
    """Read what was chosen in a fold."""
    choices = run_files.read(path, lambda path: json.loads(path.read_text())["choices"], dict)
    return made(choices)


def decide(settings: Settings, parts: Sequence[Part], n_classes: int) -> dict[str, Any]:
    """Choose from what the inner networks say.

    Args:
        settings: Settings of the run; `protocol.inner`, `model.epochs` and the head count.
        parts: One per inner split.
        n_classes: K.

    Returns:
        Choice -> `candidates`, `uf1` (pooled over the splits, one per candidate), `chosen`; of
        `thresholds` that for each head. Of equal candidates the first is chosen: the earlier epoch,
        the smaller offsets.
    """
    node = settings.protocol.inner
    true = np.concatenate([part.labels for part in parts])

    def best(candidates: Sequence[Any], scores: Sequence[Scores]) -> dict[str, Any]:
        said = [one.argmax(axis=1) for one in scores]
        uf1 = [float(metrics.scores(true, one, n_classes)["uf1"]) for one in said]
        chosen = candidates[int(np.argmax(np.round(uf1, 12)))]
        return {"candidates": list(candidates), "uf1": uf1, "chosen": chosen}

    softmax = np.concatenate([part.logits for part in parts], axis=1)  # epochs, samples, classes
    found: dict[str, Any] = {}
    at, svm = len(softmax) - 1, {}

    def head_scores(head: Head) -> Scores:
        return _head_scores(head, parts, at, n_classes)

    if "epochs" in node.choose:
        found["epochs"] = best(list(range(1, len(softmax) + 1)), list(softmax))
        at = found["epochs"]["chosen"] - 1
    if "svm" in node.choose:
        grid = svm_grid(node.svm)
        heads = [svm_heads(make_callbacks(settings.callbacks, one)) for one in grid]
        found["svm"] = best(grid, [head_scores(*one.values()) for one in heads])
        svm = found["svm"]["chosen"]
    if "thresholds" in node.choose:
        offsets = offset_grid(node.offsets, n_classes)
        scores = {"softmax": _log_softmax(softmax[at])}
        for head in heads_of(make_callbacks(settings.callbacks, svm)):
            scores[head.name] = head_scores(head)
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


def made(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Choice -> what was chosen."""
    return {
        name: {head: one["chosen"] for head, one in found.items()}
        if name == "thresholds"
        else found["chosen"]
        for name, found in choices.items()
    }


def apply_thresholds(
    frame: pd.DataFrame, chosen: Mapping[str, Any], classes: Sequence[str]
) -> pd.DataFrame:
    """Let the chosen offsets decide the predicted classes; probabilities and scores stay.

    Args:
        frame: See `mer.training.predictions.to_frame`.
        chosen: See `choose`.
        classes: Names of the K classes.
    """
    frame = frame.copy()
    for head, offsets in chosen.get("thresholds", {}).items():
        if head in frame:
            scores = frame[[f"{head}_{name}" for name in classes]].to_numpy(np.float64)
            if head == "softmax":
                with np.errstate(divide="ignore"):
                    scores = np.log(scores)
            frame[head] = np.asarray(classes, dtype=object)[(scores + offsets).argmax(axis=1)]
    return frame


def _log_softmax(logits: Scores) -> Scores:
    return torch.log_softmax(torch.from_numpy(logits), dim=1).numpy()


def _head_scores(head: Head, parts: Sequence[Part], at: int, n_classes: int) -> Scores:
    """Scores (N, K) of the pooled validation persons, by the head of the inner training persons."""
    scores = []
    for part in parts:
        fit_heads([head], part.train_embeddings[at], part.train_labels, n_classes)
        scores.append(head.scores(part.embeddings[at]))
    return np.concatenate(scores)


def _train(split: Fold, file: Path, table: pd.DataFrame, train: Train, every: bool) -> None:
    """Train an inner split and keep what its network said, so that it is not trained again."""
    place = pd.Index(table["sample_id"])
    sides = {side: list(getattr(split, side)) for side in ("train", "validation")}
    recorder = RecordEpochs({side: place.get_indexer(ids) for side, ids in sides.items()}, every)
    train(split, recorder)
    arrays = {
        f"{side}_{key}": np.stack([epoch[side][which] for epoch in recorder.epochs])
        for side in sides
        for which, key in enumerate(("logits", "embeddings"))
    }
    index = {f"{side}_index": positions for side, positions in recorder.index.items()}
    write_whole(file, lambda to: np.savez(to, allow_pickle=False, **arrays, **index))


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    """What `_train` has written."""

    def load(file: Path) -> dict[str, NDArray[Any]]:
        with np.load(file) as arrays:
            return dict(arrays)

    return run_files.read(file, load, dict)


def _indices(file: Path) -> dict[str, NDArray[np.int64]]:
    """Side of an inner split -> positions of the samples that its rows are of."""
    arrays = _arrays(file)
    return {side: arrays[f"{side}_index"] for side in ("train", "validation")}


def _others(
    table: pd.DataFrame, fold: Fold, indices: Sequence[Mapping[str, NDArray[np.int64]]]
) -> list[str]:
    """Samples outside of a fold's training side that trained or judged an inner network."""
    used = np.concatenate([index for sides in indices for index in sides.values()])
    return sorted(set(table["sample_id"].iloc[used]) - set(fold.train))


def _read(file: Path, table: pd.DataFrame, classes: Sequence[str]) -> Part:
    """Read a finished inner split; labels join the rows by position."""
    number = {name: place for place, name in enumerate(classes)}
    labels, arrays = table["label"].map(number).to_numpy(np.int64), _arrays(file)
    return Part(
        labels[arrays["train_index"]],
        labels[arrays["validation_index"]],
        arrays["validation_logits"].astype(np.float64),
        arrays["train_embeddings"].astype(np.float64),
        arrays["validation_embeddings"].astype(np.float64),
    )
