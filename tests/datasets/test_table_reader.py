from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer import datasets
from mer.datasets import labels
from mer.errors import MerError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in ["a0.png", "a1.png", "b1.png"]:
        (tmp_path / name).touch()
    return tmp_path


def csv(folder: Path, text: str) -> Path:
    path = folder / "samples.csv"
    path.write_text(text)
    return path


def test_a_csv_of_pictures(pictures: Path) -> None:
    path = csv(
        pictures,
        "subject,clip,emotion,onset_path,apex_path,onset,apex,offset,fps,weather\n"
        "007,c1,Happy,a0.png,a1.png,10,15,30,29.97,sunny\n"
        "008,c2,Others,,b1.png,,,,,rain\n",
    )
    table, remarks = datasets.read("table", path, name="mine")
    assert table["sample_id"].tolist() == ["mine/007/c1", "mine/008/c2"]
    assert table["subject"].tolist() == ["mine/007", "mine/008"]  # text keeps its zeros
    assert table["emotion"].tolist() == ["happiness", "other"]
    assert table["onset_path"][0] == str(pictures / "a0.png")
    assert pd.isna(table["onset_path"][1])
    assert table["apex"].tolist() == [15, pd.NA]
    assert table["fps"][0] == 29.97
    assert set(table["role"]) == {"micro"}
    assert remarks == [(str(path), "ignored", "columns not known: weather", 0)]


def test_a_header_alone_and_a_table_named_as_the_folder_are_told(tmp_path: Path) -> None:
    path = csv(tmp_path, "subject,emotion,onset_path,apex_path\n")
    with pytest.raises(MerError, match=r"samples.csv has no row below its header"):
        datasets.read("table", path)
    typed = f"data.root={tmp_path} data.micro.mine.root=samples.csv"
    with pytest.raises(
        MerError, match=f"samples.csv is a file, and data.root a folder; type {typed}"
    ):
        datasets.read("table", path / "mine.csv", name="mine")


def test_words_of_a_table_that_are_no_classes_get_a_meaning(pictures: Path) -> None:
    path = csv(pictures, "subject,emotion,onset_path,apex_path\n1,neg,a0.png,a1.png\n")
    table = datasets.read("table", path, name="mine").table
    with pytest.raises(MerError, match="its classes are negative, positive, surprise") as refused:
        labels.apply(table, "megc2019")
    assert "'++data.micro.mine.classes={WORD: negative, ...}'" in str(refused.value)
    table = datasets.read("table", path, name="mine", classes={"neg": "negative"}).table
    assert labels.apply(table, "megc2019").table["label"].tolist() == ["negative"]


def test_other_column_names_codes_and_a_folder_of_pictures(tmp_path: Path) -> None:
    # The columns of HTNet's list; SAMM's subject unpadded as in the official list.
    crops = tmp_path / "crops"
    crops.mkdir()
    for name in ["sub01_EP02_01f.jpg", "6_006_1_2.jpg", "s01_s1_ne_01.jpg"]:
        (crops / name).touch()
    path = csv(
        tmp_path,
        "dataset,sub,filename_o,label,imagename\n"
        "casme2,sub01,EP02_01f,1,sub01_EP02_01f.jpg\n"
        "samm,6,006_1_2,0,6_006_1_2.jpg\n"
        "SMIC,s1,s1_ne_01,0,s01_s1_ne_01.jpg\n"
        "smic,s01,s01_ne_02,2,absent.jpg\n",
    )
    table, remarks = datasets.read(
        "table",
        path,
        columns={"subject": "sub", "clip": "filename_o", "apex_path": "imagename"},
        classes={0: "negative", 1: "positive", 2: "surprise"},
        folder="crops",
    )
    assert table["sample_id"].tolist() == [
        "casme2/sub01/EP02_01f",
        "samm/006/006_1_2",
        "smic/s01/s01_ne_01",
    ]
    assert table["subject"].tolist() == ["casme2/sub01", "samm/006", "smic/s01"]
    assert table["emotion"].tolist() == ["positive", "negative", "negative"]
    assert table["apex_path"][0] == str(crops / "sub01_EP02_01f.jpg")
    assert [(remark.item, remark.action) for remark in remarks] == [
        ("smic/s01/s01_ne_02", "dropped")
    ]
    assert "there is no file" in remarks[0].reason
    assert len(labels.apply(table, "megc2019").table) == 3


def test_parquet_with_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "flow.npy", np.zeros((2, 3, 8, 8), np.float16))
    frame = pd.DataFrame(
        {
            "sample_id": ["own/1/x", "own/2/y"],
            "dataset": "own",
            "subject": [1, 2],
            "emotion": ["fear", "anger"],
            "array_path": "flow.npy",
            "array_row": [1, 0],
            "apex": [4.0, None],
        }
    )
    frame.to_parquet(tmp_path / "list.parquet")
    table, _ = datasets.read("table", tmp_path / "list.parquet", role="macro", array_kind="flow")
    assert table["clip"].tolist() == ["x", "y"]
    assert table["subject"].tolist() == ["own/1", "own/2"]
    assert table["array_row"].tolist() == [1, 0]
    assert table["array_path"].tolist() == [str(tmp_path / "flow.npy")] * 2
    assert table["array_kind"].tolist() == ["flow", "flow"]
    assert table["apex"].tolist() == [4, pd.NA]
    assert set(table["role"]) == {"macro"}


def test_a_mapped_column_is_not_read_under_its_own_name_too(pictures: Path) -> None:
    """`apex` holds a file here, and not the number of the apex frame."""
    path = csv(pictures, "subject,emotion,apex\na,positive,a1.png\n")
    table, remarks = datasets.read("table", path, name="own", columns={"apex_path": "apex"})
    assert table["apex_path"].tolist() == [str(pictures / "a1.png")]
    assert remarks == []


def test_missing_columns_are_reported_together_with_those_found(pictures: Path) -> None:
    path = csv(pictures, "person_name,mood\nx,y\n")
    with pytest.raises(MerError) as error:
        datasets.read("table", path, columns={"emotion": "feeling", "colour": "mood"})
    message = str(error.value)
    assert "columns found: person_name, mood" in message
    assert "column subject is missing" in message
    assert "apex_path, or array_path and array_row is missing" in message
    assert "`columns.emotion=feeling`: the file has no such column" in message
    assert "`columns.colour`: the index table has no such column" in message


def test_codes_need_their_meaning(pictures: Path) -> None:
    path = csv(pictures, "subject,clip,label,apex_path\n1,c,0,a1.png\n2,d,3,b1.png\n")
    with pytest.raises(MerError, match=r"the codes 0, 3\. Say what they mean.*classes"):
        datasets.read("table", path)
    with pytest.raises(MerError, match=r"`classes` gives 7, 8, but the file has '0', '3'"):
        datasets.read("table", path, classes={7: "negative", 8: "positive"})
    table, remarks = datasets.read("table", path, classes=["negative", "positive"])
    assert table["sample_id"].tolist() == ["table/1/c"]
    assert remarks == [
        ("table/2/d", "dropped", "row 2 of samples.csv: `3` is not in `classes`: 0, 1", 1)
    ]


def test_faulty_rows_are_dropped_one_by_one(pictures: Path) -> None:
    path = csv(
        pictures,
        "subject,clip,emotion,apex_path,onset,apex,offset,fps,role\n"
        "1,good,fear,a1.png,,5,,,\n"
        "1,good,fear,a1.png,,5,,,\n"
        "1,number,fear,a1.png,,five,,,\n"
        ",nobody,fear,a1.png,,5,,,\n"
        "1,mute,,a1.png,,5,,,\n"
        "1,blind,fear,,,5,,,\n"
        "1,infinite,fear,a1.png,,inf,,,\n"
        "1,huge,fear,a1.png,,9223372036854775808,,,\n"
        "1,stopped,fear,a1.png,,5,,0,\n"
        "1,swapped,fear,a1.png,9,5,,,\n"
        "1,late,fear,a1.png,1,5,4,,\n"
        "1,meso,fear,a1.png,,5,,,meso\n"
        "1,long,fear,a1.png,,5,,,,,much\n"
        f"1,name,fear,{'x' * 300},,5,,,\n"
        "1,home,fear,~nobody-of-this-name/a.png,,5,,,\n",
    )
    table, remarks = datasets.read("table", path)
    assert table["sample_id"].tolist() == ["table/1/good"]
    expected = [
        (2, "a second row of the same sample"),
        (3, "`apex` is `five`, a whole number of 0 or more is expected"),
        (4, "without subject"),
        (5, "without emotion"),
        (6, "neither apex_path nor array_path"),
        (7, "`apex` is `inf`, a whole number of 0 or more is expected"),
        (8, "`apex` is `9223372036854775808`, a whole number of 0 or more is expected"),
        (9, "`fps` is `0`, a number above 0 is expected"),
        (10, "the onset 9 comes after the apex 5: are they swapped?"),
        (11, "the apex 5 comes after the offset 4: are they swapped?"),
        (12, "`role` is `meso`, expected is one of micro, macro"),
        (13, "11 cells, the header names 9 columns"),
        (14, f"`apex_path`: there is no file {'x' * 200} in {pictures}"),
        (15, f"`apex_path`: there is no file ~nobody-of-this-name/a.png in {pictures}"),
    ]
    assert [remark.reason for remark in remarks] == [
        f"row {number} of samples.csv: {reason}" for number, reason in expected
    ]
    assert [remark.item for remark in remarks[:3]] == ["table/1/good", "table/1/number", str(path)]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_four_columns_are_enough(pictures: Path, separator: str, encoding: str) -> None:
    lines = ["subject,emotion,onset_path,apex_path", "Zoë,Happy,a0.png,a1.png", "", ",,,"]
    lines += ["006,Surprise,,a0.png", "6,positive,,b1.png"]
    path = pictures / "samples.csv"
    path.write_text("\r\n".join(lines).replace(",", separator), encoding=encoding)
    table, remarks = datasets.read("table", path, name="mine")
    # The rows count without blank ones; 006 and 6 are two subjects and one person.
    assert table["sample_id"].tolist() == ["mine/006/2", "mine/6/3", "mine/Zoë/1"]
    assert table["person"].tolist() == ["mine/006", "mine/006", "mine/Zoë"]
    assert remarks == [
        (
            "mine/006",
            "mended",
            "taken for the same person as mine/6; if they are not, add a column `person`",
            1,
        )
    ]
    assert labels.apply(table, "megc2019").table["label"].tolist() == [
        "surprise",
        "positive",
    ]


def test_a_column_of_persons_keeps_6_and_006_apart(pictures: Path) -> None:
    path = csv(
        pictures, "subject,person,emotion,apex_path\n006,ann,fear,a1.png\n6,bob,fear,b1.png\n"
    )
    table, _ = datasets.read("table", path)
    assert table["person"].tolist() == ["ann", "bob"]


def test_a_column_has_one_meaning(pictures: Path) -> None:
    path = csv(pictures, "participant,emotion,apex\np1,fear,a1.png\n")
    # The file's `apex` is a path here, and no frame number as well.
    table, _ = datasets.read("table", path, columns={"subject": "participant", "apex_path": "apex"})
    assert table["apex_path"].tolist() == [str(pictures / "a1.png")]
    assert table["apex"].isna().all()
    twice = {"subject": "participant", "apex_path": "apex", "onset_path": "apex"}
    with pytest.raises(MerError, match="`apex` is named for apex_path and for onset_path"):
        datasets.read("table", path, columns=twice)


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ("a0.png,a1.png,,", True),
        ("a1.png,a0.png,,", False),  # numbered after the apex
        ("a1.png,a0.png,3,7", True),  # the columns say that these are no frame numbers
        ("a1.png,a0.png,0,1", False),  # the columns say that the pictures are swapped
        ("b1.png,a0.png,,", True),  # not of one series
    ],
)
def test_swapped_pictures_are_dropped(pictures: Path, row: str, kept: bool) -> None:
    path = csv(
        pictures,
        "subject,emotion,onset_path,apex_path,onset,apex\n"
        f"p1,fear,a0.png,a1.png,,\np2,fear,{row}\n",
    )
    table, remarks = datasets.read("table", path)
    assert table["subject"].tolist() == ["table/p1", *["table/p2"] * kept]
    dropped = [remark for remark in remarks if remark.action == "dropped"]
    assert ["swapped" in remark.reason for remark in dropped] == [True] * (not kept)


def test_a_table_whose_paths_all_miss_names_the_option(pictures: Path) -> None:
    path = csv(pictures, "subject,clip,emotion,apex_path\n1,c,fear,elsewhere/a1.png\n")
    with pytest.raises(MerError, match=r"(?s)Set `folder` if paths begin elsewhere than"):
        datasets.read("table", path)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "list.txt").touch()
    (tmp_path / "list.parquet").write_text("no parquet")
    with pytest.raises(MerError, match=r"the ending is not one of \.csv, \.tsv, \.parquet"):
        datasets.read("table", tmp_path / "list.txt")
    with pytest.raises(MerError, match=r"list\.parquet cannot be read as a table"):
        datasets.read("table", tmp_path / "list.parquet")
    with pytest.raises(MerError, match="is no file"):
        datasets.read("table", tmp_path)


def test_a_picture_that_two_rows_name_is_a_remark(pictures: Path) -> None:
    path = csv(
        pictures,
        "subject,clip,emotion,apex_path\ns1,c1,happy,a0.png\ns1,c2,fear,a1.png\ns2,c1,fear,a0.png\n",
    )
    [remark] = datasets.read("table", path, name="mine").remarks
    assert (remark.item, remark.action) == ("mine/s2/c1", "repeated")
    assert remark.reason == f"has the picture of mine/s1/c1: {pictures / 'a0.png'}"


def test_a_clip_whose_apex_is_its_onset_is_a_remark(pictures: Path) -> None:
    path = csv(
        pictures,
        "subject,clip,emotion,onset_path,apex_path\n"
        "s1,c1,happy,a0.png,a1.png\ns1,c2,happy,b1.png,b1.png\n",
    )
    table, [remark] = datasets.read("table", path, name="mine")
    assert len(table) == 2
    assert (remark.item, remark.action) == ("mine/s1/c2", "repeated")
    assert remark.reason == f"its apex is its onset, no motion: {pictures / 'b1.png'}"
