"""Calibration: how often a head is right when it is so sure.

One parameter per head, a temperature (Guo et al., ICML 2017), turns its scores into probabilities.
It is fitted on what networks say of persons who did not train them: the validation persons of the
folds where a run has some, else the tested ones, each by the fold that tested them. Whether it
helps is told by temperatures that other persons gave (`error_after`).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mer import metrics
from mer.files import write_json
from mer.runs import run_files
from mer.runs.coverage import Covered, covered, in_words
from mer.runs.head_columns import heads
from mer.runs.rundir import find, fold_folder, marked
from mer.runs.standard_scores import Form, callbacks_of, form_of, sums_of_margins

Array = NDArray[np.float64]

FILE = "calibration.json"

#: Groups of persons for which a temperature is fitted on the others.
GROUPS = 10

#: Least and largest logarithm of a temperature.
_BOUNDS = (-5.0, 5.0)

#: Whose predictions a temperature is fitted on.
VALIDATION = "validation persons of the folds"
TESTED = "tested persons, each by the fold that did not train on them"


class Calibration(NamedTuple):
    """How the scores of a head become probabilities.

    Attributes:
        temperature: What logits are divided by before their softmax; larger is less sure.
        form: Form of the scores, see `as_logits`.
        fitted_on: Whose predictions it was fitted on, in words.
        samples: Number of these samples.
        persons: Number of their persons.
        error_before: Expected calibration error of temperature 1; None where it is not known.
        error_after: The same with temperatures that other persons gave.
        coverage: How many of all these samples, then of fewer and surer ones, were right; empty
            where it is not known.
    """

    temperature: float
    form: Form
    fitted_on: str
    samples: int = 0
    persons: int = 0
    error_before: float | None = None
    error_after: float | None = None
    coverage: tuple[Covered, ...] = ()

    @property
    def words(self) -> str:
        """Whose predictions it was fitted on, and how many of the surest were right."""
        return self.fitted_on + (f": {in_words(self.coverage)}" if self.coverage else "")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self._asdict(), "coverage": [one._asdict() for one in self.coverage]}


class Judged(NamedTuple):
    """A head and how sure it was of its class.

    Attributes:
        calibration: Fitted on all samples.
        right: Whether its class is the true one. Shape: (N,), bool.
        before: Probability of its class with temperature 1. Shape: (N,).
        after: The same with the temperature that other persons gave. Shape: (N,).
        weights: Weight of each prediction; those of a sample add up to 1. Shape: (N,).
    """

    calibration: Calibration
    right: NDArray[np.bool_]
    before: Array
    after: Array
    weights: Array


def as_logits(scores: Array, form: Form) -> Array:
    """Turn scores into values whose softmax means something.

    Args:
        scores: Scores of a head. Shape: (N, K).
        form: Form of the scores: the logarithm of probabilities is taken, votes become sums of
            margins, margins and others stay as they are.
    """
    if form == "probabilities":
        with np.errstate(divide="ignore"):
            return np.log(scores, dtype=np.float64)
    return sums_of_margins(scores) if form == "votes" else np.asarray(scores, np.float64)


def probabilities(logits: Array, temperature: float) -> Array:
    """Softmax of logits that are divided by a temperature. Shape: (N, K)."""
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    shares = np.exp(scaled)
    shares /= shares.sum(axis=1, keepdims=True)
    return np.asarray(shares)


def fit(logits: Array, labels: NDArray[np.int64], weights: Array | None = None) -> float:
    """Find the temperature with the least cross-entropy.

    The true class counts as slightly less than certain, as in Platt (1999), so that few samples
    that are all right do not make a head sure of everything.

    Args:
        logits: Shape: (N, K).
        labels: Class numbers. Shape: (N,).
        weights: Weight of each sample; None for 1. Shape: (N,).
    """
    from scipy.optimize import minimize_scalar

    rows, classes = logits.shape
    weights = np.ones(rows) if weights is None else weights
    count = weights.sum()
    wanted = np.full(logits.shape, 1 / (count + classes))
    wanted[np.arange(rows), labels] = (count + 1) / (count + classes)
    wanted *= weights[:, None]

    def loss(logarithm: float) -> float:
        shares = probabilities(logits, float(np.exp(logarithm)))
        return -float((wanted * np.log(np.maximum(shares, 1e-12))).sum())

    return float(np.exp(minimize_scalar(loss, bounds=_BOUNDS, method="bounded").x))


def cross_fitted(
    logits: Array, labels: NDArray[np.int64], persons: Sequence[str], weights: Array | None = None
) -> Array:
    """Probabilities of each sample by a temperature that other persons gave. Shape: (N, K).

    Args:
        logits: Shape: (N, K).
        labels: Class numbers. Shape: (N,).
        persons: Person of each sample; of a single person there are no others, so 1 is taken.
        weights: See `fit`.
    """
    names, number = np.unique(np.asarray(persons, str), return_inverse=True)
    shares = probabilities(logits, 1.0)
    groups = min(GROUPS, len(names))
    for group in range(groups if groups > 1 else 0):
        held = number % groups == group
        others = None if weights is None else weights[~held]
        shares[held] = probabilities(logits[held], fit(logits[~held], labels[~held], others))
    return shares


def reliability(
    confidence: ArrayLike, correct: ArrayLike, bins: int = 10, weights: ArrayLike | None = None
) -> tuple[pd.DataFrame, float]:
    """Confidence against accuracy, and the expected calibration error (ECE).

    ECE is the mean over samples of |accuracy - mean confidence| of the sample's bin (Guo et al.,
    ICML 2017), with bins of equal width. A value on an edge belongs to the bin below.

    Args:
        confidence: Probability of each sample's predicted class, in [0, 1]. Shape: (N,).
        correct: Whether that is the true one. Shape: (N,).
        bins: Number of bins.
        weights: Weight of each sample; None for 1. Shape: (N,).

    Returns:
        A row per bin that has samples: `low`, `high`, `samples`, `confidence`, `accuracy`; and ECE.
    """
    frame = pd.DataFrame({"confidence": confidence, "accuracy": correct}, dtype=float)
    weight = np.ones(len(frame)) if weights is None else np.asarray(weights, float)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, frame["confidence"], side="left") - 1, 0, bins - 1)
    sums = frame.mul(weight, axis=0).assign(samples=weight).groupby(place).sum()
    table = sums[["confidence", "accuracy"]].div(sums["samples"], axis=0)
    table = table.assign(low=edges[table.index], high=edges[table.index + 1])
    table["samples"] = sums["samples"]
    gaps = (table["accuracy"] - table["confidence"]).abs()
    return table, float((gaps * table["samples"]).sum() / weight.sum())


def judge(
    frame: pd.DataFrame, head: str, classes: Sequence[str], forms: Mapping[str, Form], words: str
) -> Judged:
    """Calibrate a head and see how well that does.

    Args:
        frame: Predictions for persons who did not train: the head's columns, `sample_id`, `fold`,
            `person` and `label`. A sample that several folds predict counts once in all.
        head: Name of the head.
        classes: Names of the K classes.
        forms: Fold -> form of the head's scores.
        words: Whose predictions they are.
    """
    number = {name: place for place, name in enumerate(classes)}
    columns = [f"{head}_{name}" for name in classes]
    logits: Array = frame[columns].to_numpy(np.float64, copy=True)
    for fold, form in forms.items():
        rows = (frame["fold"] == fold).to_numpy()
        logits[rows] = as_logits(logits[rows], form)
    labels, said = (frame[key].map(number).to_numpy(np.int64) for key in ("label", head))
    ids, persons = frame["sample_id"].tolist(), frame["person"].astype(str).tolist()
    weights = metrics.once_each(ids)
    at = np.arange(len(frame))
    before = probabilities(logits, 1.0)[at, said]
    after = cross_fitted(logits, labels, persons, weights)[at, said]
    right = labels == said
    errors = [reliability(one, right, weights=weights)[1] for one in (before, after)]
    kinds = set(forms.values())
    made = Calibration(
        temperature=fit(logits, labels, weights),
        form=kinds.pop() if len(kinds) == 1 else "other",
        fitted_on=words,
        samples=len(set(ids)),
        persons=len(set(persons)),
        error_before=errors[0],
        error_after=errors[1],
        coverage=covered(after, right, weights),
    )
    return Judged(made, right, before, after, weights)


def validation(run_dir: Path, folds: Iterable[str], table: pd.DataFrame) -> pd.DataFrame | None:
    """Labelled predictions for the validation persons of all folds; None without any."""
    files = [fold_folder(run_dir, fold) / "validation.parquet" for fold in folds]
    if not all(file.is_file() for file in files):
        return None
    frame = pd.concat(map(run_files.read_table, files), ignore_index=True)
    return frame.assign(label=frame["sample_id"].map(table.set_index("sample_id")["label"]))


def judge_run(
    run_dir: Path,
    config: Mapping[str, Any],
    predictions: pd.DataFrame,
    names: Iterable[str] | None = None,
) -> dict[str, Judged]:
    """Calibrate the heads of a finished run: by default all of its predictions."""
    folds = list(dict.fromkeys(predictions["fold"]))
    callbacks = callbacks_of(run_dir, config, folds)
    validated = validation(run_dir, folds, predictions)
    frame, words = (predictions, TESTED) if validated is None else (validated, VALIDATION)
    classes = list(config["labels"]["classes"])
    return {
        head: judge(frame, head, classes, {f: form_of(head, callbacks[f]) for f in folds}, words)
        for head in (heads(predictions) if names is None else names)
    }


def write(run_dir: Path, config: Mapping[str, Any], found: Mapping[str, Calibration]) -> None:
    """Write the calibration of the heads of a run."""
    plain = {head: calibration.as_dict() for head, calibration in found.items()}
    write_json(plain, run_dir / marked(FILE, config))


def read(run_dir: Path) -> dict[str, Calibration]:
    """Read the calibration of the heads of a run; empty for one that is not complete."""
    path = find(run_dir, FILE)
    plain = {} if path is None else run_files.read_json(path)
    return {head: from_plain(values) for head, values in plain.items()}


def from_plain(values: Mapping[str, Any]) -> Calibration:
    """Read what `Calibration.as_dict` gave."""
    points = tuple(Covered(**point) for point in values["coverage"])
    return Calibration(**{**values, "coverage": points})
