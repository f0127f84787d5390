"""Protocols: who trains, who validates, who is tested, in every fold.

A protocol is a pure function of the sample table. It splits by person, never by sample, and does
not depend on the order of the table. `check_folds` proves that; every run calls it. The one
exception, `random_samples`, is there to measure what a split by sample costs.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.errors import MerError, raise_all

#: Protocols that test persons who train. What they give carries a mark, and no audit passes it.
LEAKY = ("random_samples",)

SIDES = ("train", "validation", "test")

#: The protocol that trains on everybody and tests nobody: it makes the model that is used.
EVERYBODY = "all"


@dataclass(frozen=True)
class Fold:
    """One round of a protocol.

    Args:
        name: Unique in its protocol and usable as a folder name, e.g. `samm-006`.
        train: Sample ids whose labels may be learnt from.
        validation: Sample ids of other persons of the training side, for selection; may be empty.
        test: Sample ids whose labels nothing reads until the model is fixed.
    """

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def loso(table: pd.DataFrame, validation: float = 0.0, seed: int = 0) -> list[Fold]:
    """Leave one subject out over all datasets together (composite evaluation of MEGC 2019).

    Examples:
        >>> table = pd.DataFrame({"sample_id": ["a", "b", "c"], "dataset": "smic", "label": "fear"})
        >>> for fold in loso(table.assign(person=["smic/s1", "smic/s2", "smic/s1"])):
        ...     print(*fold.test)
        a c
        b
    """
    return make_folds(table, "loso", validation, seed=seed)


def loso_per_dataset(table: pd.DataFrame, validation: float = 0.0, seed: int = 0) -> list[Fold]:
    """Leave one subject out inside each dataset; the datasets share nothing."""
    return make_folds(table, "loso_per_dataset", validation, seed=seed)


def holdout_dataset(table: pd.DataFrame, validation: float = 0.0, seed: int = 0) -> list[Fold]:
    """Leave one dataset out (holdout evaluation of MEGC 2019)."""
    return make_folds(table, "holdout_dataset", validation, seed=seed)


def group_kfold(
    table: pd.DataFrame, n_splits: int = 5, validation: float = 0.0, seed: int = 0
) -> list[Fold]:
    """Split the persons into groups of similar size and class mix; each group is tested once."""
    return make_folds(table, "group_kfold", validation, n_splits, seed)


def random_samples(
    table: pd.DataFrame, n_splits: int = 10, validation: float = 0.0, seed: int = 0
) -> list[Fold]:
    """Split by sample, as leaky papers do: persons who train are tested. For measuring leaks."""
    return make_folds(table, "random_samples", validation, n_splits, seed)


def everybody(table: pd.DataFrame, validation: float = 0.0, seed: int = 0) -> list[Fold]:
    """Train one model on everybody, to be used; it tests nobody, so it has no score."""
    return make_folds(table, EVERYBODY, validation, seed=seed)


def make_folds(
    table: pd.DataFrame,
    name: str,
    validation: float = 0.0,
    n_splits: int | None = None,
    seed: int = 0,
) -> list[Fold]:
    """Make the folds of a protocol by its name.

    Args:
        table: Samples with `sample_id`, `dataset`, `person` and `label`.
        name: loso, loso_per_dataset, holdout_dataset, group_kfold, random_samples or all.
        validation: Share of the training persons, per dataset, kept apart for selection; 0 to
            below 1. They take turns: over the folds, each validates about equally often.
        n_splits: Number of groups of `group_kfold` and of parts of `random_samples`.
        seed: Seed of the validation persons, groups and parts.

    Returns:
        Folds in a fixed order; each sample is tested exactly once, but by `all`, whose one fold
        tests none.

    Raises:
        MerError: If the protocol is unknown or the table is too small for it.
    """
    if name not in _MAKERS:
        raise MerError(f"protocol.name is {name}; set one of {', '.join(_MAKERS)}.")
    if not 0.0 <= validation < 1.0:
        raise MerError(f"protocol.validation is {validation}; set a share of persons in [0, 1).")
    table = table.sort_values("sample_id", ignore_index=True)
    turns: Counter[str] = Counter()
    folds = [
        _with_validation(fold_name, train, test, validation, seed, turns)
        for fold_name, train, test in _MAKERS[name](table, n_splits or 0, seed)
    ]
    check_folds(folds, table, persons_apart=name not in LEAKY, tested=name != EVERYBODY)
    return folds


def inner_folds(table: pd.DataFrame, fold: Fold, n_splits: int, seed: int = 0) -> list[Fold]:
    """Split the training side of a fold once more, for choices inside it (`protocol.inner`).

    Its persons are split into groups of similar size and mix of datasets and classes. The fold's
    test and validation persons are on no inner side.

    Returns:
        Inner folds without a test side; each training sample is validated exactly once.

    Raises:
        MerError: If there are fewer persons than splits.
    """
    part = table[table["sample_id"].isin(fold.train)].sort_values("sample_id", ignore_index=True)
    mix = part["dataset"].astype(str) + " " + part["label"].astype(str)
    where = f" in the training side of fold {fold.name}"
    with warnings.catch_warnings():  # a dataset may have few samples of a class
        warnings.filterwarnings("ignore", message="The least populated class")
        rounds = _groups("protocol.inner.n_splits", part, mix, n_splits, seed, where)
    ids = part["sample_id"]
    inner = [
        Fold(f"{fold.name}-inner-{number}", tuple(ids[train]), (), tuple(ids[held]))
        for number, (train, held) in enumerate(rounds)
    ]
    check_folds(inner, part)
    return [replace(split, validation=split.test, test=()) for split in inner]


def check_folds(
    folds: Sequence[Fold], table: pd.DataFrame, persons_apart: bool = True, tested: bool = True
) -> None:
    """Check that the folds are sound.

    Args:
        folds: All folds of a protocol.
        table: All samples, with `sample_id` and `person`.
        persons_apart: Whether test persons must be strangers to the other sides; false for the
            protocols in `LEAKY` alone. Validation persons never train.
        tested: Whether each sample must be tested once; otherwise none may be.

    Raises:
        MerError: If a person (without `persons_apart`, a sample) stands on two sides of a fold, a
            sample is tested never or twice (or at all), a training side is empty, a sample is not
            in the table, or two folds share a name.
    """
    person_of = dict(zip(table["sample_id"], table["person"], strict=True))
    named = {sample for fold in folds for side in SIDES for sample in getattr(fold, side)}
    raise_all("Samples of the folds that the table does not hold:", sorted(named - set(person_of)))
    problems = []
    times_tested: dict[str, int] = dict.fromkeys(person_of, 0)
    for fold in folds:
        samples = {side: set(getattr(fold, side)) for side in SIDES}
        persons = {side: {person_of[sample] for sample in ids} for side, ids in samples.items()}
        for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
            sides = persons if persons_apart or second == "validation" else samples
            both = sorted(sides[first] & sides[second])
            if both:
                problems.append(f"fold {fold.name}: {', '.join(both)} in {first} and in {second}")
        if not fold.train:
            problems.append(f"fold {fold.name}: no sample is left to train on")
        for sample in fold.test:
            times_tested[sample] += 1
    due = int(tested)
    wrong = [f"{name} ({times} times)" for name, times in times_tested.items() if times != due]
    if wrong:
        often = "exactly once" if tested else "never"
        problems.append(f"{len(wrong)} samples not tested {often}: {', '.join(wrong[:3])}")
    names = [fold.name for fold in folds]
    if len(set(names)) != len(names):
        problems.append("two folds share a name")
    raise_all("The folds cannot be used:", problems)


def describe(folds: Sequence[Fold], table: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the folds: persons and samples per side, test samples per class."""
    indexed = table.set_index("sample_id")
    rows = []
    for fold in folds:
        row: dict[str, Any] = {"fold": fold.name}
        for side in SIDES:
            part = indexed.loc[list(getattr(fold, side))]
            row[f"{side}_persons"] = part["person"].nunique()
            row[f"{side}_samples"] = len(part)
        for label, count in indexed.loc[list(fold.test), "label"].value_counts().items():
            row[f"test_{label}"] = int(count)
        rows.append(row)
    frame = pd.DataFrame(rows).fillna(0)
    return frame.astype({name: "int64" for name in frame.columns if name != "fold"})


Sides = list[tuple[str, pd.DataFrame, pd.DataFrame]]


def _loso(table: pd.DataFrame, n_splits: int, seed: int) -> Sides:
    if table["person"].nunique() < 2:
        raise MerError(
            f"Leave-one-subject-out needs two persons or more; found {table['person'].nunique()}: "
            f"{', '.join(table['person'].unique())}. Add samples of others."
        )
    return [
        (str(person).replace("/", "-"), table.drop(part.index), part)
        for person, part in table.groupby("person")
    ]


def _loso_per_dataset(table: pd.DataFrame, n_splits: int, seed: int) -> Sides:
    sides: Sides = []
    for dataset, part in table.groupby("dataset"):
        if part["person"].nunique() < 2:
            raise MerError(f"loso_per_dataset needs two persons in {dataset}; found one.")
        for name, train, test in _loso(part, n_splits, seed):
            # A human recorded under several names has a fold in each of his datasets.
            unique = name if name.startswith(f"{dataset}-") else f"{dataset}-{name}"
            sides.append((unique, train, test))
    return sides


def _holdout_dataset(table: pd.DataFrame, n_splits: int, seed: int) -> Sides:
    names = sorted(table["dataset"].unique())
    if len(names) < 2:
        raise MerError(f"holdout_dataset needs two datasets; found {names}. Use protocol=loso.")
    sides = []
    for name in names:
        test = table[table["dataset"] == name]
        # A person who is also seen in another dataset trains nowhere.
        train = table[(table["dataset"] != name) & ~table["person"].isin(test["person"])]
        sides.append((name, train, test))
    return sides


def _group_kfold(table: pd.DataFrame, n_splits: int, seed: int) -> Sides:
    rounds = _groups("protocol.n_splits", table, table["label"], n_splits, seed)
    return [
        (f"group-{number:02d}", table.iloc[train], table.iloc[test])
        for number, (train, test) in enumerate(rounds)
    ]


def _groups(
    key: str, table: pd.DataFrame, mix: pd.Series, n_splits: int, seed: int, where: str = ""
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Split the persons into groups of similar size and mix; positions of the others and of each.

    Raises:
        MerError: If there are fewer persons, or samples of the commonest kind, than groups.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    persons, most = table["person"].nunique(), int(mix.value_counts().max())
    if not 2 <= n_splits <= persons:
        raise MerError(f"{key} is {n_splits}; with {persons} persons{where} set 2 to {persons}.")
    if n_splits > most:
        kind = "class" if mix.name == "label" else "class of a dataset"
        raise MerError(
            f"{key} is {n_splits}, and no {kind} has as many samples{where}; set 2 to {most}."
        )
    splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
    return list(splitter.split(table, mix, table["person"]))


def _random_samples(table: pd.DataFrame, n_splits: int, seed: int) -> Sides:
    from sklearn.model_selection import StratifiedKFold

    smallest = int(table["label"].value_counts().min())
    if not 2 <= n_splits <= smallest:
        raise MerError(
            f"protocol.n_splits is {n_splits}; with {smallest} samples of the rarest class set 2 "
            f"to {smallest}."
        )
    rounds = StratifiedKFold(n_splits, shuffle=True, random_state=seed).split(table, table["label"])
    return [
        (f"part-{number:02d}", table.iloc[train], table.iloc[test])
        for number, (train, test) in enumerate(rounds)
    ]


def _everybody(table: pd.DataFrame, n_splits: int, seed: int) -> Sides:
    return [(EVERYBODY, table, table.iloc[:0])]


_MAKERS: dict[str, Callable[[pd.DataFrame, int, int], Sides]] = {
    "loso": _loso,
    "loso_per_dataset": _loso_per_dataset,
    "holdout_dataset": _holdout_dataset,
    "group_kfold": _group_kfold,
    "random_samples": _random_samples,
    EVERYBODY: _everybody,
}


def _with_validation(
    name: str,
    train: pd.DataFrame,
    test: pd.DataFrame,
    share: float,
    seed: int,
    turns: Counter[str],
) -> Fold:
    """Move about `share` of the training persons, per dataset, to the validation side.

    Those who have validated least often so far come first, so that over the folds everybody
    validates about equally often (`turns` counts); among equals, a draw by name decides, the same
    in every fold.
    """
    held: set[str] = set()
    if share > 0:
        for _, part in train.groupby("dataset"):
            persons = sorted(part["person"].unique())
            wanted = min(max(1, round(share * len(persons))), len(persons) - 1)
            held.update(sorted(persons, key=lambda p: (turns[p], _draw(p, seed)))[:wanted])
        turns.update(held)
    in_validation = train["person"].isin(held)
    return Fold(
        name=name,
        train=tuple(train.loc[~in_validation, "sample_id"]),
        validation=tuple(train.loc[in_validation, "sample_id"]),
        test=tuple(test["sample_id"]),
    )


def _draw(person: str, seed: int) -> float:
    """A number in [0, 1) that depends on the person's name and the seed alone."""
    return float(np.random.default_rng([seed, *person.encode()]).random())
