"""Faces: finding them, the one transform, the crop."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from mer.errors import MerError
from mer.prepare import faces
from mer.prepare.faces import FaceFinder
from tests.prepare.prepare_inputs import paint


@pytest.fixture(scope="module")
def finder() -> Iterator[FaceFinder]:
    with FaceFinder() as finder:
        yield finder


def landmarks_at(points: np.ndarray) -> np.ndarray:
    """Landmarks whose canonical points lie where told; the others are far away."""
    landmarks = np.full((faces.LANDMARKS, 2), 1e4, np.float32)
    landmarks[list(faces.CANONICAL)] = points
    return landmarks


def test_landmarks_lie_on_the_painted_face(finder: FaceFinder) -> None:
    found = finder.find(paint(256))
    assert found.shape == (478, 2) and found.dtype == np.float32
    # The painted eyes are at 128 -/+ 0.42 * 64 = 101 and 155, their height 128 - 0.25 * 64 = 112.
    eyes = found[[33, 133, 362, 263]].reshape(2, 2, 2).mean(axis=1)
    assert np.allclose(eyes, [[101, 112], [155, 112]], atol=5)


def test_a_picture_without_face_gives_none(finder: FaceFinder) -> None:
    assert finder.find(np.full((120, 160, 3), 128, np.uint8)) is None


@pytest.mark.parametrize("width", [30, 60])
def test_the_same_face_is_found_at_any_place_and_size(finder: FaceFinder, width: int) -> None:
    # Half-width 30 of 600 px is below the detector's limit: only the second look finds it.
    picture = paint(600, centre=(310, 290), width=width)
    found = finder.find(picture)
    middle = (found.min(axis=0) + found.max(axis=0)) / 2
    assert np.allclose(middle, [310, 290], atol=width / 4)


def test_a_face_that_fills_the_picture_is_found_at_its_own_coordinates(finder: FaceFinder) -> None:
    picture = paint(400)
    whole = finder.find(picture)
    tight = finder.find(np.ascontiguousarray(picture[80:330, 110:290]))
    assert tight is not None
    inner = [33, 133, 362, 263, 4, 168]
    assert np.abs(tight[inner] + [110, 80] - whole[inner]).mean() < 4


def test_the_largest_of_several_faces_is_taken(finder: FaceFinder) -> None:
    # The small face, 40 px half-width, stands left; the large one, 70 px, right.
    picture = paint(500, centre=(350, 250), width=70)
    picture[:, :200] = paint(500, centre=(100, 250), width=40)[:, :200]
    found = finder.find(picture)
    assert found[:, 0].min() > 200


@pytest.mark.parametrize("bad", [np.zeros((50, 50), np.uint8), np.zeros((50, 50, 3), np.float32)])
def test_other_pictures_than_rgb_are_refused(finder: FaceFinder, bad: np.ndarray) -> None:
    with pytest.raises(MerError, match=r"uint8 \(H, W, 3\)"):
        finder.find(bad)


def test_a_closed_finder_says_so() -> None:
    with FaceFinder() as closed:
        pass
    with pytest.raises(MerError, match="closed"):
        closed.find(paint(64))


def test_an_altered_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / faces.MODEL).write_bytes(b"other")
    monkeypatch.setattr(faces.resources, "files", lambda package: tmp_path)
    with pytest.raises(
        MerError, match=r"altered: sha256 .* of 5 bytes, expected 64184e.*pip install"
    ):
        faces.model_bytes.__wrapped__()
    (tmp_path / "assets" / faces.MODEL).unlink()
    with pytest.raises(MerError, match="can't be read"):
        faces.model_bytes.__wrapped__()


def test_similarity_undoes_a_known_rotation_scale_and_shift() -> None:
    canonical = np.array(list(faces.CANONICAL.values()))
    # Canonical points drawn 100 px per unit, turned by 20 degrees, moved to (300, 200).
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = landmarks_at(canonical @ turn.T * 100 + [300, 200])
    matrix = faces.similarity(landmarks, 224, 0.0)
    assert matrix.shape == (2, 3) and matrix.dtype == np.float64
    # margin 0: the face's 1.61 units fill 224 px, so 100 px become 224 / 1.61 = 139.13.
    scale = 224 / 1.61 / 100
    assert np.allclose(matrix[:, :2], scale * turn.T)
    # No shear and no reflection.
    assert np.linalg.det(matrix[:, :2]) == pytest.approx(scale**2)
    # The eye line lies 0.305 units above the middle of the face: (223 / 2, 111.5 - 0.305 * 139.13).
    eyes = faces.move(landmarks, matrix)[[33, 263]].mean(axis=0)
    assert np.allclose(eyes, [111.5, 69.07], atol=0.02)


def test_a_margin_shrinks_the_face() -> None:
    landmarks = landmarks_at(np.array(list(faces.CANONICAL.values())) * 100)
    # margin 0.5 on both sides doubles the side that the face's height is a part of.
    near, far = (faces.similarity(landmarks, 100, margin)[0, 0] for margin in (0.0, 0.5))
    assert far == pytest.approx(near / 2)


def test_an_expression_hardly_moves_the_transform(finder: FaceFinder) -> None:
    rest, raised = (finder.find(paint(256, brows=brows)) for brows in (0.0, 0.1))
    # The brows rise by 0.1 * 64 = 6.4 px; the nose must not seem to move by more than a quarter.
    transforms = [faces.similarity(points, 224, 0.15) for points in (rest, raised)]
    places = [faces.move(rest, matrix)[4] for matrix in transforms]
    assert np.hypot(*(places[0] - places[1])) < 6.4 / 4


def test_coinciding_landmarks_are_refused() -> None:
    with pytest.raises(MerError, match="coincide"):
        faces.similarity(np.zeros((478, 2), np.float32), 224, 0.1)


def test_crop_takes_pixels_where_the_matrix_says() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[10, 20] = 255
    # A shift by (-15, -5) takes pixel x 20, y 10 to x 5, y 5.
    cut = faces.crop(picture, np.array([[1.0, 0, -15], [0, 1, -5]]), 16)
    assert cut.shape == (16, 16, 3)
    assert cut[5, 5].tolist() == [255, 255, 255] and cut.astype(int).sum() == 3 * 255


def test_crop_averages_when_it_shrinks() -> None:
    # One-pixel stripes at a quarter of the size are gray (their mean, 128); sampling every fourth
    # pixel instead would show 0 or 255 only.
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, ::2] = 255
    cut = faces.crop(picture, np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), 16)
    assert np.abs(cut.astype(int) - 128).max() <= 1


def test_shrinking_keeps_the_place() -> None:
    # A gradient x * 4 at a quarter of the size: crop pixel x stands at picture x * 4 + 1.5.
    picture = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 4, 64, axis=0).repeat(
        3, axis=2
    )
    cut = faces.crop(picture, np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), 16)
    assert np.allclose(cut[8, 2:14, 0], (np.arange(2, 14) * 4 + 1.5) * 4, atol=1)


def test_beyond_the_border_its_pixels_repeat() -> None:
    picture = np.full((10, 10, 3), 77, np.uint8)
    assert (faces.crop(picture, np.array([[1.0, 0, 5], [0, 1, 5]]), 20) == 77).all()


def test_the_oval_covers_the_painted_face(finder: FaceFinder) -> None:
    picture = paint(256)
    mask = faces.oval(finder.find(picture), 256)
    skin = np.zeros((256, 256), np.uint8)
    cv2.ellipse(skin, (128, 128), (64, 86), 0, 0, 360, 1, -1)
    overlap = (mask & (skin > 0)).sum() / (mask | (skin > 0)).sum()
    assert mask.dtype == bool and overlap > 0.75


@pytest.mark.slow
def test_faces_are_found_after_a_training_in_the_same_process(tmp_path: Path) -> None:
    """Lightning puts signal handlers back that MediaPipe needs; the process must survive it.

    In a process of its own, because the failure ends it: it was `Profiling timer expired`.
    """
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import pytorch_lightning as pl
            from pytorch_lightning.demos.boring_classes import BoringModel
            from mer.prepare.faces import FaceFinder
            from tests.prepare.prepare_inputs import paint

            face = paint()
            with FaceFinder() as finder:
                assert finder.find(face) is not None
            module = BoringModel()
            options = dict(accelerator="cpu", logger=False, enable_checkpointing=False)
            pl.Trainer(max_steps=1, enable_progress_bar=False, **options).fit(module)
            for _ in range(20):
                with FaceFinder() as finder:
                    assert finder.find(face) is not None
            print("alive")
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    assert "alive" in done.stdout
