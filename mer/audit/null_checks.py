"""Checks that need no score: the split told from who is seen, the pooling from what it refuses."""

from collections.abc import Sequence

import pandas as pd

from mer.audit.null_stages import Pipeline, Predicted
from mer.errors import MerError
from mer.protocols import Fold


def problems_of_split(table: pd.DataFrame, folds: Sequence[Fold], one_person: bool) -> list[str]:
    """What is wrong with folds, told from who is seen in each sample.

    Args:
        table: `sample_id`, `dataset`, `subject`, `person`, `content`.
        folds: Folds over it.
        one_person: Whether each fold is meant to test one person (leave one subject out).

    Returns:
        Sentences; none if each sample is tested once, nobody stands on two sides, and no clip has a
        copy on the other side.
    """
    rows = table.set_index("sample_id")
    found: list[str] = []
    shared: dict[str, list[str]] = {"person": [], "content": []}
    for fold in folds:
        sides = [list(fold.train), list(fold.validation), list(fold.test)]
        for column, names in shared.items():
            values = [set(rows.loc[side, column]) for side in sides]
            names += sorted((values[0] | values[1]) & values[2] | values[0] & values[1])
    if shared["person"]:
        found.append(f"persons on two sides of a fold: {_some(shared['person'])}")
    if copies := sorted(set(shared["content"])):
        ids = table.loc[table["content"].isin(copies), "sample_id"]
        found.append(f"{len(copies)} clips have a copy on the other side: {', '.join(ids[:4])}")
    times = pd.Series([sample for fold in folds for sample in fold.test]).value_counts()
    wrong = int((times.reindex(rows.index, fill_value=0) != 1).sum())
    if wrong:
        found.append(f"{wrong} samples are not tested exactly once")
    together = [fold for fold in folds if rows.loc[list(fold.test), "person"].nunique() > 1]
    if one_person and together:
        persons = rows["person"].nunique()
        first = sorted(set(rows.loc[list(together[0].test), "person"]))
        found.append(
            f"{persons} persons collapse to {len(folds)}: {', '.join(first[:3])} are one; "
            "are their ids without the dataset?"
        )
    spans = table.groupby("person")["dataset"].nunique()
    bare = [name for name in spans.index[spans > 1] if "/" not in name]
    if bare:
        subjects = table["dataset"].str.cat(table["subject"], sep=" ").nunique()
        found.append(
            f"{subjects} subjects collapse to {len(spans)} persons: {_some(bare)} in several "
            "datasets; their ids lack the dataset"
        )
    return found


def problems_of_pool(pipeline: Pipeline, predicted: Predicted, classes: Sequence[str]) -> list[str]:
    """What is wrong with the pooling: it must count every sample and refuse a wrong set of them."""
    found = []
    pooled = pipeline.pool(predicted, classes)
    if pooled.samples != len(predicted.table):
        found.append(f"{pooled.samples} of {len(predicted.table)} samples are in the score")
    batches = predicted.batches
    for what, wrong in (("lost", batches[:-1]), ("repeated", [*batches, batches[-1]])):
        try:
            score = pipeline.pool(predicted._replace(batches=wrong), classes)
        except MerError:
            continue
        found.append(f"a {what} batch is not noticed: a score of {score.samples} samples came out")
    return found


def _some(names: Sequence[str]) -> str:
    different = sorted(set(names))
    rest = f" and {len(different) - 3} more" if len(different) > 3 else ""
    return ", ".join(different[:3]) + rest
