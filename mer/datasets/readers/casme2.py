"""CASME II (Yan et al., PLOS ONE 2014): spontaneous micro-expressions at 200 fps, 26 subjects.

Layout (raw, registered crops, or both; the archives may nest their top folder twice)::

    CASME2_RAW_selected/sub01/EP02_01f/img46.jpg       onset to offset, numbers of the recording
    CASME2-RAW/sub01/EP02_01f/img1.jpg                 whole recordings
    Cropped/sub01/EP02_01f/reg_img46.jpg               registered faces
    CASME2-coding-20140508.xlsx                        255 rows; the release of 2019 has 255 or 256

Annotated: onset, apex (one is `/`), offset, action units, estimated emotion (happiness, surprise,
disgust, repression, sadness, fear, others). Licence: signed agreement with the Chinese Academy of
Sciences, academic use only; the pictures must not be passed on.

Citation: W.-J. Yan, X. Li, S.-J. Wang, G. Zhao, Y.-J. Liu, Y.-H. Chen, X. Fu: CASME II: An improved
spontaneous micro-expression database and the baseline evaluation. PLOS ONE 9(1): e86041, 2014.
"""

import re
from pathlib import Path

from mer.datasets.index import Reading
from mer.datasets.readers.annotated import Layout, index_annotated

EXPECTED = """\
    <root>/
      CASME2-coding-20140508.xlsx
      CASME2_RAW_selected/sub01/EP02_01f/img46.jpg ...   and/or
      Cropped/sub01/EP02_01f/reg_img46.jpg ..."""


def subject_name(text: str) -> str | None:
    """Write a subject as the folders do: `1`, `01`, `sub1` and `sub01` are all `sub01`."""
    match = re.fullmatch(r"(?:sub)?0*(\d{1,2})", text.strip().lower())
    return f"sub{int(match[1]):02d}" if match else None


LAYOUT = Layout(
    dataset="casme2",
    subject_folder=re.compile(r"sub\d{1,2}", re.IGNORECASE),
    clip_name=re.compile(r"EP\d", re.IGNORECASE),
    subject=subject_name,
    fps=200.0,
    expected=EXPECTED,
)


def index(root: Path, tree: str | None = None, workbook: str | Path | None = None) -> Reading:
    """Index CASME II.

    Args:
        root: Folder with the workbook and the pictures (or the subject folders themselves).
        tree: `raw` or `cropped`; without it the raw tree where there is one.
        workbook: The annotation file, absolute or relative to `root`; without it, found by header.

    Returns:
        One row per clip with sample ids `casme2/sub01/EP02_01f`, and the remarks. An apex that is
        missing (`/`) or outside onset to offset is the middle frame, see `frame_files.resolve`.

    Raises:
        MerError: If root, pictures or workbook cannot be found or do not belong together.
    """
    return index_annotated(root, LAYOUT, tree, workbook)
