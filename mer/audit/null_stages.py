"""A pipeline as its stages, so that each can be replaced by one that is known to be clean.

The stages are called as they are in a run: what is done to all samples, the split, and then fold by
fold fitting, choosing an epoch, and at last pooling. `reference` holds plain ones that use none of
this package's code; whoever audits a script of his own describes it by other functions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.errors import MerError
from mer.protocols import Fold

Floats = NDArray[np.float64]


class Feed(NamedTuple):
    """What a pipeline works on.

    Args:
        table: `sample_id`, `dataset`, `subject`, `person`, `label` (class name) and `content`,
            which is equal for samples that are copies of each other.
        x: Embeddings, one set per epoch. Shape: (E, N, W).
    """

    table: pd.DataFrame
    x: Floats


class Side(NamedTuple):
    """What the epochs say of one side of a fold: scores (E, M, K) and true class numbers (M,)."""

    scores: Floats
    true: NDArray[np.int64]


class Batch(NamedTuple):
    """Predicted samples of a fold: positions in the table (B,) and scores (B, K)."""

    fold: str
    positions: NDArray[np.int64]
    scores: Floats


class Predicted(NamedTuple):
    """All that is pooled: the samples, the folds, the predicted batches."""

    table: pd.DataFrame
    folds: list[Fold]
    batches: list[Batch]


class Pooled(NamedTuple):
    """UF1 and the number of samples that it is of."""

    uf1: float
    samples: int


@dataclass(frozen=True)
class Pipeline:
    """The stages of a pipeline in the order in which they are called.

    Args:
        samples: Which samples are used; a clean one takes each clip once.
        enlarge: What is added to all samples before the split; a clean one adds nothing.
        features: What is computed from all samples before the split; a clean one leaves them.
        split: From the table to folds.
        pretrain: What earlier weights know of the samples in a fold; a clean one knows nothing.
        fit: From embeddings (M, W), class numbers (M,) and K to a function from (B, W) to (B, K).
        select: From the test and the validation side to the epoch that is kept.
        pool: From predicted batches to one score; must raise `MerError` if one is missing.
    """

    samples: Callable[[Feed], Feed]
    enlarge: Callable[[Feed], Feed]
    features: Callable[[Feed], Feed]
    split: Callable[[pd.DataFrame], list[Fold]]
    pretrain: Callable[[Feed, Fold], Feed]
    fit: Callable[[Floats, NDArray[np.int64], int], Callable[[Floats], Floats]]
    select: Callable[[Side, Side], int]
    pool: Callable[[Predicted, Sequence[str]], Pooled]


#: Stage -> how a report calls it.
STAGES = {
    "select": "selection",
    "features": "scaling/feature selection",
    "enlarge": "augmentation/oversampling",
    "samples": "duplicate clips",
    "split": "split",
    "pretrain": "pretraining",
    "fit": "SVM",
    "pool": "pooling",
}

#: Samples per predicted batch.
BATCH = 32


def predict(pipeline: Pipeline, feed: Feed, classes: Sequence[str]) -> Predicted:
    """Carry out a pipeline up to the pooling."""
    feed = pipeline.features(pipeline.enlarge(pipeline.samples(feed)))
    number = {name: place for place, name in enumerate(classes)}
    labels = feed.table["label"].map(number).to_numpy(dtype=np.int64)
    place = pd.Index(feed.table["sample_id"])
    folds = pipeline.split(feed.table)
    batches = []
    for fold in folds:
        known = pipeline.pretrain(feed, fold)
        train, validation, test = (
            place.get_indexer(list(side)) for side in (fold.train, fold.validation, fold.test)
        )
        epochs: list[tuple[Floats, Floats]] = []
        for x in known.x:
            scores = pipeline.fit(x[train], labels[train], len(classes))
            empty = np.empty((0, len(classes)))
            epochs.append((scores(x[test]), scores(x[validation]) if len(validation) else empty))
        tested, validated = (np.stack(side) for side in zip(*epochs, strict=True))
        kept = pipeline.select(Side(tested, labels[test]), Side(validated, labels[validation]))
        batches += [
            Batch(fold.name, test[at : at + BATCH], tested[kept][at : at + BATCH])
            for at in range(0, len(test), BATCH)
        ]
    return Predicted(feed.table, folds, batches)


def reference(n_folds: int) -> Pipeline:
    """A clean pipeline of plain scikit-learn.

    Args:
        n_folds: Into how many groups the persons are dealt, at most; each is tested once.
    """
    return Pipeline(
        samples=_each_clip_once,
        enlarge=unchanged,
        features=unchanged,
        split=lambda table: _deal_persons(table, n_folds),
        pretrain=lambda feed, fold: feed,
        fit=_scaler_and_svc,
        select=last_epoch,
        pool=_count,
    )


def unchanged(feed: Feed) -> Feed:
    """Leave all as it is."""
    return feed


def last_epoch(test: Side, validation: Side) -> int:
    """Keep the last epoch, whatever was scored."""
    return len(test.scores) - 1


def _each_clip_once(feed: Feed) -> Feed:
    first = ~feed.table["content"].duplicated().to_numpy()
    return Feed(feed.table[first].reset_index(drop=True), feed.x[:, first])


def _deal_persons(table: pd.DataFrame, n_folds: int) -> list[Fold]:
    persons = sorted(table["person"].unique())
    number = min(n_folds, len(persons))
    folds = []
    for place in range(number):
        tested = table["person"].isin(persons[place::number])
        train, test = table.loc[~tested, "sample_id"], table.loc[tested, "sample_id"]
        folds.append(Fold(f"dealt-{place}", tuple(train), (), tuple(test)))
    return folds


def _scaler_and_svc(x: Floats, y: NDArray[np.int64], n_classes: int) -> Callable[[Floats], Floats]:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    names = np.eye(n_classes)
    if len(np.unique(y)) == 1:
        return lambda new: np.repeat(names[y[:1]], len(new), axis=0)
    model = make_pipeline(StandardScaler(), SVC(class_weight="balanced")).fit(x, y)
    return lambda new: names[model.predict(new)]


def _count(predicted: Predicted, classes: Sequence[str]) -> Pooled:
    from sklearn.metrics import f1_score

    positions = np.concatenate([batch.positions for batch in predicted.batches])
    if sorted(positions) != list(range(len(predicted.table))):
        raise MerError("Not every sample is predicted exactly once.")
    labels = predicted.table["label"].to_numpy()[positions]
    scores = np.concatenate([batch.scores for batch in predicted.batches])
    guessed = np.asarray(classes, dtype=object)[scores.argmax(axis=1)]
    present = [name for name in classes if name in set(labels)]
    uf1 = f1_score(labels, guessed, labels=present, average="macro", zero_division=0)
    return Pooled(float(uf1), len(positions))
