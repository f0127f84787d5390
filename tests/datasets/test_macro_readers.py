"""CK+, CK+48, Oulu-CASIA and MUG on tiny look-alike trees of empty files."""

from pathlib import Path

import pytest

from mer import datasets
from mer.datasets import labels
from mer.errors import MerError


def put(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def ckplus(tmp_path: Path) -> Path:
    root = tmp_path / "CK+"
    images = root / "extended-cohn-kanade-images" / "cohn-kanade-images"
    emotion, facs = root / "Emotion_labels" / "Emotion", root / "FACS_labels" / "FACS"
    for sequence, last in [("S005/001", 11), ("S010/002", 14), ("S010/003", 9), ("S011/001", 5)]:
        for number in range(1, last + 1):
            put(images / sequence / f"{sequence.replace('/', '_')}_{number:08d}.png")
    put(images / "S005" / "001" / ".DS_Store")
    put(emotion / "S005/001/S005_001_00000011_emotion.txt", "   3.0000000e+00\n")
    put(emotion / "S010/002/S010_002_00000014_emotion.txt", "   7.0000000e+00\n")
    (emotion / "S010" / "003").mkdir()  # empty folder: no label; S011 has no folder at all
    put(
        facs / "S005/001/S005_001_00000011_facs.txt",
        "   9.0000000e+00   5.0000000e+00\n   4.0000000e+00   0.0000000e+00\n  odd line\n",
    )
    return root


def test_ckplus(ckplus: Path) -> None:
    table, remarks = datasets.read("ckplus", ckplus)
    assert table["sample_id"].tolist() == ["ckplus/S005/001", "ckplus/S010/002"]
    assert table["emotion"].tolist() == ["disgust", "surprise"]
    # Unit 4 without intensity, unit 9 with 5 = E.
    assert table["action_units"].tolist() == ["4+9E", ""]
    assert table["onset"].tolist() == [1, 1]
    assert table["apex"].tolist() == [11, 14]
    assert set(table["apex_source"]) == {"last"}
    assert set(table["role"]) == {"macro"}
    assert table["fps"].isna().all()
    assert table["onset_path"][0].endswith("cohn-kanade-images/S005/001/S005_001_00000001.png")
    assert table["apex_path"][0].endswith("S005_001_00000011.png")
    assert ("ckplus", "dropped", "sequences without emotion file", 2) in remarks
    assert any("`odd line`" in remark.reason for remark in remarks)


@pytest.mark.parametrize("text", ["nine", "  8.0000000e+00", "-1"])
def test_a_faulty_emotion_file_drops_its_sequence_only(ckplus: Path, text: str) -> None:
    emotion = ckplus / "Emotion_labels" / "Emotion" / "S010/002/S010_002_00000014_emotion.txt"
    emotion.write_text(text)
    table, remarks = datasets.read("ckplus", ckplus)
    assert table["sample_id"].tolist() == ["ckplus/S005/001"]
    reasons = {remark.item: remark.reason for remark in remarks}
    assert str(emotion) in reasons["ckplus/S010/002"]


def test_ckplus_without_labels(ckplus: Path) -> None:
    with pytest.raises(MerError, match=r"no emotion files in .*data\.macro\.ckplus\.root"):
        datasets.read("ckplus", ckplus / "extended-cohn-kanade-images")


def test_ck48(tmp_path: Path) -> None:
    for name in ["anger/S010_004_00000017.png", "anger/S010_004_00000018.png"]:
        put(tmp_path / "CK+48" / name)
    put(tmp_path / "CK+48" / "happy" / "S999_001_00000013.png")
    put(tmp_path / "CK+48" / "happy" / "cover.png")
    table, remarks = datasets.read("ck48", tmp_path)
    assert table["sample_id"].tolist() == [
        "ck48/S010/S010_004_00000017",
        "ck48/S010/S010_004_00000018",
        "ck48/S999/S999_001_00000013",
    ]
    assert table["emotion"].tolist() == ["anger", "anger", "happiness"]
    assert table["onset_path"].isna().all()
    assert table["apex"].tolist() == [17, 18, 13]
    # The same people as in CK+: folds must not part them when both are used.
    assert table["person"].tolist() == ["ckplus/S010", "ckplus/S010", "ckplus/S999"]
    assert [remark.item for remark in remarks] == [str(tmp_path / "CK+48" / "happy" / "cover.png")]


@pytest.mark.parametrize("above", ["B_OriginalImg/OriginalImg", "OriginalImg", "."])
def test_oulu_casia(tmp_path: Path, above: str) -> None:
    for place in ["VL/Strong", "VL/Weak", "NI/Strong"]:
        for number in range(18):
            put(tmp_path / above / place / "P012" / "Anger" / f"{number:03d}.jpeg")
    put(tmp_path / above / "VL" / "Strong" / "P012" / "Notes" / "000.jpeg")
    table, remarks = datasets.read("oulu_casia", tmp_path)
    assert table["sample_id"].tolist() == ["oulu_casia/P012/Anger"]
    row = table.iloc[0]
    assert (row["emotion"], row["fps"], row["onset"], row["apex"]) == ("anger", 25.0, 0, 17)
    assert row["apex_path"].endswith("VL/Strong/P012/Anger/017.jpeg")
    assert [remark.item for remark in remarks] == ["oulu_casia/P012/Notes"]
    infrared, _ = datasets.read("oulu_casia", tmp_path, spectrum="NI")
    assert infrared["apex_path"][0].endswith("NI/Strong/P012/Anger/017.jpeg")
    with pytest.raises(MerError, match="no sequences of VL/Dark"):
        datasets.read("oulu_casia", tmp_path, light="Dark")
    with pytest.raises(MerError, match=r"(?s)spectrum=UV` is not one of VL, NI.*light=dim` is not"):
        datasets.read("oulu_casia", tmp_path, spectrum="UV", light="dim")


def test_oulu_casia_cropped(tmp_path: Path) -> None:
    for tree in ["OriginalImg/VL", "PreProcess/VL_Acropped"]:
        for number in range(3):
            put(tmp_path / tree / "Strong" / "P001" / "Fear" / f"{number:03d}.jpeg")
    raw, _ = datasets.read("oulu_casia", tmp_path)
    cropped, _ = datasets.read("oulu_casia", tmp_path, tree="cropped")
    assert "OriginalImg" in raw["apex_path"][0]
    assert "VL_Acropped" in cropped["apex_path"][0]


def test_mug(tmp_path: Path) -> None:
    subject = tmp_path / "MUG" / "subjects3" / "001"
    for take, first, last in [("anger/take000", 3, 62), ("neutral/take001", 0, 40)]:
        for number in range(first, last + 1):
            put(subject / take / f"img_{number:04d}.jpg")
    put(subject / "anger" / "take000_end" / "img_0000.jpg")
    put(subject / "session0" / "take000" / "img_0000.jpg")
    put(subject / "anger" / "take002" / "img_0000.jpg")
    table, remarks = datasets.read("mug", tmp_path)
    assert table["sample_id"].tolist() == ["mug/001/anger_take000", "mug/001/neutral_take001"]
    # 3 + (62 - 3) // 2 = 32, 0 + 40 // 2 = 20: a take ends neutral again.
    assert table["apex"].tolist() == [32, 20]
    assert set(table["apex_source"]) == {"midpoint"}
    assert set(table["fps"]) == {19.0}
    assert table["apex_path"][0].endswith("subjects3/001/anger/take000/img_0032.jpg")
    assert [remark.item for remark in remarks] == ["mug/001/anger_take002", "mug"]
    # The neutral takes are read; the label schemes have no class for them.
    labelled, _ = labels.apply(table, "macro-3")
    assert labelled["sample_id"].tolist() == ["mug/001/anger_take000"]


@pytest.mark.parametrize("reader", ["ckplus", "ck48", "oulu_casia", "mug"])
def test_an_empty_root_says_what_is_expected(tmp_path: Path, reader: str) -> None:
    with pytest.raises(MerError, match=rf"(?s)which holds nothing.*data\.macro\.{reader}\.root"):
        datasets.read(reader, tmp_path)
    with pytest.raises(MerError, match="does not exist"):
        datasets.read(reader, tmp_path / "absent")
