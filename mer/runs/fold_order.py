"""In which order folds run, and which of them one process carries out."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mer.errors import MerError
from mer.protocols import Fold


def running_order(folds: Sequence[Fold], table: pd.DataFrame) -> list[Fold]:
    """Order the folds so that the first few resemble the whole.

    Each next fold is the one that brings the tested samples closest to the composition of all
    samples by dataset and class (least sum of absolute differences of the shares; of equal folds,
    the first). The order depends on the samples alone, so two runs can be compared fold by fold,
    and a search can end a hopeless one early. Predictions do not depend on it.
    """
    cells = table["dataset"].astype(str) + " " + table["label"].astype(str)
    if not any(fold.test for fold in folds):
        return list(folds)
    names = sorted(cells.unique())
    cell_of = dict(zip(table["sample_id"], cells.map(names.index), strict=True))
    counts = np.zeros((len(folds), len(names)))
    for row, fold in zip(counts, folds, strict=True):
        np.add.at(row, [cell_of[sample] for sample in fold.test], 1)
    whole = counts.sum(axis=0) / counts.sum()
    left, so_far, order = list(range(len(folds))), np.zeros(len(names)), []
    while left:
        sums = so_far + counts[left]
        distance = np.abs(sums / sums.sum(axis=1, keepdims=True) - whole).sum(axis=1)
        place = int(np.argmin(distance.round(9)))
        so_far = sums[place]
        order.append(folds[left.pop(place)])
    return order


def select_folds(folds: Sequence[Fold], wanted: str | Sequence[str] | None) -> list[Fold]:
    """Choose the folds that one process of a run carries out.

    Args:
        folds: All folds, in running order.
        wanted: None for all; `k/n` for every n-th fold from the k-th on (1 <= k <= n), so that n
            processes share the folds evenly; a fold's name, or a list of names.

    Raises:
        MerError: If a share or name does not exist.
    """
    if wanted is None:
        return list(folds)
    names = {fold.name: fold for fold in folds}
    if isinstance(wanted, str) and wanted not in names:
        share = re.fullmatch(r"(\d+)/(\d+)", wanted)
        if share and 1 <= int(share[1]) <= int(share[2]):
            return list(folds[int(share[1]) - 1 :: int(share[2])])
    chosen = [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = [str(name) for name in chosen if name not in names]
    if unknown:
        raise MerError(
            f"protocol.folds names no fold and no share: {', '.join(unknown)}. Set k/n (every n-th "
            f"fold from the k-th on, such as 1/4), or names out of: {', '.join(names)}."
        )
    return [names[name] for name in chosen]
