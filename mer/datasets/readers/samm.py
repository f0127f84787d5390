"""SAMM (Davison et al., 2018): micro-movements at 200 fps, gray pictures, 29 subjects with samples.

Layout (the cropped tree has the same names; the workbook lies beside the subject folders)::

    SAMM/006/006_1_2/006_05562.jpg           subject / subject_inducement_sample / subject_frame
    SAMM_CROP/006/006_1_2/006_05562.jpg      frame numbers have four digits in other clips
    SAMM/SAMM_Micro_FACS_Codes_v2.xlsx       13 lines of prose, then the header; 159 rows

Annotated: onset, apex, offset, action units with sides and intensities, estimated emotion (anger,
contempt, disgust, fear, happiness, sadness, surprise, other). In some releases the apexes of
028_4_1, 032_3_1 and 032_3_2 lie outside their clips; the middle frame replaces them. Licence:
release agreement with Manchester Metropolitan University, research use; the pictures must not be
passed on.

Citation: A. K. Davison, C. Lansley, N. Costen, K. Tan, M. H. Yap: SAMM: A spontaneous micro-facial
movement dataset. IEEE Transactions on Affective Computing 9(1): 116-129, 2018.
"""

import re
from pathlib import Path

from mer.datasets.index import Reading
from mer.datasets.readers.annotated import Layout, index_annotated

EXPECTED = """\
    <root>/
      SAMM_Micro_FACS_Codes_v2.xlsx
      006/006_1_2/006_05562.jpg ..."""


def subject_name(text: str) -> str | None:
    """Write a subject with the three digits of the folders: `6` (official list) is `006`."""
    match = re.fullmatch(r"0*(\d{1,3})", text.strip())
    return f"{int(match[1]):03d}" if match else None


LAYOUT = Layout(
    dataset="samm",
    subject_folder=re.compile(r"\d{3}"),
    clip_name=re.compile(r"\d{3}_\d+_\d+"),
    subject=subject_name,
    fps=200.0,
    expected=EXPECTED,
)


def index(root: Path, tree: str | None = None, workbook: str | Path | None = None) -> Reading:
    """Index SAMM.

    Args:
        root: Folder with the workbook and the subject folders (at any depth down to five levels).
        tree: `raw` or `cropped`; without it the raw tree where there is one.
        workbook: The annotation file, absolute or relative to `root`; without it, found by header.

    Returns:
        One row per clip with sample ids `samm/006/006_1_2`, and the remarks. An apex outside onset
        to offset is the middle frame, see `frame_files.resolve`.

    Raises:
        MerError: If root, pictures or workbook cannot be found or do not belong together.
    """
    return index_annotated(root, LAYOUT, tree, workbook)
