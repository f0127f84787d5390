"""Which folds a process carries out, and that the first ones resemble the whole."""

import pandas as pd
import pytest

from mer.errors import MerError
from mer.protocols import Fold
from mer.runs.fold_order import running_order, select_folds

FOLDS = [Fold(name, ("x",), (), tuple(name)) for name in ("abc", "de", "f")]


def test_the_fold_that_brings_the_mix_closest_to_the_whole_comes_first() -> None:
    label = pd.Series({"a": "p", "b": "p", "c": "p", "d": "p", "e": "n", "f": "n"})
    table = pd.DataFrame({"sample_id": label.index, "dataset": "smic", "label": label.to_numpy()})
    # The whole is 4 p to 2 n. abc is 2/3 away from it in shares, de 1/3, f 4/3; after de, abc
    # makes 4 p to 1 n (4/15 away) and f 1 p to 2 n (2/3).
    assert [fold.name for fold in running_order(FOLDS, table)] == ["de", "abc", "f"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (None, ["abc", "de", "f"]),
        ("1/2", ["abc", "f"]),
        ("2/2", ["de"]),
        ("f", ["f"]),
        (["f", "abc"], ["f", "abc"]),
    ],
)
def test_a_share_a_name_or_a_list_of_names(wanted: str | list[str] | None, names: list) -> None:
    assert [fold.name for fold in select_folds(FOLDS, wanted)] == names


@pytest.mark.parametrize("wanted", ["0/2", "3/2", "g", ["abc", "h"]])
def test_what_is_not_there_is_named(wanted: str | list[str]) -> None:
    with pytest.raises(MerError, match=r"names no fold and no share: .*out of: abc, de, f"):
        select_folds(FOLDS, wanted)
