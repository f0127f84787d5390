"""The leak meter: a pipeline on inputs that carry no information, and where it leaks if it scores.

Three nulls, each a question that nobody can answer. `labels`: labels dealt out anew over all
samples. `random`: a random embedding per clip. `identity`: an embedding that says who is seen and
nothing else; with a person on both sides of a fold it pays to know who it is. A fourth run, the
control, feeds the labels themselves: a pipeline that does not find them has mixed up its rows.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer import metrics
from mer.audit.null_checks import problems_of_pool, problems_of_split
from mer.audit.null_stages import STAGES, Feed, Floats, Pipeline, Predicted, predict, reference
from mer.errors import MerError

log = logging.getLogger(__name__)

NULLS = {
    "labels": "labels permuted over samples",
    "random": "random embeddings",
    "identity": "who it is, nothing else",
}

#: Simulated guessers, and which share of them must lie below the upper bound.
GUESSERS, QUANTILE = 2000, 0.995

#: How far below a perfect score the control may stay.
SLACK = 0.02


@dataclass(frozen=True)
class Null:
    """The scores of one null.

    Args:
        name: Key of `NULLS`, or of a further null.
        title: What was fed.
        scores: UF1 of each repeat.
        low: Lower bound of what guessing gives, for the mean of the repeats.
        high: Upper bound.
        replaced: Stage -> mean UF1 once a clean stage stands in its place; empty if nothing leaks.
        suspects: Stages whose replacement brings the score back.
        together: Whether it takes all the suspects at once.
    """

    name: str
    title: str
    scores: list[float]
    low: float
    high: float
    replaced: dict[str, float] = field(default_factory=dict)
    suspects: list[str] = field(default_factory=list)
    together: bool = False

    @property
    def mean(self) -> float:
        """Mean UF1 of the repeats."""
        return float(np.mean(self.scores))

    @property
    def leaks(self) -> bool:
        """Whether it is above what guessing gives."""
        return self.mean > self.high


@dataclass(frozen=True)
class Check:
    """A check with a plain answer: what it is about, and the problems that it found."""

    name: str
    problems: list[str]
    note: str = ""


@dataclass(frozen=True)
class Samples:
    """What nulls are made of.

    Args:
        table: Manifest of a run; `content` is equal for copies (left out: no copies known).
        classes: Class names in order.
        width: Width of the embeddings.
        epochs: Epochs among which the pipeline selects.
        images: Something of each sample's real input, if the data are there. Shape: (N, D).
        one_person: Whether each fold is meant to test one person.
    """

    table: pd.DataFrame
    classes: Sequence[str]
    width: int
    epochs: int = 1
    images: Floats | None = None
    one_person: bool = False


def feed(samples: Samples, null: str, seed: int) -> Feed:
    """Make the input of a null, or of the control (`control`), in a random order of rows."""
    rng = np.random.default_rng([seed, *null.encode()])
    order = rng.permutation(len(samples.table))
    table = samples.table.iloc[order].reset_index(drop=True)
    if "content" not in table:
        table["content"] = table["sample_id"]
    _, person = np.unique(table["person"].astype(str), return_inverse=True)
    _, clip = np.unique(table["content"].astype(str), return_inverse=True)
    width = samples.width

    def drawn(groups: NDArray[np.int64]) -> Floats:
        return rng.standard_normal((groups.max() + 1, width))[groups]

    def project(known: Floats) -> Floats:
        return known @ rng.standard_normal((known.shape[1], width)) / np.sqrt(known.shape[1])

    epochs: list[Floats] = []
    for _ in range(samples.epochs):
        if null == "random":
            epochs.append(drawn(clip))
        elif null == "identity":
            epochs.append(drawn(person) + 0.1 * rng.standard_normal((len(table), width)))
        elif null == "control":
            one_hot = np.eye(len(samples.classes))[_numbers(table, samples.classes)]
            noise = rng.standard_normal((len(table), width))
            epochs.append(project(one_hot) + 0.02 * noise)
        elif samples.images is None:
            epochs.append(drawn(person) + drawn(clip))
        else:
            epochs.append(project(samples.images[order]))
    if null == "labels":
        table["label"] = rng.permutation(table["label"].to_numpy())
    return Feed(table, np.stack(epochs))


def band(
    table: pd.DataFrame, classes: Sequence[str], repeats: int, by_person: bool, seed: int = 0
) -> tuple[float, float]:
    """What the mean UF1 of some repeats is when classes are guessed by their frequency.

    No way to guess has a higher expected score than about 1 / K, which guessing by the frequencies
    reaches.

    Args:
        table: `label` and `person`.
        classes: Class names in order.
        repeats: Number of repeats whose mean is taken.
        by_person: Whether all samples of a person get the same guess, which spreads more.
        seed: Seed of the guessers.

    Returns:
        Lower and upper bound: the 0.5 % and 99.5 % quantiles of 2,000 guessers; always saying the
        most frequent class lies within.
    """
    rng = np.random.default_rng(seed)
    labels = _numbers(table, classes)
    prior = np.bincount(labels, minlength=len(classes)) / len(labels)
    draws = GUESSERS * repeats
    if by_person:
        counts = pd.crosstab(table["person"], labels)
        counts = counts.reindex(columns=range(len(classes)), fill_value=0).to_numpy()
        guesses = np.eye(len(classes))[rng.choice(len(classes), (draws, len(counts)), p=prior)]
        matrices = np.einsum("pk,dpj->dkj", counts, guesses)
    else:
        sizes = np.bincount(labels, minlength=len(classes))
        matrices = np.stack([rng.multinomial(size, prior, draws) for size in sizes], axis=1)
    scores = metrics.scores_from_confusion(matrices)["uf1"].reshape(GUESSERS, repeats).mean(axis=1)
    always = np.zeros((len(classes), len(classes)))
    always[:, prior.argmax()] = prior
    floor = float(metrics.scores_from_confusion(always)["uf1"])
    low, high = (float(bound) for bound in np.quantile(scores, [1 - QUANTILE, QUANTILE]))
    return min(low, floor), max(high, floor)


def measure(
    pipeline: Pipeline,
    samples: Samples,
    repeats: int,
    names: Collection[str] = tuple(NULLS),
    told: Callable[[str], None] = log.info,
) -> tuple[list[Null], list[Check]]:
    """Run all nulls and checks; where a null scores, find the stage that leaks.

    Args:
        pipeline: The pipeline; its stages may be anybody's.
        samples: What nulls are made of.
        repeats: Repeats of each null.
        names: Which nulls, keys of `NULLS`.
        told: Called with a line of progress now and then.

    Returns:
        Nulls and checks.
    """
    nulls: list[Null] = []
    checks: list[Check] = []
    broken: list[str] = []
    for name in names:
        title = NULLS[name]
        try:
            null = _measure_null(pipeline, samples, name, repeats)
        except MerError as error:
            broken.append(f"{title}: {error}")
            continue
        told(f"{title}: UF1 {null.mean:.3f}, guessing gives up to {null.high:.3f}")
        if null.leaks:
            told("looking for the stage that leaks")
            known = [other.suspects for other in nulls if other.suspects and not other.together]
            null = _narrow(pipeline, samples, null, known[0] if known else [])
        nulls.append(null)
    checks.append(Check("runs on every null", broken))
    try:
        checks += _check(pipeline, samples)
    except MerError as error:
        checks.append(Check("positive control", [str(error)]))
    return nulls, checks


def _measure_null(pipeline: Pipeline, samples: Samples, name: str, repeats: int) -> Null:
    low, high = band(samples.table, samples.classes, repeats, by_person=name == "identity")
    scores = _scores(pipeline, samples, name, repeats)
    return Null(name, NULLS[name], scores, low, high)


def _scores(pipeline: Pipeline, samples: Samples, name: str, repeats: int) -> list[float]:
    return [
        pipeline.pool(
            predict(pipeline, feed(samples, name, seed), samples.classes), samples.classes
        ).uf1
        for seed in range(repeats)
    ]


def _narrow(pipeline: Pipeline, samples: Samples, null: Null, known: Sequence[str]) -> Null:
    """Replace one stage after another by a clean one; if none is enough, more and more of them.

    Stages that another null has found (`known`) are tried first, alone if they explain this one.
    """
    folds = pipeline.split(feed(samples, null.name, 0).table)
    clean = reference(len(folds))
    own = [stage for stage in STAGES if getattr(pipeline, stage) is not getattr(clean, stage)]

    def mean(*stages: str) -> float:
        changed = replace(pipeline, **{stage: getattr(clean, stage) for stage in stages})
        return float(np.mean(_scores(changed, samples, null.name, len(null.scores))))

    replaced: dict[str, float] = {}
    for group in ([*known], [stage for stage in own if stage not in known]):
        for stage in group:
            try:
                replaced[stage] = mean(stage)
            except MerError as error:  # the other stages do not go with the clean one
                log.info("%s cannot be replaced alone: %s", STAGES[stage], error)
        suspects = [stage for stage, score in replaced.items() if score <= null.high]
        if suspects:
            return replace(null, replaced=replaced, suspects=suspects)
    ranked = sorted(replaced, key=lambda stage: replaced[stage])
    for number in range(2, len(ranked) + 1):
        if mean(*ranked[:number]) <= null.high:
            needed = ranked[:number]
            for stage in ranked[: number - 1]:  # the last one was needed, or we had stopped before
                rest = [other for other in needed if other != stage]
                if mean(*rest) <= null.high:
                    needed = rest
            return replace(null, replaced=replaced, suspects=needed, together=True)
    return replace(null, replaced=replaced)


def _check(pipeline: Pipeline, samples: Samples) -> list[Check]:
    predicted = predict(pipeline, feed(samples, "control", 0), samples.classes)
    reached = pipeline.pool(predicted, samples.classes).uf1
    possible = _possible(predicted, samples.classes)
    control = []
    if reached < possible - SLACK:
        control.append(
            f"with the labels as features, UF1 is {reached:.3f}, not {possible:.3f}: rows are "
            "misaligned, or samples are lost"
        )
    split = problems_of_split(predicted.table, predicted.folds, samples.one_person)
    return [
        Check("positive control", control, f"UF1 {reached:.3f} of {possible:.3f}"),
        Check("split", split, f"{len(predicted.folds)} folds"),
        Check(
            "pooling",
            problems_of_pool(pipeline, predicted, samples.classes),
            "every sample counts; a lost and a repeated batch are refused",
        ),
    ]


def _possible(predicted: Predicted, classes: Sequence[str]) -> float:
    """UF1 when all is right but samples whose class no training sample of their fold has."""
    label = dict(zip(predicted.table["sample_id"], predicted.table["label"], strict=True))
    true, said = [], []
    for fold in predicted.folds:
        trained = [label[sample] for sample in fold.train]
        usual = max(set(trained), key=trained.count)
        for sample in fold.test:
            true.append(classes.index(label[sample]))
            said.append(classes.index(label[sample] if label[sample] in trained else usual))
    return metrics.scores(true, said, len(classes))["uf1"]


def _numbers(table: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    number = {name: place for place, name in enumerate(classes)}
    return table["label"].map(number).to_numpy(dtype=np.int64)


def as_json(null: Null) -> dict[str, Any]:
    """Plain values of a null."""
    return {
        "null": null.name,
        "fed": null.title,
        "uf1": null.mean,
        "repeats": null.scores,
        "band": [null.low, null.high],
        "verdict": "leaks" if null.leaks else "clean",
        "replaced": {STAGES[stage]: score for stage, score in null.replaced.items()},
        "suspects": [STAGES[stage] for stage in null.suspects],
        "all_suspects_together": null.together,
    }
