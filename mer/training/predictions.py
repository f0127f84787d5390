"""Predictions: from a network and its heads to a table with one row per sample.

Rows join samples by position number, never by order: a table in another order once scored a perfect
predictor as .379.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mer.callbacks.head import SCORES, Head, add_scores
from mer.errors import raise_all
from mer.models.inference import predict_batches
from mer.models.modules import MERModule

#: Columns taken over from the sample table.
WHO = ("sample_id", "dataset", "subject", "person")


def predict(
    module: MERModule, loader: Iterable[Mapping[str, torch.Tensor]], heads: Sequence[Head] = ()
) -> list[dict[str, torch.Tensor]]:
    """Predict batches on the module's device; its mode and the random state stay as they were.

    Returns:
        One mapping per batch, as of `MERModule.predict_step`, on the device, and `<name>_scores`
        (B, K) of each head, on the CPU.
    """
    outputs = predict_batches(module, loader)
    for batch in outputs:
        add_scores(heads, batch)
    return outputs


def to_frame(
    outputs: Sequence[Mapping[str, torch.Tensor]],
    table: pd.DataFrame,
    classes: Sequence[str],
    expected: Sequence[int] | NDArray[np.int64] | None = None,
) -> pd.DataFrame:
    """Collect predicted batches.

    Args:
        outputs: One mapping per batch: `index` (B,) positions in `table`, `logits` (B, K), and
            `<name>_scores` (B, K) of each head. None where nobody is expected.
        table: The sample table, all datasets and persons.
        classes: Names of the K classes.
        expected: Positions that must have been predicted, each once; None takes them as they come.

    Returns:
        `sample_id`, `dataset`, `subject`, `person`; `softmax_<class>` (probabilities, float64) and
        `softmax` (predicted class name); for each head `<name>_<class>` (scores, float64) and
        `<name>`. Rows are in the order of `table`. True labels are not in it: they join by
        `sample_id` once the model is fixed. Without a batch, the first four columns and no row.

    Raises:
        MerError: If a position is missing, repeated, outside the table or not expected, or a score
            is not a number.
    """
    if not outputs and expected is not None and not len(expected):
        return table[list(WHO)].iloc[:0].reset_index(drop=True)
    index = _stack(outputs, "index").astype(np.int64)
    logits = _stack(outputs, "logits")
    keys = [key for key in outputs[0] if key.endswith(SCORES)]
    heads = {key.removesuffix(SCORES): _stack(outputs, key) for key in keys}
    _check(index, {"softmax": logits, **heads}, table, expected)
    order = np.argsort(index)
    probabilities = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    columns: dict[str, NDArray[Any]] = {}
    for head, values in {"softmax": probabilities, **heads}.items():
        values = values[order]
        columns |= {f"{head}_{name}": values[:, k] for k, name in enumerate(classes)}
        columns[head] = np.asarray(classes, dtype=object)[values.argmax(axis=1)]
    who = table[list(WHO)].iloc[index[order]].reset_index(drop=True)
    return pd.concat([who, pd.DataFrame(columns)], axis=1)


def _stack(outputs: Sequence[Mapping[str, torch.Tensor]], key: str) -> NDArray[np.float64]:
    return np.concatenate([batch[key].detach().cpu().double().numpy() for batch in outputs])


def _check(
    index: NDArray[np.int64],
    scores: Mapping[str, NDArray[np.float64]],
    table: pd.DataFrame,
    expected: Sequence[int] | NDArray[np.int64] | None,
) -> None:
    found, counts = np.unique(index, return_counts=True)
    outside = found[(found < 0) | (found >= len(table))]
    groups = {"predicted more than once": found[counts > 1], "outside the table": outside}
    if expected is not None:
        groups["not predicted"] = np.setdiff1d(expected, found)
        groups["predicted but not asked for"] = np.setdiff1d(np.setdiff1d(found, expected), outside)
    problems = [
        f"{len(positions)} samples {what}, at positions {', '.join(map(str, positions[:5]))}"
        for what, positions in groups.items()
        if len(positions)
    ]
    for head, values in scores.items():
        if bad := int(np.isnan(values).any(axis=1).sum()):
            problems.append(
                f"{bad} samples have a {head} score that is not a number: the training diverged; "
                "lower optimizer.lr"
            )
    raise_all("The predictions cannot be used:", problems)
