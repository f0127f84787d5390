"""The whole way, from a synthetic video to intervals, files and scores."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer import cli
from mer.errors import MerError
from mer.prepare.faces import FaceFinder
from mer.spotting.clip import farthest, spot_clip
from mer.spotting.frames import open_frames
from mer.spotting.spotted_expression import Expression
from mer.spotting.spotter import Face, Spotter, strongest
from mer.spotting.stream import Frames
from mer.spotting.tracking import overlap
from mer.synthetic.camera import film
from mer.synthetic.plan import Clip


def rgb(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[..., ::-1])


@pytest.mark.slow
def test_a_dataset_of_long_videos_is_scored(
    long_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["--out", str(out), "--workers", "1", "--model", "mer:motion-mlps"]
    assert cli.main(["spot", *words, f"casme_sq={long_videos}"]) == 0
    facts = json.loads((out / "casme_sq.json").read_text())
    table = pd.read_csv(out / "casme_sq.csv")
    scores = facts["scores"]["all"]
    assert scores["right"] == table["right"].sum()
    assert scores["right"] + scores["missed"] == table["annotated_onset"].notna().sum()
    assert scores["f1"] >= 0.5  # 0.7 over several persons
    assert facts["apex_error_frames"] < 3
    right = table[table["right"]]
    assert (right["onset"] <= right["apex"]).all()
    assert (right["apex"] <= right["offset"]).all()
    recognised = pd.read_csv(out / "casme_sq-recognised.csv")
    assert len(recognised) == facts["scores"]["micro"]["right"] > 0
    recognition = facts["recognition"]
    assert recognition["strs"] == facts["scores"]["micro"]["f1"] * recognition["f1"]
    assert cli.main(["spot", *words, f"casme_sq={long_videos}", "clip.mp4"]) == 2
    assert "for a video type `mer predict" in capsys.readouterr().err


def test_a_still_face_shifted_and_noisy_gives_no_interval(long_videos: Path) -> None:
    first = next(iter(open_frames(next(iter(long_videos.glob("rawpic/*/*")))))).picture
    rng = np.random.default_rng(0)

    def pictures() -> list[np.ndarray]:
        made = []
        for number in range(75):
            noise = rng.normal(0, 2, first.shape)
            shifted = np.roll(first, int(number % 25 > 12), axis=1)
            made.append(np.clip(shifted + noise, 0, 255).astype(np.uint8))
        return made

    with Spotter(25) as spotter:
        spotted = [one for f in open_frames(pictures(), fps=25) for one in spotter.add(f)]
        spotted += spotter.close()
    assert spotted == []
    (face,) = spotter.faces
    assert spotter.frames == 75
    assert (face.first, face.last, face.times[0]) == (0, 74 / 25, 0.2)
    assert any("25 frames per second" in text for text in spotter.warnings)


def test_no_face_and_black_frames_are_said(long_videos: Path) -> None:
    black = [np.zeros((120, 160, 3), np.uint8)] * 5
    with Spotter(60) as spotter:
        for frame in open_frames(black, fps=60):
            assert spotter.add(frame) == []
        assert spotter.close() == []
    assert spotter.warnings == ["No face was found in 5 frames"]
    with pytest.raises(MerError, match="fps=0"):
        Spotter(0)


@pytest.mark.parametrize("live", [True, False])
def test_ctrl_c_ends_a_camera_and_stops_a_video(live: bool) -> None:
    def filmed() -> Iterator[tuple[int, float, np.ndarray]]:
        for number in range(3):
            yield number, number / 50, np.zeros((120, 160, 3), np.uint8)
        raise KeyboardInterrupt

    spotted: list[Expression] = []
    with Spotter(50) as spotter:
        frames = Frames("a stream", filmed(), 50, None, live=live)
        if live:
            spotter.watch(frames, spotted.append)
        else:
            with pytest.raises(KeyboardInterrupt):
                spotter.watch(frames, spotted.append)
        assert (spotter.frames, spotter.seconds) == (3, 0.04)


def test_the_apex_of_a_clip_is_found() -> None:
    clip = Clip("casme2", "sub01", "EP01_01", "happiness", 100, 112, 124)
    pictures = [rgb(picture) for picture in film(clip, 5)]
    frames = (f._replace(number=100 + f.number) for f in open_frames(pictures, fps=200))
    with FaceFinder() as finder:
        interval = spot_clip(frames, finder)
    assert interval is not None
    assert (interval.onset, interval.offset) == (100, 124)
    assert abs(interval.apex - 112) <= 2


def test_the_farthest_moment_is_the_peak_of_what_is_no_even_drift() -> None:
    rng = np.random.default_rng(0)
    moments = np.arange(21)
    course = np.exp(-(((moments - 8) / 4.0) ** 2))
    shifts = rng.normal(0, 0.02, (21, 13, 2)) + 0.05 * moments[:, None, None]
    shifts[:, 9, 1] -= 0.8 * course
    shifts[:, 10, 1] -= 0.6 * course
    apex, strength = farthest(shifts)
    assert abs(apex - 8) <= 1
    assert 0.4 < strength < 0.8  # mean of 0.8, 0.6 and noise, smoothed


def test_faces_overlap_by_their_boxes() -> None:
    one = np.array([[0.0, 0.0], [10.0, 10.0]])
    assert overlap(one, one) == pytest.approx(1)
    assert overlap(one, one + 5) == pytest.approx(25 / 175)
    assert overlap(one, one + 20) == 0


def test_what_was_seen_where_nothing_was_spotted_is_said() -> None:
    faces = [Face(0, 0.0, 1.0, 90.0), Face(1, 0.0, 1.0, 90.0)]
    assert strongest(faces, 4.5) == "the clip is too short to know the face at rest"
    for face, levels in zip(faces, ([1.0, 3.25], [2.0, 1.0]), strict=True):
        face.times.extend([0.5, 0.75])
        face.levels.extend(levels)
    seen = "the strongest motion, at 0.75 s, is 3.2 times that of the face at rest"
    assert strongest(faces, 4.5) == f"{seen}; an expression has 4.5 or more"
    assert strongest(faces, 3.0).startswith(f"{seen}, but too small to be told from noise")
