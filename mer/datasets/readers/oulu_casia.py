"""Oulu-CASIA NIR&VIS (Zhao et al., 2011): six posed expressions of 80 subjects, 25 fps.

Layout (the level `OriginalImg` may be missing or nested, `VL_Acropped` holds face crops)::

    OriginalImg/VL/Strong/P001/Anger/000.jpeg        VL visible light, NI near infrared
    OriginalImg/NI/Dark/P001/Anger/000.jpeg          Strong, Weak, Dark
    PreProcess/VL_Acropped/Strong/P001/Anger/000.jpeg

Annotated: the folder is the emotion (anger, disgust, fear, happiness, sadness, surprise). A
sequence goes from neutral to the peak. Licence: signed agreement with the University of Oulu,
research use.

Citation: G. Zhao, X. Huang, M. Taini, S. Z. Li, M. Pietikainen: Facial expression recognition from
near-infrared videos. Image and Vision Computing 29(9): 607-619, 2011.
"""

import re
from pathlib import Path
from typing import Any

from mer.datasets import folder_search
from mer.datasets.frame_files import index_frames
from mer.datasets.index import Reading, Remark, make_table
from mer.datasets.labels import canonical_emotion
from mer.errors import MerError, raise_all

KEY = "data.macro.oulu_casia"
EXPECTED = """\
    <root>/
      OriginalImg/VL/Strong/P001/Anger/000.jpeg ...   (VL or NI; Strong, Weak or Dark)"""

EMOTIONS = frozenset({"anger", "disgust", "fear", "happiness", "sadness", "surprise"})
#: Option -> the words of the folders: NI is also written NIR, VL also VIS.
SPECTRA = {"VL": ("VL", "VIS"), "NI": ("NI", "NIR")}
LIGHTS = ("Strong", "Weak", "Dark")

_SUBJECT = re.compile(r"P\d{3}", re.IGNORECASE)


def index(
    root: Path, spectrum: str = "VL", light: str = "Strong", tree: str | None = None
) -> Reading:
    """Index one spectrum and illumination of Oulu-CASIA.

    Args:
        root: Folder at or above the subject folders.
        spectrum: `VL` (visible) or `NI` (near infrared).
        light: `Strong`, `Weak` or `Dark`.
        tree: `raw` or `cropped`; without it the raw tree where there is one.

    Returns:
        One row per sequence with sample ids `oulu_casia/P001/Anger`: neutral is the first frame,
        the peak the last (`apex_source` last); and the remarks.

    Raises:
        MerError: If an option is not known, or the root or the sequences cannot be found.
    """
    folder_search.check_root(KEY, root, EXPECTED)
    problems = []
    if spectrum.upper() not in SPECTRA:
        problems.append(f"`{KEY}.spectrum={spectrum}` is not one of {', '.join(SPECTRA)}")
    if light.capitalize() not in LIGHTS:
        problems.append(f"`{KEY}.light={light}` is not one of {', '.join(LIGHTS)}")
    raise_all("oulu_casia cannot be read:", problems)
    found = folder_search.find_trees(root, _is_subject)
    here = [tree for tree in found if _fits(tree, spectrum.upper(), light.lower())]
    if not here:
        what = f"sequences of {spectrum}/{light}"
        missing = folder_search.not_found(KEY, root, what, EXPECTED)
        raise_all("oulu_casia cannot be read:", [missing])
    best, remarks = folder_search.choose_tree(KEY, here, root, tree)
    rows: dict[str, dict[str, Any]] = {}
    for subject in filter(_is_subject, folder_search.folders(best)):
        name = subject.name.upper()
        for folder in folder_search.folders(subject):
            item = f"oulu_casia/{name}/{folder.name}"
            if canonical_emotion(folder.name) not in EMOTIONS:
                remarks.append(Remark(item, "ignored", f"{folder.name} is no emotion", 0))
                continue
            frames = index_frames(folder)
            if len(frames) < 2:
                remarks.append(Remark(item, "dropped", f"{folder} holds fewer than two pictures"))
                continue
            neutral, peak = min(frames), max(frames)
            rows[item] = {
                "sample_id": item,
                "dataset": "oulu_casia",
                "subject": f"oulu_casia/{name}",
                "clip": folder.name,
                "role": "macro",
                "emotion": canonical_emotion(folder.name),
                "onset": neutral,
                "apex": peak,
                "offset": peak,
                "apex_source": "last",
                "fps": 25.0,
                "onset_path": str(frames[neutral]),
                "apex_path": str(frames[peak]),
                "offset_path": str(frames[peak]),
            }
    if not rows:
        raise MerError(f"oulu_casia: no sequence in {best} holds pictures. Expected:\n{EXPECTED}")
    return Reading(make_table(list(rows.values())), remarks)


def _is_subject(path: Path) -> bool:
    return bool(_SUBJECT.fullmatch(path.name))


def _fits(tree: Path, spectrum: str, light: str) -> bool:
    """Tell whether a tree is `<spectrum>[_...]/<light>`."""
    word = re.split(r"[^A-Z]", tree.parent.name.upper())[0]
    return tree.name.lower() == light and word in SPECTRA[spectrum]
