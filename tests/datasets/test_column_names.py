"""Tables whose columns have other names than those of the index table."""

import shlex
from pathlib import Path

import pandas as pd
import pytest

from mer import datasets
from mer.config.composition import compose
from mer.datasets.readers import column_names
from mer.errors import MerError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in ["a0.png", "a1.png"]:
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("subject,emotion,onset,apex_path", "onset_path: onset"),
        ("person,label,onset,apex", "subject: person, apex_path: apex, onset_path: onset"),
        (
            "sbject,emotion,start_file,Apex",
            "subject: sbject, apex_path: Apex, onset_path: start_file",
        ),
        ("sub,class,First One,apex_path", 'subject: sub, emotion: class, onset_path: "First One"'),
    ],
)
def test_columns_of_another_name_are_named_with_the_word_that_reads_them(
    pictures: Path, header: str, columns: str
) -> None:
    path = pictures / "mine.csv"
    path.write_text(f"{header}\np1,fear,a0.png,a1.png\n")
    with pytest.raises(MerError) as error:
        datasets.read("table", path, name="mine", role="micro")
    message = str(error.value)
    assert f"'++data.micro.mine.columns={{{columns}}}'" in message
    for ours, theirs in (pair.split(": ") for pair in columns.replace('"', "").split(", ")):
        assert f"`{theirs}` " in message and f"looks like {ours}" in message
    # The word means what it says, to Hydra and to the reader.
    word = shlex.split(message[message.index("'++") : message.index("\n")])[0]
    config = compose(["data=mine", word])
    table, _ = datasets.read("table", path, columns=dict(config.data.micro.mine.columns))
    assert table["apex_path"].tolist() == [str(pictures / "a1.png")]
    assert table["onset_path"].tolist() == [str(pictures / "a0.png")]


def test_other_unknown_columns_are_only_remarked(pictures: Path) -> None:
    path = pictures / "mine.csv"
    path.write_text("subject,emotion,apex_path,thumbnail,strt\np1,fear,a1.png,a0.png,7\n")
    [remark] = datasets.read("table", path).remarks
    assert remark.reason == "columns not known: thumbnail, strt"


def test_a_column_of_pictures_is_only_taken_for_a_path() -> None:
    cells = pd.DataFrame({"apex": ["12", ""], "person": ["a.png", "b.png"], "sub": ["", ""]})
    assert column_names.guess(cells, ["subject", "apex_path"], cells) == {"subject": "sub"}
