"""The synthetic composite on disk, read back: the official counts of MEGC 2019, by person."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer import datasets
from mer.datasets import labels
from mer.synthetic import camera, generate
from mer.synthetic.plan import Clip

CLASSES = ["negative", "positive", "surprise"]

#: Of See et al., MEGC 2019, and of the challenge's list: negative, positive, surprise.
OFFICIAL = {"casme2": (88, 32, 25), "samm": (92, 26, 15), "smic": (70, 51, 43)}

#: A few persons, copied from the list by hand, small and large.
PERSONS = {
    "casme2/sub17": (23, 7, 1),
    "casme2/sub08": (1, 0, 0),
    "samm/011": (13, 7, 0),
    "samm/019": (0, 1, 0),
    "smic/s03": (22, 11, 6),
    "smic/s19": (0, 1, 1),
}


def blank_film(clip: Clip, seed: int) -> Iterator[np.ndarray]:
    """Tiny pictures in place of faces: readers look at names and numbers alone."""
    for _ in clip.frames:
        yield np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize("painted", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_reading_gives_the_official_counts(
    painted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not painted:
        monkeypatch.setattr(camera, "film", blank_film)
    roots = generate("megc2019", tmp_path, workers=2 if painted else 1)
    tables = []
    for name in OFFICIAL:
        reading = datasets.read(name, roots[name])
        tables.append(labels.apply(reading.table, "megc2019").table)
        assert (reading.table["onset"] <= reading.table["apex"]).all()
    table = pd.concat(tables)
    counts = pd.crosstab(table["dataset"], table["label"])[CLASSES]
    assert {name: tuple(counts.loc[name]) for name in OFFICIAL} == OFFICIAL
    assert len(table) == 442  # 145 + 133 + 164
    assert table["person"].nunique() == 68  # 24 + 28 + 16
    persons = pd.crosstab(table["person"], table["label"])[CLASSES]
    assert {name: tuple(persons.loc[name]) for name in PERSONS} == PERSONS
    assert labels.check_counts(table, "megc2019", list(OFFICIAL)) == []
