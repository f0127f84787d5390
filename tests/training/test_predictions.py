"""From predicted batches to a table: rows join by position, and nothing is lost or doubled."""

import numpy as np
import pandas as pd
import pytest
import torch

from mer.errors import MerError
from mer.training.predictions import to_frame


def outputs_of(*positions: int, **changes: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """One batch whose sample at position i prefers class i modulo 2 with odds 3 to 1."""
    index = torch.tensor(positions)
    logits = torch.nn.functional.one_hot(index % 2, 2) * np.log(3.0)
    return [{"index": index, "logits": logits.float(), **changes}]


def test_rows_join_by_position() -> None:
    table = pd.DataFrame(
        {"sample_id": list("abcd"), "dataset": "x", "subject": list("stuv"), "person": list("STUV")}
    )
    frame = to_frame(outputs_of(3, 0, 2), table, ["no", "yes"])
    assert frame["sample_id"].tolist() == ["a", "c", "d"]
    assert frame["person"].tolist() == ["S", "U", "V"]
    assert frame["softmax"].tolist() == ["no", "no", "yes"]
    assert frame["softmax_yes"].tolist() == pytest.approx([0.25, 0.25, 0.75])


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ((0, 1, 1), "1 samples predicted more than once, at positions 1"),
        ((0, 2), "1 samples not predicted, at positions 1"),
        ((0, 1, 2, 3), "1 samples predicted but not asked for, at positions 3"),
        ((0, 1, 2, 7), "1 samples outside the table, at positions 7"),
    ],
)
def test_positions_that_do_not_match(positions: tuple[int, ...], message: str) -> None:
    table = pd.DataFrame(
        {name: list("abcd") for name in ("sample_id", "dataset", "subject", "person")}
    )
    with pytest.raises(MerError, match=message):
        to_frame(outputs_of(*positions), table, ["no", "yes"], expected=[0, 1, 2])


def test_scores_that_are_no_numbers() -> None:
    table = pd.DataFrame(
        {name: list("ab") for name in ("sample_id", "dataset", "subject", "person")}
    )
    bad = outputs_of(0, 1, svm_scores=torch.tensor([[0.0, float("nan")], [1.0, -torch.inf]]))
    with pytest.raises(MerError, match="1 samples have a svm score that is not a number"):
        to_frame(bad, table, ["no", "yes"])
