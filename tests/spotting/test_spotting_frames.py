"""Frames come in order, with their times, and odd sources are one clear sentence."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mer.errors import MerError
from mer.spotting.frames import check_numbers, open_frames
from tests.spotting.videos import rotate_tag, variable_rate, write_video


def grey(level: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def ramp(count: int) -> list[np.ndarray]:
    return [grey(10 * number) for number in range(count)]


def test_a_video_gives_its_frames_in_order_with_their_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", ramp(12), fps=20)
    seen: list[tuple[int, int | None]] = []
    frames = open_frames(path, progress=lambda done, count: seen.append((done, count)))
    listed = list(frames)
    assert (frames.fps, frames.count, frames.live, frames.warnings) == (20, 12, False, [])
    assert [frame.number for frame in listed] == list(range(12))
    assert [round(frame.time, 3) for frame in listed] == [number / 20 for number in range(12)]
    levels = [int(frame.picture.mean()) for frame in listed]
    assert all(abs(level - 10 * number) <= 18 for number, level in enumerate(levels))
    assert levels == sorted(levels)
    assert seen == [(number, 12) for number in range(1, 13)]


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    path = write_video(tmp_path / "red.mp4", [red] * 3)
    picture = next(iter(open_frames(path))).picture
    assert picture[..., 0].mean() > 150 > 60 > picture[..., 2].mean()


def test_a_video_of_variable_rate_keeps_the_times_of_its_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", ramp(9), fps=30)
    variable_rate(path, slow=3)
    times = [frame.time for frame in open_frames(path)]
    expected = [0, 0.1, 0.2, 0.3, *(0.3 + number / 30 for number in range(1, 6))]
    assert times == pytest.approx(expected, abs=2e-3)


def test_a_rotated_video_is_turned(tmp_path: Path) -> None:
    path = write_video(tmp_path / "phone.mp4", ramp(4))
    rotate_tag(path)
    assert next(iter(open_frames(path))).picture.shape == (64, 48, 3)


def test_a_file_that_ends_early_says_how_much_was_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (96, 128, 3), dtype=np.uint8) for _ in range(40)]
    path = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (128, 96))
    for picture in noise:
        writer.write(picture)
    writer.release()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    frames = open_frames(path)
    read = len(list(frames))
    assert 5 < read < 35
    assert frames.warnings == [
        f"{path} is cut off or damaged: {read} of {frames.count} frames could be read"
    ]


@pytest.mark.parametrize("content", [b"", b"no video, but words\n" * 40, b"\xff\xd8\xff\xe0 JPEG"])
def test_what_is_no_video_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(MerError, match=r"is (empty|a text file|one JPEG picture)"):
        open_frames(path)


def test_a_video_without_its_index_or_at_no_place_is_one_sentence(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", ramp(6))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(MerError, match="no video that can be decoded"):
        open_frames(path)
    with pytest.raises(MerError, match="does not exist"):
        open_frames(tmp_path / "nowhere.mp4")
    with pytest.raises(MerError, match="fps=0: expected 1 to 2000"):
        open_frames(path, fps=0)


def test_a_folder_is_read_by_number_and_leaves_out_what_is_odd(tmp_path: Path) -> None:
    for number, size in ((2, 48), (10, 48), (9, 48), (11, 50)):
        gray = np.full((size, 64), 10 * number, np.uint8)
        cv2.imwrite(str(tmp_path / f"img{number}.png"), gray)
    alpha = np.dstack([grey(120), np.full((48, 64), 7, np.uint8)])
    cv2.imwrite(str(tmp_path / "img12.png"), alpha)
    (tmp_path / "img13.png").write_bytes(b"broken")
    frames = open_frames(tmp_path, fps=10)
    listed = list(frames)
    assert [frame.number for frame in listed] == [2, 9, 10, 12]
    assert [round(frame.time, 3) for frame in listed] == [0.0, 0.7, 0.8, 1.0]
    assert [int(frame.picture.mean()) for frame in listed] == [20, 90, 100, 120]
    assert all(frame.picture.shape == (48, 64, 3) for frame in listed)
    text = "\n".join(frames.warnings)
    assert "6 of the frames 2 to 13 are missing" in text
    assert "1 pictures cannot be read" in text
    assert "1 frames are not 64 x 48 px" in text


def test_numbers_of_frames_that_a_source_lacks_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in (3, 4, 7):
        Image.new("RGB", (8, 8)).save(folder / f"img{number}.png")
    check_numbers(folder, [3, 7])
    with pytest.raises(MerError, match=r"folder has no frame 2: it begins with frame 3;") as error:
        check_numbers(folder, [2, 5])
    assert str(error.value).endswith("folder has no frame 5: after 4 comes 7")
    film = write_video(tmp_path / "film.mkv", ramp(5))
    check_numbers(film, [0, 4])
    for numbers, lacking in (([1, 5], "5: it has 0 to 4"), ([-1, 3], "-1: it begins with frame 0")):
        with pytest.raises(MerError, match=rf"film.mkv has no frame {lacking}"):
            check_numbers(film, numbers)


def test_an_empty_folder_and_no_pictures_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="holds no numbered picture"):
        open_frames(tmp_path)
    with pytest.raises(MerError, match="gives no frame"):
        open_frames([], fps=25)
    with pytest.raises(MerError, match="expected uint8"):
        open_frames([np.zeros((4, 4), np.uint8)], fps=25)


def test_pictures_without_a_rate_are_taken_at_25_with_a_warning() -> None:
    frames = open_frames(ramp(3))
    assert [frame.time for frame in frames] == [0, 0.04, 0.08]
    assert "the frame rate is not known" in frames.warnings[0]


def test_a_camera_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(MerError, match="camera 97 cannot be opened"):
        open_frames(97)
