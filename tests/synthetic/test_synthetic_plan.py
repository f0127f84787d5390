"""Synthetic corpora before painting: the plan against the official counts, and the motion."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from mer.synthetic import camera, expressions, motion, persons, presets
from mer.synthetic.plan import Clip, plan
from mer.synthetic.portrait import layout

# Official clips per subject after the rules of MEGC2019, negative/positive/surprise.
CASME2 = """01 2/1/0, 02 5/1/3, 03 4/0/1, 04 2/0/0, 05 0/1/5, 06 1/1/2, 07 5/0/0, 08 1/0/0,
09 5/5/0, 11 4/0/0, 12 5/2/4, 13 0/2/0, 14 0/3/0, 15 1/1/1, 16 1/2/0, 17 23/7/1, 19 3/3/5,
20 2/0/0, 21 1/0/0, 22 2/0/0, 23 7/1/0, 24 2/0/1, 25 3/0/2, 26 9/2/0"""
SAMM = """006 9/0/2, 007 1/5/2, 009 3/0/1, 010 4/0/0, 011 13/7/0, 012 2/0/1, 013 6/0/0, 014 2/7/1,
015 2/0/1, 016 2/1/2, 017 3/0/1, 018 2/0/1, 019 0/1/0, 020 2/2/0, 021 2/0/0, 022 3/2/0, 023 1/0/0,
024 1/0/0, 026 9/0/0, 028 1/0/2, 030 3/0/0, 031 1/0/0, 032 4/0/0, 033 4/1/0, 034 3/0/0, 035 7/0/1,
036 1/0/0, 037 1/0/0"""
SMIC = """1 3/2/1, 2 0/1/5, 3 22/11/6, 4 10/4/5, 5 1/0/1, 6 2/0/2, 8 9/4/0, 9 0/1/3, 11 3/3/1,
12 0/8/1, 13 0/10/0, 14 3/2/5, 15 1/1/2, 18 2/0/5, 19 0/1/1, 20 14/3/5"""

EXCLUDED = {("sub04", "EP12_01f"), ("sub05", "EP09_05f")}


def official(text: str, prefix: str) -> dict[tuple[str, str], int]:
    """(subject, class) -> clips, zeros left out."""
    counts = {}
    for entry in text.replace("\n", " ").split(", "):
        subject, numbers = entry.split()
        for name, number in zip(
            ("negative", "positive", "surprise"), numbers.split("/"), strict=True
        ):
            if number != "0":
                counts[prefix + subject, name] = int(number)
    return counts


def of(clips: list[Clip], dataset: str) -> list[Clip]:
    return [clip for clip in clips if clip.dataset == dataset]


@pytest.fixture(scope="module")
def full() -> list[Clip]:
    return plan("megc2019")


def test_casme2_is_left_with_the_145_official_clips(full: list[Clip]) -> None:
    classes = {"happiness": "positive", "surprise": "surprise"}
    classes |= {"disgust": "negative", "repression": "negative"}
    kept = [c for c in of(full, "casme2") if (c.subject, c.clip) not in EXCLUDED]
    counts = Counter((c.subject, classes[c.emotion]) for c in kept if c.emotion in classes)
    assert counts == official(CASME2, "sub")
    assert counts.total() == 145


def test_samm_is_left_with_the_133_official_clips(full: list[Clip]) -> None:
    classes = {"Happiness": "positive", "Surprise": "surprise"}
    kept = [c for c in of(full, "samm") if c.emotion != "Other"]
    counts = Counter((c.subject, classes.get(c.emotion, "negative")) for c in kept)
    assert counts == official(SAMM, "")
    assert counts.total() == 133


def test_smic_has_the_164_official_clips(full: list[Clip]) -> None:
    counts = Counter((c.subject, c.emotion) for c in of(full, "smic"))
    assert counts == official(SMIC, "s")
    assert counts.total() == 164
    assert len({c.subject for c in of(full, "smic")}) == 16


def test_workbooks_have_the_real_totals(full: list[Clip]) -> None:
    assert Counter(c.emotion for c in of(full, "casme2")) == {
        "others": 99,
        "disgust": 63,
        "happiness": 32,
        "repression": 27,
        "surprise": 25,
        "sadness": 7,
        "fear": 2,
    }
    assert Counter(c.emotion for c in of(full, "samm")) == {
        "Anger": 57,
        "Other": 26,
        "Happiness": 26,
        "Surprise": 15,
        "Contempt": 12,
        "Disgust": 9,
        "Fear": 8,
        "Sadness": 6,
    }


def test_rows_that_rules_name_are_there(full: list[Clip]) -> None:
    rows = {(c.subject, c.clip): c for c in of(full, "casme2")}
    assert rows["sub04", "EP12_01f"].emotion == "disgust"
    assert rows["sub04", "EP12_01f"].apex_cell == "/"
    still = rows["sub05", "EP09_05f"]
    assert (still.emotion, still.onset, still.apex_cell) == ("disgust", 69, 69)
    assert rows["sub05", "EP12_03f"].emotion == "surprise"
    fear = {key for key, c in rows.items() if c.emotion == "fear"}
    assert fear == {("sub09", "EP13_02"), ("sub10", "EP13_01")}
    sadness = {f"{s}/{clip}" for (s, clip), c in rows.items() if c.emotion == "sadness"}
    assert sadness == {
        *("sub17/EP15_01", "sub17/EP15_03", "sub19/EP19_04", "sub24/EP07_01"),
        *("sub24/EP07_04f", "sub24/EP10_03", "sub26/EP15_01"),
    }
    assert {c.emotion for c in of(full, "casme2") if c.subject == "sub18"} == {"others"}
    outside = [c.clip for c in of(full, "samm") if c.apex_cell not in c.frames]
    assert outside == ["028_4_1", "032_3_1", "032_3_2"]


@pytest.mark.parametrize("name", presets.PRESETS)
def test_plan_is_sound(name: str) -> None:
    clips = plan(name)
    assert len({clip.key for clip in clips}) == len(clips)
    assert all(clip.onset < clip.apex <= clip.offset for clip in clips)
    labelled = {c.emotion for c in of(clips, "ckplus")} - {""}
    assert labelled == {"anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"}
    assert {len({c.emotion for c in of(clips, d)}) for d in ("oulu_casia", "mug")} == {6, 7}
    assert plan(name) == clips
    assert plan(name, seed=1) != clips


def test_takes_of_a_samm_video_do_not_overlap(full: list[Clip]) -> None:
    videos: dict[str, list[Clip]] = {}
    for clip in of(full, "samm"):
        videos.setdefault(clip.clip.rsplit("_", 1)[0], []).append(clip)
    for clips in videos.values():
        clips.sort(key=lambda clip: clip.onset)
        assert all(a.offset < b.onset for a, b in pairwise(clips))


def peak_on_280_px_face(clip: Clip) -> float:
    """Greatest displacement of the clip's field; 109 px per eye distance is a face of 280 px."""
    moves = camera.motion(clip, expressions.act(clip, 0), 0)
    length = np.hypot(moves.expression[..., 0], moves.expression[..., 1])
    return float(length.max()) * 109 / camera.CAMERAS[clip.dataset].scale


def test_micro_motion_is_subtle_and_macro_motion_is_not() -> None:
    clips = [clip for clip in plan("tiny") if clip.emotion != "neutral"]
    easy = [clip for clip in clips if expressions.act(clip, 0).hard != "weak"]
    micro = [peak_on_280_px_face(c) for c in easy if c.apex_cell or c.dataset == "smic"]
    macro = [peak_on_280_px_face(c) for c in easy if c.dataset in ("ckplus", "oulu_casia", "mug")]
    assert len(micro) > 40 and len(macro) > 40
    assert 0.49 < min(micro) and max(micro) < 2.01
    assert 5.9 < min(macro) and max(macro) < 14.1


def test_lip_corners_of_a_smile_go_up_and_out() -> None:
    face = persons.looks("casme2", "sub01", 0)
    places = persons.points(face)
    corner_x, corner_y = places["mouth_corner"]
    x, y = np.array([-corner_x, corner_x]), np.array([corner_y])
    right_half, left_half = motion.field([motion.Unit(12, 1.0, 1.0)], places, x, y, face.mouth)[0]
    assert left_half[0] > 0.5 and left_half[1] < -0.5  # right in the picture: outwards is right
    np.testing.assert_allclose(right_half, left_half * (-1, 1), atol=1e-6)
    # L12 is the person's left, right in the picture; the other corner is out of the pull's reach.
    one = motion.field([motion.Unit(12, 1.0, 0.0)], places, x, y, face.mouth)[0]
    np.testing.assert_allclose(one[1], left_half, atol=0.02)
    assert np.abs(one[0]).max() < 0.02
    assert motion.Unit(12, 1.0, 0.0).code == "L12"


def test_lips_part_by_what_the_jaw_drops() -> None:
    face = persons.looks("mug", "001", 0)
    places = persons.points(face)
    assert motion.mouth_gap([motion.Unit(12, 1, 1)], places, face.mouth, 0.1) is None
    gap = motion.mouth_gap([motion.Unit(25, 1, 1)], places, face.mouth, 0.1)
    assert gap is not None
    opening = gap[1][:, 1] - gap[0][:, 1]
    # In the middle, 0.05 below the line, the lower lip: 0.65 exp(-(0.02/0.24)^2/2) = 0.648 down.
    # 0.05 above it both upper pulls: 0.4 exp(-(0.15/0.26)^2/2) exp(-(0.01/0.12)^2/2) = 0.338 up.
    # The blend of the halves at the line, 1 / (1 + exp(-0.05/0.012)) = 0.985, leaves 0.970, less
    # what it lets through from the other half, 0.009 and 0.003: 0.958. Times 0.1.
    assert opening[12] == pytest.approx(0.0958, abs=0.0005)
    assert opening[[0, -1]].max() < 0.25 * opening[12]


def test_displacement_and_pose_move_the_picture_in_their_direction() -> None:
    place = layout((320, 240), 54)
    width, height = place.size
    head = np.zeros((height, width, 2), np.uint8)
    head[..., 1] = 255  # covers everything
    head[100, 80, 0] = 200
    backdrop = np.zeros((240, 320, 1), np.uint8)
    shift = np.zeros((-(-height // 2), -(-width // 2), 2), np.float32)
    shift[..., 0], shift[..., 1] = 3, -2
    pose = np.array([[1.0, 0, 5], [0, 1, 4]])
    picture = camera._compose(head, backdrop, shift, pose, place)[..., 0]
    # Column 80 + 3 + 5, row 100 - 2 + 4, counted from the layout's corner.
    row, column = np.unravel_index(int(picture.argmax()), picture.shape)
    assert (column - place.corner[0], row - place.corner[1]) == (88, 102)


def test_course_is_neutral_at_the_onset_and_full_at_the_apex() -> None:
    for clip in plan("tiny"):
        level = expressions.course(clip, expressions.act(clip, 0))
        assert level[0] == 0
        assert level[clip.apex - clip.onset] == level.max() == 1
        assert level[-1] == 1 if clip.dataset in ("ckplus", "oulu_casia") else level[-1] < 0.3
