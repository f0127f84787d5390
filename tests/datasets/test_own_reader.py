"""A reader of one's own: any function that gives an index table, checked as it comes in."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mer import datasets
from mer.config.settings import Settings
from mer.data import sources
from mer.datasets.index import Reading, Remark, make_table
from mer.errors import MerError


def rows(root: Path, count: int = 2) -> list[dict[str, Any]]:
    return [
        {
            "sample_id": f"mine/p{number}/clip",
            "dataset": "mine",
            "subject": f"mine/p{number}",
            "clip": "clip",
            "role": "micro",
            "emotion": "surprise",
            "apex_path": str(root / "a.png"),
        }
        for number in range(count)
    ]


def index(root: Path, count: int = 2) -> Reading:
    return Reading(make_table(rows(root, count)), [Remark("p9", "dropped", "no clip")])


def of_objects(root: Path) -> Reading:
    return Reading(make_table(rows(root)).astype({"emotion": object, "onset": "float64"}), [])


def incomplete(root: Path) -> Reading:
    return Reading(make_table(rows(root)).drop(columns=["fps", "clip"]), [])


def without_prefix(root: Path) -> Reading:
    table = make_table(rows(root))
    return Reading(table.assign(subject=table["clip"]), [])


def nothing(root: Path) -> None:
    return None


def empty(root: Path) -> Reading:
    return Reading(make_table(rows(root)).iloc[:0], [])


def test_a_function_reads_as_a_name_does(tmp_path: Path) -> None:
    table, remarks = datasets.read(index, tmp_path, count=3)
    assert table["person"].tolist() == ["mine/p0", "mine/p1", "mine/p2"]
    assert remarks[0] == ("p9", "dropped", "no clip", 1)
    assert {remark.action for remark in remarks[1:]} == {"repeated"}  # all have one picture
    people = tmp_path / "people.csv"
    people.write_text("subject,person\np1,one\nmine/p0,one\n")
    table, _ = datasets.read(index, tmp_path, persons=str(people))
    assert table["person"].tolist() == ["one", "one"]


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (of_objects, "`emotion` is object, expected str\n.*`onset` is float64, expected Int64"),
        (incomplete, "`clip` is missing\n.*`fps` is missing"),
        (without_prefix, r"`subject` does not begin with the dataset's name and /: mine/p0/clip"),
        (nothing, "nothing returned NoneType, expected a Reading"),
        (empty, "gave a table of no row"),
    ],
)
def test_what_a_reader_gives_is_checked(reader: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(MerError, match=message):
        datasets.read(reader, tmp_path)


def test_options_are_those_of_the_function(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="option `session` is not known; known are: count, persons"):
        datasets.read(index, tmp_path, session=1)


def settings_of(folder: Path, **micro: dict[str, Any]) -> Settings:
    return Settings(data={"name": "own", "root": str(folder), "micro": micro, "macro": {}})


def test_a_node_names_the_function_beside_root(tmp_path: Path) -> None:
    node = {"root": "mine", "_target_": f"{__name__}.index", "count": 4}
    (source,) = sources.read(settings_of(tmp_path, mine=node), "micro")["micro"]
    assert source.name == "mine"
    table: pd.DataFrame = source.reading.table
    assert table["apex_path"].unique().tolist() == [str(tmp_path / "mine" / "a.png")]
    assert len(table) == 4


def test_all_datasets_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    target = f"{__name__}.index"
    with pytest.raises(MerError) as refused:
        sources.read(
            settings_of(
                tmp_path,
                a={"_target_": target},
                b={"root": "b", "_target_": target, "reader": "samm"},
                c={"root": "c"},
                d={"root": "d", "_target_": "nolab.index"},
            ),
            "micro",
        )
    shown = str(refused.value)
    assert f"data.micro.a: set root, the dataset's folder below {tmp_path}" in shown
    assert f"data.micro.b: reader=samm and _target_={target} both name a reader" in shown
    assert "data.micro.c: there is no dataset reader `c`" in shown
    assert "data.micro.d: _target_=nolab.index: there is no package nolab" in shown


def test_options_of_another_type_are_named(tmp_path: Path) -> None:
    with pytest.raises(MerError) as error:
        datasets.read("table", tmp_path, classes=3, columns=["subject"], role="micro")
    assert str(error.value).splitlines() == [
        "Reader table:",
        "  - classes is 3; set a list or a mapping",
        "  - columns is ['subject']; set a mapping",
    ]
