"""CASME II, SAMM and SMIC on tiny look-alike trees; the pictures are empty files."""

from collections.abc import Iterable
from pathlib import Path

import openpyxl
import pytest

from mer import datasets
from mer.errors import MerError

CASME2_HEADER = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None]
CASME2_HEADER += ["Action Units", "Estimated Emotion"]
SAMM_HEADER = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame"]
SAMM_HEADER += ["Offset Frame", "Duration", "Micro", "Action Units", "Estimated Emotion"]
SAMM_HEADER += ["Objective Classes", "Notes"]


def clip(folder: Path, pattern: str, numbers: Iterable[int]) -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        (folder / pattern.format(number)).touch()


def workbook(path: Path, rows: list) -> None:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


@pytest.fixture
def casme2(tmp_path: Path) -> Path:
    root = tmp_path / "CASME2"
    raw = root / "CASME2_RAW_selected" / "CASME2_RAW_selected"  # unzipped into its own name
    clip(raw / "sub01" / "EP02_01f", "img{}.jpg", range(46, 132))  # not padded: 131 after 46
    clip(raw / "sub04" / "EP12_01f", "img{}.jpg", range(261, 322))
    clip(raw / "sub04" / "EP99_99", "img{}.jpg", range(1, 9))  # no row
    (raw / "sub01" / "Desktop - Shortcut.lnk").touch()
    (raw / "sub01" / "EP02_01f" / "Thumbs.db").touch()
    clip(root / "Cropped" / "sub01" / "EP02_01f", "reg_img{}.jpg", range(46, 132))
    workbook(
        root / "CASME2-coding-20140508.xlsx",
        [
            CASME2_HEADER,
            ["01", "EP02_01f", None, 46, 59, 131, None, 12, "happiness"],
            ["04", "EP12_01f", None, 261, "/", 321, None, "4+L9", "disgust"],
            ["26", "EP18_50", None, 1, 9, 17, None, "?", "others"],  # no folder
            ["01", "EP02_01f", None, 46, 60, 131, None, 12, "happiness"],  # twice
        ],
    )
    return root


def test_casme2(casme2: Path) -> None:
    table, remarks = datasets.read("casme2", casme2)
    assert table["sample_id"].tolist() == ["casme2/sub01/EP02_01f", "casme2/sub04/EP12_01f"]
    first, second = table.to_dict("records")
    raw = casme2 / "CASME2_RAW_selected" / "CASME2_RAW_selected"
    assert (first["subject"], first["person"], first["clip"]) == (
        "casme2/sub01",
        "casme2/sub01",
        "EP02_01f",
    )
    assert (first["onset"], first["apex"], first["offset"]) == (46, 59, 131)
    assert (first["apex_source"], first["emotion"], first["action_units"]) == (
        "annotated",
        "happiness",
        "12",
    )
    assert (first["fps"], first["role"]) == (200.0, "micro")
    assert first["onset_path"] == str(raw / "sub01" / "EP02_01f" / "img46.jpg")
    assert first["apex_path"] == str(raw / "sub01" / "EP02_01f" / "img59.jpg")
    assert first["offset_path"] == str(raw / "sub01" / "EP02_01f" / "img131.jpg")
    # 261 + (321 - 261) // 2 = 291
    assert (second["apex"], second["apex_source"], second["action_units"]) == (
        291,
        "midpoint",
        "4+L9",
    )
    said = {(remark.item, remark.action): remark.reason for remark in remarks}
    assert said == {
        ("casme2/sub04/EP12_01f", "mended"): "apex missing replaced by the middle, 291",
        ("casme2/sub26/EP18_50", "dropped"): f"row 4: no folder of this clip in {raw}",
        ("casme2/sub01/EP02_01f", "dropped"): "row 5: a second row of the same clip",
        ("casme2/sub04/EP99_99", "dropped"): (
            "no row in CASME2-coding-20140508.xlsx names this folder"
        ),
    }


def test_casme2_cropped_and_the_subject_folders_as_root(casme2: Path) -> None:
    cropped, _ = datasets.read("casme2", casme2, tree="cropped")
    assert cropped["apex_path"].tolist() == [
        str(casme2 / "Cropped" / "sub01" / "EP02_01f" / "reg_img59.jpg")
    ]
    direct, _ = datasets.read("casme2", casme2 / "Cropped")  # the workbook lies above
    assert direct["apex_path"].tolist() == cropped["apex_path"].tolist()


def test_numeric_subjects_become_the_folders_names(casme2: Path) -> None:
    row = [1, "EP02_01f", None, 46, 59, 131, None, 12, "Happiness "]
    workbook(casme2 / "2019.xlsx", [CASME2_HEADER, row])
    table, _ = datasets.read("casme2", casme2, workbook="2019.xlsx")
    assert table["subject"].tolist() == ["casme2/sub01"]
    assert table["emotion"].tolist() == ["happiness"]


def test_everything_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "something").mkdir()
    with pytest.raises(MerError) as error:
        datasets.read("casme2", tmp_path)
    message = str(error.value)
    assert "no folders of clips" in message and "which holds something" in message
    assert "data.micro.casme2.root" in message and "sub01/EP02_01f/img46.jpg" in message
    assert "no annotation workbook" in message and "set `workbook`" in message
    with pytest.raises(MerError, match=r"absent does not exist \(.* holds something\)"):
        datasets.read("samm", tmp_path / "absent")


def test_a_tree_that_is_not_there(casme2: Path) -> None:
    with pytest.raises(
        MerError, match=r"`data\.micro\.casme2\.tree=row` is not one of raw, cropped"
    ):
        datasets.read("casme2", casme2, tree="row")
    with pytest.raises(MerError, match=r"only the cropped tree is there.*Set .*tree=cropped"):
        datasets.read("casme2", casme2 / "Cropped", tree="raw")


def test_pictures_of_another_release(casme2: Path) -> None:
    row = ["02", "EP01_11f", None, 46, 59, 91, None, 12, "others"]
    workbook(casme2 / "mine.xlsx", [CASME2_HEADER, row])
    with pytest.raises(MerError, match=r"none of the 1 rows of .*mine\.xlsx gives a sample"):
        datasets.read("casme2", casme2, workbook="mine.xlsx")


@pytest.fixture
def samm(tmp_path: Path) -> Path:
    root = tmp_path / "SAMM"
    clip(root / "006" / "006_1_2", "006_{:05d}.jpg", range(5562, 5633))
    clip(root / "028" / "028_4_1", "028_{:04d}.jpg", range(1071, 1141))
    clip(root / "013" / "013_1_9", "013_{:05d}.jpg", range(5690, 5740))
    workbook(
        root / "SAMM_Micro_FACS_Codes_v2.xlsx",
        [
            *[[f"Preamble {line}"] for line in range(13)],
            SAMM_HEADER,
            ["006", "006_1_2", 1, 5562, 5588, 5632, "=F15-D15+1", "Micro - 1/2", "T23", "Anger"],
            ["028", "028_4_1", 4, 1071, -1, 1140, 70, "Micro - 1/2", "L12 or L14", "Surprise"],
            ["013", "013_1_9", 1, 5690, 5710, 5793, 104, "Micro - 1/2", 14, "Other"],
            ["013", "013_1_1", 1, 5, 6, 7, 3, "Micro - 1/2", 14, "Other"],
        ],
    )
    return root


def test_samm(samm: Path) -> None:
    table, remarks = datasets.read("samm", samm)
    assert table["sample_id"].tolist() == [
        "samm/006/006_1_2",
        "samm/013/013_1_9",
        "samm/028/028_4_1",
    ]
    assert table["subject"].tolist() == ["samm/006", "samm/013", "samm/028"]
    assert table["emotion"].tolist() == ["anger", "other", "surprise"]
    assert table["action_units"].tolist() == ["T23", "14", "L12"]
    # Two widths of padding; 028_4_1 gets 1071 + (1140 - 1071) // 2 = 1105; 013_1_9 ends at 5739.
    assert table["apex"].tolist() == [5588, 5710, 1105]
    assert table["apex_source"].tolist() == ["annotated", "annotated", "midpoint"]
    assert table["offset"].tolist() == [5632, 5739, 1140]
    assert table["apex_path"][0] == str(samm / "006" / "006_1_2" / "006_05588.jpg")
    assert table["apex_path"][2] == str(samm / "028" / "028_4_1" / "028_1105.jpg")
    said = {remark.item: (remark.action, remark.reason) for remark in remarks}
    assert said["samm/013/013_1_9"][1].startswith("offset 5793 corrected to 5739")
    assert said["samm/028/028_4_1"] == (
        "mended",
        "apex missing replaced by the middle, 1105; "
        "action units `L12 or L14`: first of `L12 or L14` taken",
    )
    assert said["samm/013/013_1_1"][0] == "dropped"


@pytest.fixture
def smic(tmp_path: Path) -> Path:
    for tree, pattern in [("raw", "image{:06d}.bmp"), ("cropped", "reg_image{:06d}.bmp")]:
        root = tmp_path / f"SMIC_all_{tree}"
        for camera, last in [("HS", 110), ("VIS", 105)]:
            subject = root / camera / "s1"
            clip(subject / "micro" / "negative" / "s1_ne_01", pattern, range(101, last + 1))
            clip(subject / "non_micro" / "s1_nonmicro_01", pattern, range(1, 9))
        clip(root / "HS" / "s12" / "micro" / "surprise" / "s12_sur_03", pattern, [7, 8, 12])
    (tmp_path / "SMIC_all_cropped" / "readme.pdf").touch()
    return tmp_path


def test_smic(smic: Path) -> None:
    table, remarks = datasets.read("smic", smic)
    assert table["sample_id"].tolist() == ["smic/s01/s01_ne_01", "smic/s12/s12_sur_03"]
    assert table["clip"].tolist() == ["s1_ne_01", "s12_sur_03"]
    assert table["subject"].tolist() == ["smic/s01", "smic/s12"]
    assert table["emotion"].tolist() == ["negative", "surprise"]
    assert table["onset"].tolist() == [101, 7]
    assert table["offset"].tolist() == [110, 12]
    # 101 + (110 - 101) // 2 = 105; 7 + (12 - 7) // 2 = 9, of which 8 is the nearest on disk.
    assert table["apex"].tolist() == [105, 8]
    assert set(table["apex_source"]) == {"midpoint"}
    assert set(table["fps"]) == {100.0}
    assert table["apex_path"][0].endswith(
        "SMIC_all_raw/HS/s1/micro/negative/s1_ne_01/image000105.bmp"
    )
    assert remarks == []


def test_smic_camera_and_tree(smic: Path) -> None:
    table, _ = datasets.read("smic", smic, camera="vis", tree="cropped")
    assert table["apex_path"][0].endswith(
        "SMIC_all_cropped/VIS/s1/micro/negative/s1_ne_01/reg_image000103.bmp"
    )
    assert table["fps"].tolist() == [25.0]
    with pytest.raises(MerError, match=r"no clips of the camera NIR \(only HS, VIS\)"):
        datasets.read("smic", smic, camera="NIR")
    with pytest.raises(
        MerError, match=r"`data\.micro\.smic\.camera=HD` is not one of HS, VIS, NIR"
    ):
        datasets.read("smic", smic, camera="HD")


def test_smic_folder_and_prefix_are_compared(smic: Path) -> None:
    hs = smic / "SMIC_all_raw" / "HS" / "s1" / "micro"
    clip(hs / "positive" / "s1_sur_01", "image{}.bmp", [1, 2, 3])
    clip(hs / "positive" / "s2_po_01", "image{}.bmp", [1, 2, 3])
    clip(hs / "positive" / "s1_po_01", "image{}.bmp", [1])
    table, remarks = datasets.read("smic", smic)
    assert table.set_index("sample_id")["emotion"]["smic/s01/s01_sur_01"] == "positive"
    said = {remark.item: (remark.action, remark.reason) for remark in remarks}
    assert said["smic/s01/s01_sur_01"] == (
        "mended",
        "the name says `sur`, the folder `positive`, which is kept",
    )
    assert said["smic/s01/s02_po_01"][1].endswith("lies in the folder of another subject")
    assert said["smic/s01/s01_po_01"][1].endswith("holds fewer than two pictures")


def test_the_long_clips_of_smic_e_are_recognised(tmp_path: Path) -> None:
    clip(tmp_path / "HS_long" / "SMIC-HS-E" / "s03" / "s3_sur_01", "image{}.jpg", [1, 2, 3])
    with pytest.raises(MerError, match="those of SMIC-E"):
        datasets.read("smic", tmp_path)


def test_unknown_readers_and_options_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"no dataset reader `casme`; known are: casme2, samm, smic"):
        datasets.read("casme", tmp_path)
    with pytest.raises(MerError, match=r"option `kamera` is not known; known are: camera, tree"):
        datasets.read("smic", tmp_path, kamera="HS")


def test_options_that_are_none_take_their_default(smic: Path) -> None:
    table, _ = datasets.read("smic", smic, camera=None, tree=None)
    assert len(table) == 2


def test_persons_join_subjects(smic: Path, tmp_path: Path) -> None:
    path = tmp_path / "persons.csv"
    path.write_text("subject,person\nsmic/s01,anna\ns12,anna\nsmic/s05,bob\ncasme2/sub01,carl\n")
    table, remarks = datasets.read("smic", smic, persons=str(path))
    assert table["person"].tolist() == ["anna", "anna"]
    assert table["subject"].tolist() == ["smic/s01", "smic/s12"]
    # Subjects of other datasets are none of this reader's business.
    assert [remark.item for remark in remarks] == ["smic/s05"]
    path.write_text("sub,human\ns01,anna\n")
    with pytest.raises(
        MerError, match="columns subject, person are missing, found are: sub, human"
    ):
        datasets.read("smic", smic, persons=str(path))
    with pytest.raises(MerError, match="there is no file"):
        datasets.read("smic", smic, persons=str(tmp_path / "absent.csv"))
