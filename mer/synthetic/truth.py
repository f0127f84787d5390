"""The truth file of a synthetic corpus: what was acted in each clip. Readers skip it."""

import csv
from pathlib import Path

from mer.synthetic.camera import CAMERAS
from mer.synthetic.expressions import act
from mer.synthetic.plan import Clip

FILE = ".mer-truth.csv"


def write_truth(root: Path, clips: list[Clip], seed: int) -> None:
    """Write `.mer-truth.csv`: one row per clip, lengths in pixels of the corpus's pictures.

    `strengths` lists left/right of each unit, `peak_px` is the greatest displacement at the apex,
    the drift is the head's movement from the first to the last frame.
    """
    rows = [_row(clip, seed) for clip in clips]
    with (root / FILE).open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def _row(clip: Clip, seed: int) -> dict[str, object]:
    acted, scale = act(clip, seed), CAMERAS[clip.dataset].scale
    return {
        "subject": clip.subject,
        "clip": clip.clip,
        "emotion": clip.emotion,
        "acted": acted.emotion,
        "hard": acted.hard,
        "action_units": acted.codes,
        "strengths": " ".join(f"{unit.left:.2f}/{unit.right:.2f}" for unit in acted.units),
        "onset": clip.onset,
        "apex": clip.apex,
        "offset": clip.offset,
        "peak_px": f"{acted.peak * scale:.3f}",
        "blink_px": f"{acted.blink * scale:.3f}",
        "drift_x_px": f"{acted.drift.dx * scale:.3f}",
        "drift_y_px": f"{acted.drift.dy * scale:.3f}",
        "drift_degrees": f"{acted.drift.angle:.3f}",
        "drift_scale": f"{1 + acted.drift.scale:.5f}",
        "drift_yaw_px": f"{acted.drift.yaw * scale:.3f}",
        "drift_pitch_px": f"{acted.drift.pitch * scale:.3f}",
    }
