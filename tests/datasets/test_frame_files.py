from pathlib import Path

import pytest

from mer.datasets.frame_files import frame_number, index_frames, nearest, resolve


def frames_of(*numbers: int) -> dict[int, Path]:
    return {number: Path(f"img{number}.jpg") for number in numbers}


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("img46.jpg", 46),
        ("reg_img131.jpg", 131),
        ("006_05562.jpg", 5562),  # SAMM, five digits, after the subject
        ("006_0180.jpg", 180),
        ("EP01_12-7.jpg", 7),  # CASME: the clip's name holds digits too
        ("S010_004_00000017.png", 17),
        ("cover.jpg", None),
    ],
)
def test_the_last_integer_is_the_frame(name: str, number: int | None) -> None:
    assert frame_number(Path(name)) == number


def test_only_pictures_are_indexed_in_rising_order(tmp_path: Path) -> None:
    for name in [
        "img131.jpg",
        "img46.jpg",
        "reg_img46.jpg",  # same number, longer name
        "img50.BMP",
        "Thumbs.db",
        "._img47.jpg",
        "img48.jpg.lnk",
        "img46 (1).jpg",
        "img47 - Copy.jpg",
        "face.jpg",
    ]:
        (tmp_path / name).touch()
    frames = index_frames(tmp_path)
    # As text 131 would come before 46.
    assert list(frames.items()) == [
        (46, tmp_path / "img46.jpg"),
        (50, tmp_path / "img50.BMP"),
        (131, tmp_path / "img131.jpg"),
    ]


def test_nearest_takes_the_earlier_of_two_and_minds_the_tolerance() -> None:
    frames = frames_of(10, 14, 30)
    assert nearest(frames, 12) == 10
    assert nearest(frames, 13) == 14
    assert nearest(frames, 22) is None  # 8 frames from 14 and 30
    assert nearest(frames, 22, tolerance=None) == 14


def test_a_clean_row_stays_as_it_is() -> None:
    span = resolve(frames_of(*range(46, 87)), 46, 59, 86)
    assert (span.onset, span.apex, span.offset) == (46, 59, 86)
    assert (span.apex_source, span.notes, span.failure) == ("annotated", [], "")


@pytest.mark.parametrize("apex", [None, 45, 87, 4000])
def test_an_apex_outside_the_clip_becomes_the_middle(apex: int | None) -> None:
    span = resolve(frames_of(*range(46, 87)), 46, apex, 86)
    assert span.apex == 66  # 46 + (86 - 46) // 2
    assert span.apex_source == "midpoint"
    assert "replaced by the middle, 66" in span.notes[0]


@pytest.mark.parametrize("apex", [46, 86])
def test_an_apex_on_a_border_is_annotated(apex: int | None) -> None:
    span = resolve(frames_of(*range(46, 87)), 46, apex, 86)
    assert (span.apex, span.apex_source) == (apex, "annotated")


def test_holes_are_bridged_within_the_tolerance() -> None:
    numbers = [n for n in range(46, 87) if n not in (46, 59)]
    span = resolve(frames_of(*numbers), 46, 59, 86)
    assert (span.onset, span.apex, span.offset) == (47, 58, 86)
    assert span.notes == ["onset 46 is not on disk, 47 taken", "apex 59 is not on disk, 58 taken"]


def test_half_a_copy_of_a_clip_gets_no_other_apex() -> None:
    # The pictures end at 70; the apex 80 lies inside the annotation and 10 frames from 70.
    span = resolve(frames_of(*range(46, 71)), 46, 80, 86)
    assert span.failure == "the apex 80 is not on disk and no picture lies near it"


def test_an_onset_that_no_picture_is_near_fails() -> None:
    span = resolve(frames_of(*range(1, 40)), 46, 59, 86)  # renumbered from 1
    assert span.failure == "the onset 46 is not among the pictures 1 to 39"


@pytest.mark.parametrize("offset", [None, 40, 46])
def test_a_faulty_offset_is_mended_from_a_trimmed_folder(offset: int | None) -> None:
    span = resolve(frames_of(*range(46, 87)), 46, 59, offset)
    assert (span.onset, span.apex, span.offset) == (46, 59, 86)
    assert "replaced by the last picture, 86" in span.notes[0]


def test_an_offset_before_the_apex_is_the_fault_when_the_folder_goes_on() -> None:
    span = resolve(frames_of(*range(46, 87)), 46, 70, 60)
    assert (span.apex, span.offset, span.apex_source) == (70, 86, "annotated")


def test_in_a_whole_recording_a_missing_offset_stays_missing() -> None:
    frames = frames_of(*range(1, 301))
    span = resolve(frames, 46, 59, None)
    assert (span.apex, span.offset, span.failure) == (59, None, "")
    assert resolve(frames, 46, None, None).failure.startswith("the apex is missing")


def test_a_missing_or_impossible_onset_is_mended_from_a_trimmed_folder() -> None:
    frames = frames_of(*range(2647, 2695))
    for onset in (None, 3647):  # 3647 is a slip of the pen after the offset 2694
        span = resolve(frames, onset, 2668, 2694)
        assert (span.onset, span.apex, span.offset) == (2647, 2668, 2694)
    assert resolve(frames_of(*range(1, 4000)), None, 2668, 2694).failure == "the onset is missing"


def test_a_single_picture_is_no_clip() -> None:
    assert resolve(frames_of(46), 46, 59, 86).failure != ""
    assert resolve(frames_of(46), 46, None, 48).failure != ""
