"""Labelled samples of several datasets and the prepared stores that hold them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from mer.datasets import labels
from mer.datasets.index import Remark
from mer.errors import raise_all
from mer.prepare.store import Store


class Corpus(NamedTuple):
    """Samples of one role, ready for a `UnifiedDataset`.

    `table` is the index table with `label`, `store` (position in `stores`) and `row`; `classes` are
    the label scheme's; `remarks` say what was dropped or mended, by readers, labels and
    preparation.
    """

    table: pd.DataFrame
    stores: list[Store]
    classes: list[str]
    remarks: list[Remark]

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any sample, label or prepared array."""
        columns = (self.table[name] for name in ("sample_id", "person", "label"))
        digest = hashlib.sha256("\n".join(store.hash for store in self.stores).encode())
        for sample, person, label in zip(*columns, strict=True):
            digest.update(f"\n{sample} {person} {label}".encode())
        return digest.hexdigest()[:12]


def combine(
    stores: Sequence[Store],
    scheme: str | Mapping[str, Any],
    check_counts: bool = False,
    needs_onset: bool = False,
) -> Corpus:
    """Label the samples of prepared stores and put them into one table.

    Args:
        stores: Prepared stores.
        scheme: Name of a label scheme, or the scheme itself.
        check_counts: Whether every dataset must have as many samples as the scheme expects.
        needs_onset: Whether samples without an onset are dropped; a store without any keeps them.

    Raises:
        MerError: If two stores hold the same sample, or the counts differ.
    """
    chosen = labels.load_scheme(scheme)
    tables: list[pd.DataFrame] = []
    remarks: list[Remark] = []
    for number, store in enumerate(stores):
        labelled = labels.apply(store.index, chosen)
        remarks += labelled.remarks
        remarks += [Remark(d.sample_id, "dropped", d.reason) for d in store.drops.itertuples()]
        table = labelled.table
        if needs_onset and table["has_onset"].any():
            without = table.loc[~table["has_onset"], "sample_id"]
            remarks += [
                Remark(one, "dropped", "without the onset that the input needs") for one in without
            ]
            table = table[table["has_onset"]]
        tables.append(table.assign(store=number))
    classes = list(chosen["classes"])
    if not tables:
        return Corpus(pd.DataFrame(), [], classes, [])
    table = pd.concat(tables, ignore_index=True).sort_values("sample_id", ignore_index=True)
    twice = table["sample_id"][table["sample_id"].duplicated()].tolist()
    raise_all("Two datasets hold the same sample:", twice)
    if check_counts:
        raise_all(
            f"Sample counts differ from label scheme `{chosen['name']}`. If your copy of the data "
            "is known to differ, set data.check_counts=false; the numbers are then not comparable:",
            labels.check_counts(table, chosen, sorted(table["dataset"].unique())),
        )
    return Corpus(table, list(stores), classes, remarks)
