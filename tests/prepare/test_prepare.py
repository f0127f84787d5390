"""The preparation stage: from pictures to aligned frames and flow, drops, settings, sheet."""

import dataclasses
import logging
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from mer.config.settings import Flow, Prepare
from mer.datasets.index import make_table
from mer.errors import MerError
from mer.prepare import faces, sample, sheet
from mer.prepare.store import prepare_store
from tests.prepare.prepare_inputs import clips, paint, row, save

SMALL = Prepare(size=64)
AS_IS = Prepare(faces="as_is", size=48)


@pytest.fixture
def faces_table(tmp_path: Path) -> pd.DataFrame:
    rest, raised = (save(tmp_path / "in" / f"{b}.png", paint(256, brows=b)) for b in (0.0, 0.08))
    return make_table(
        [
            row(0, onset=1, apex=8, offset=12, onset_path=rest, apex_path=raised),
            row(1, onset=1, apex=1, offset=12, onset_path=rest, apex_path=rest),
            row(2, apex_path=raised),
        ]
    )


def test_faces_become_aligned_frames_flow_and_landmarks(
    faces_table: pd.DataFrame, tmp_path: Path
) -> None:
    made = prepare_store(faces_table, Prepare(size=128), tmp_path / "out", 1, "made")
    assert made.path.name == f"made-{made.key}" and made.size == 128
    assert made.frames.shape == (3, 2, 128, 128, 3) and made.frames.dtype == np.uint8
    assert made.flow.shape == (3, 3, 128, 128) and made.flow.dtype == np.float16
    assert made.landmarks.shape == (3, 2, 478, 2) and made.landmarks.dtype == np.float32
    assert made.index["row"].tolist() == [0, 1, 2] and made.index["row"].dtype == "int64"
    assert made.index["has_onset"].tolist() == [True, True, False]
    assert made.index["still"].tolist() == [False, True, False]
    # The eye line of an onset stands where the canonical face has it: size 128, margin .15, so one
    # unit is 128 / (1.61 * 1.3) = 61.2 px and the eyes 0.305 units above 63.5: 44.9.
    eyes = made.landmarks[0, 0, [33, 263]].mean(axis=0)
    assert np.allclose(eyes, [63.5, 44.9], atol=3)
    # Skin is red more than blue: RGB, not BGR.
    assert made.frames[0, 1, 64, 64, 0] > made.frames[0, 1, 64, 64, 2]
    # The painted brows rise by 0.08 of half the face's width; the flow says up (v < 0) there.
    brow = made.landmarks[0, 0, [105, 334]].round().astype(int)
    lifted = [made.flow[0, 1, y - 6 : y + 3, x - 3 : x + 3].min() for x, y in brow]
    assert max(lifted) < -0.5
    assert not made.flow[1].any() and not made.flow[2].any()
    assert not made.frames[2, 0].any() and np.isnan(made.landmarks[2, 0]).all()
    assert np.isfinite(made.landmarks[2, 1]).all()
    assert (made.path / "contact_sheet.png").stat().st_size > 5000


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one(faces_table: pd.DataFrame, tmp_path: Path) -> None:
    one, two = (
        prepare_store(faces_table, Prepare(size=64), tmp_path / str(count), count, "made").path
        for count in (1, 2)
    )
    for name in ("frames.npy", "flow.npy", "landmarks.npy", "index.parquet"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_a_worker_starts_without_pandas() -> None:
    lines = "import sys, mer.prepare.sample; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_frames_of_a_pair_share_one_transform(tmp_path: Path) -> None:
    # A face that moves by 6 px in a clip stays moved in the crop: aligning each picture by itself
    # would hide it.
    first = save(tmp_path / "1.png", paint(256, centre=(120, 128)))
    later = save(tmp_path / "2.png", paint(256, centre=(126, 128)))
    table = make_table([row(0, onset_path=first, apex_path=later)])
    options = Prepare(size=128, flow=Flow(method=None))
    made = prepare_store(table, options, tmp_path / "out", 1, "made")
    assert made.flow is None
    # The outer eye corners of the painted face lie 2 * (.42 + .2) * 64 = 79 px apart; in the crop
    # one unit is 61.2 px, so 6 px become 6 * 61.2 / 79 = 4.6 px.
    moved = (made.landmarks[0, 1] - made.landmarks[0, 0])[[33, 133, 362, 263, 4]].mean(axis=0)
    assert np.allclose(moved, [4.6, 0], atol=1)


def test_bad_samples_are_dropped_with_reason_and_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "in"
    face = save(folder / "face.png", paint(128))
    wall = save(folder / "wall.png", np.full((128, 128, 3), 120, np.uint8))
    wide = save(folder / "wide.png", np.full((128, 140, 3), 120, np.uint8))
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    gone = str(folder / "gone.png")
    rows = [
        row(0, onset_path=face, apex_path=face),
        row(1, onset_path=face, apex_path=wall),
        row(2, onset_path=face, apex_path=wide),
        row(3, onset_path=str(folder / "empty.png"), apex_path=face),
        row(4, onset_path=face, apex_path=str(folder / "text.png")),
        row(5, onset_path=face, apex_path=gone),
        row(6, onset_path=face, apex_path=str(folder)),
    ]
    with caplog.at_level(logging.WARNING):
        made = prepare_store(make_table(rows), SMALL, tmp_path / "out", 1, "made")
    assert made.index["clip"].tolist() == ["c00"]
    reasons = made.drops.set_index("sample_id")
    assert reasons["reason"].to_dict() == {
        "made/s1/c01": "no face",
        "made/s2/c02": "onset and apex differ in size",
        "made/s0/c03": "unreadable picture",
        "made/s1/c04": "unreadable picture",
        "made/s2/c05": "missing frame",
        "made/s0/c06": "unreadable picture",
    }
    detail = reasons["detail"]
    assert detail["made/s1/c01"] == wall and detail["made/s2/c05"] == f"{gone} does not exist"
    assert detail["made/s2/c02"] == f"{face} is 128 x 128 and {wide} is 140 x 128"
    assert "empty.png is empty" in detail["made/s0/c03"]
    assert "6 of 7 samples dropped" in caplog.text
    assert "    3  unreadable picture" in caplog.text


def test_a_face_of_too_few_pixels_is_dropped_before_it_is_enlarged() -> None:
    tiny = cv2.resize(paint(128), (28, 28), interpolation=cv2.INTER_AREA)
    with faces.FaceFinder() as finder:
        found = finder.find(tiny)
        assert found is not None  # the landmarker itself minds no size
        width = float(np.ptp(found[:, 0]))  # the painted face has half the picture's width
        assert 13 < width < 16
        small = sample.prepare_pictures(tiny, tiny, SMALL, finder, names=("a.png", "b.png"))
        kept = sample.prepare_pictures(tiny, tiny, dataclasses.replace(SMALL, min_face=13), finder)
    assert small == ("face too small", f"b.png: {width:.1f} px wide, prepare.min_face=60")
    assert isinstance(kept, sample.Sample)


def test_without_the_landmarks_of_the_apex_crops_and_flow_are_the_same() -> None:
    onset, apex, wall = paint(128), paint(128, brows=0.08), np.full((128, 128, 3), 120, np.uint8)
    with faces.FaceFinder() as finder:
        with_both, with_one = (
            sample.prepare_pictures(onset, apex, SMALL, finder, apex_landmarks=wanted)
            for wanted in (True, False)
        )
        blank = sample.prepare_pictures(onset, wall, SMALL, finder, apex_landmarks=False)
    assert isinstance(with_both, sample.Sample) and isinstance(with_one, sample.Sample)
    np.testing.assert_array_equal(with_one.frames, with_both.frames)
    np.testing.assert_array_equal(with_one.flow, with_both.flow)
    assert with_one.landmarks is not None and with_both.landmarks is not None
    np.testing.assert_array_equal(with_one.landmarks[0], with_both.landmarks[0])
    assert np.isnan(with_one.landmarks[1]).all() and not np.isnan(with_both.landmarks).any()
    assert blank == ("no face", "the apex")


def test_an_apex_outside_the_clip_is_dropped() -> None:
    wrong = {**dict.fromkeys(make_table([row(0, apex_path="a")]).columns), **row(0, apex_path="a")}
    late = sample.prepare_sample({**wrong, "onset": 1, "apex": 9, "offset": 7}, Prepare())
    assert late == sample.Drop("apex outside the clip", "apex 9, clip 1 to 7")


def test_no_sample_left_is_an_error_that_lists_the_reasons(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.png")
    table = make_table([row(n, apex_path=gone) for n in range(5)])
    with pytest.raises(
        MerError, match=r"none of 5 samples(.|\n)*5  missing frame(.|\n)*gone.png"
    ) as error:
        prepare_store(table, SMALL, tmp_path / "out", 1, "made")
    assert "and 2 more" in str(error.value)
    # The next call looks again instead of remembering the failure.
    save(tmp_path / "gone.png", paint(128))
    assert len(prepare_store(table, SMALL, tmp_path / "out", 1, "made").index) == 5


@pytest.mark.parametrize("name", ["gray.png", "deep.png", "alpha.png", "ä ö 表情.png"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, name: str) -> None:
    rgb = np.zeros((8, 9, 3), np.uint8) + np.uint8([200, 100, 50])
    path = tmp_path / name
    if name == "gray.png":
        save(path, rgb[..., 1])
        rgb[:] = 100
    elif name == "deep.png":
        save(path, rgb.astype(np.uint16) * 256 + 17)  # 16 bit: the upper byte is kept
    elif name == "alpha.png":
        path.write_bytes(
            cv2.imencode(".png", np.dstack([rgb[..., ::-1], rgb[..., 0]]))[1].tobytes()
        )
    else:
        save(path, rgb)
    found = sample.read_picture(path)
    assert found.dtype == np.uint8 and np.array_equal(found, rgb)


def test_as_is_only_resizes(tmp_path: Path) -> None:
    made = prepare_store(make_table(clips(tmp_path, 4)), AS_IS, tmp_path / "out", 1, "made")
    assert made.landmarks is None and made.frames.shape == (4, 2, 48, 48, 3)
    picture = sample.read_picture(tmp_path / "0/1.png")
    assert np.array_equal(
        made.frames[0, 0], cv2.resize(picture, (48, 48), interpolation=cv2.INTER_AREA)
    )
    # Rows are sorted by sample_id: clip 00 of subject s0 comes first. 1 px of 60 is 0.8 px of 48.
    options = Prepare(faces="as_is", size=48, flow=Flow(stabilise=False))
    raw = prepare_store(make_table(clips(tmp_path, 4)), options, tmp_path / "out", 1, "made")
    assert raw.flow[0, 0, 10:-10, 10:-10].mean() == pytest.approx(0.8, abs=0.15)


def test_the_sheet_spreads_over_emotions_and_subjects() -> None:
    index = pd.DataFrame(
        {
            "sample_id": [f"x{i}" for i in range(30)],
            "emotion": ["anger"] * 20 + ["fear"] * 10,
            "subject": [f"s{i % 5}" for i in range(30)],
        }
    )
    chosen = sheet.spread(index, 10)
    # Five of each emotion, and every one of five subjects twice.
    assert chosen["emotion"].value_counts().to_dict() == {"anger": 5, "fear": 5}
    assert chosen["subject"].value_counts().tolist() == [2] * 5
    assert len(sheet.spread(index.iloc[:3], 10)) == 3


def test_the_wheel_shows_direction_and_length() -> None:
    # Right, none, left at half strength: red (hue 0), white, cyan (hue 180) half way to white.
    colours = sheet.wheel(np.float32([[2, 0, -1]]), np.float32([[0, 0, 0]]), 2.0)
    assert colours[0, 0].tolist() == [255, 0, 0] and colours[0, 1].tolist() == [255, 255, 255]
    assert colours[0, 2, 0] == pytest.approx(127, abs=2) and colours[0, 2, 1:].min() > 250
