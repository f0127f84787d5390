"""Input for the preparation tests: a painted face, textured clips, rows of the index table."""

from pathlib import Path

import cv2
import numpy as np


def paint(
    size: int = 256, centre: tuple[int, int] | None = None, width: int = 0, brows: float = 0.0
) -> np.ndarray:
    """Paint a face of shaded ellipses that MediaPipe recognises: uint8 (size, size, 3) RGB.

    Args:
        size: Side of the picture in px.
        centre: Middle of the face (x, y); the picture's by default.
        width: Half the width of the face in px; a quarter of the picture by default.
        brows: How far the brows are raised, in shares of `width`.
    """
    x, y = centre or (size // 2, size // 2)
    r = width or size // 4
    picture = np.full((size, size, 3), 90, np.float32)

    def ellipse(dx: float, dy: float, a: float, b: float, colour: tuple[int, int, int]) -> None:
        place = (round(x + dx * r), round(y + dy * r))
        axes = (max(1, round(a * r)), max(1, round(b * r)))
        cv2.ellipse(picture, place, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    ellipse(0, -0.35, 1.08, 1.15, (50, 35, 30))  # hair
    ellipse(0, 0, 1, 1.35, (205, 165, 140))
    for side in (-1, 1):
        ellipse(side * 0.42, -0.25, 0.2, 0.1, (245, 245, 245))
        ellipse(side * 0.42, -0.25, 0.09, 0.09, (40, 30, 25))
        ellipse(side * 0.42, -0.52 - brows, 0.26, 0.05, (60, 40, 30))
        ellipse(side * 0.12, 0.32, 0.07, 0.05, (150, 105, 90))
    ellipse(0, 0.1, 0.1, 0.28, (190, 148, 125))
    ellipse(0, 0.72, 0.36, 0.11, (165, 80, 80))
    picture = cv2.GaussianBlur(picture, (0, 0), max(0.8, r / 40))
    light = 1 - 0.25 * np.linspace(-1, 1, size, dtype=np.float32) ** 2
    noise = np.random.default_rng(1).normal(0, 2, picture.shape)
    return np.clip(picture * light[None, :, None] + noise, 0, 255).astype(np.uint8)


def save(path: Path, rgb: np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix
    path.write_bytes(cv2.imencode(kind, rgb[..., ::-1] if rgb.ndim == 3 else rgb)[1].tobytes())
    return str(path)


def row(number: int, **fields: object) -> dict:
    subject = f"made/s{number % 3}"
    return {
        "sample_id": f"{subject}/c{number:02d}",
        "dataset": "made",
        "subject": subject,
        "clip": f"c{number:02d}",
        "role": "micro",
        "emotion": ("happiness", "surprise")[number % 2],
        **fields,
    }


def clips(folder: Path, count: int) -> list[dict]:
    """Textured pictures that shift by some pixels; no faces (for `as_is`)."""
    rows = []
    rng = np.random.default_rng(5)
    for number in range(count):
        noise = cv2.GaussianBlur(rng.uniform(0, 255, (60, 60, 3)).astype(np.float32), (0, 0), 2)
        picture = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
        paths = {
            "onset_path": save(folder / f"{number}/1.png", picture),
            "apex_path": save(folder / f"{number}/5.png", np.roll(picture, 1 + number % 2, axis=1)),
        }
        rows.append(row(number, onset=1, apex=5, offset=9, **paths))
    return rows
