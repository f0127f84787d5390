"""CK+48: the 981 cropped 48x48 gray pictures made from CK+, the last three of 327 sequences each.

Layout (the file names keep subject, sequence and frame)::

    CK+48/anger/S010_004_00000017.png
    CK+48/happy/S011_006_00000011.png

Annotated: the folder is the emotion (anger, contempt, disgust, fear, happy, sadness, surprise; 135,
54, 177, 75, 207, 84 and 249 pictures). There is no neutral picture, so no onset. Neighbouring
pictures are nearly the same: only a split by person is honest. Licence: that of CK+.

Citation: that of CK+, see `mer.datasets.readers.ckplus`.
"""

import re
from pathlib import Path
from typing import Any

from mer.datasets import folder_search
from mer.datasets.frame_files import frame_number, is_picture
from mer.datasets.index import Reading, Remark, make_table
from mer.datasets.labels import canonical_emotion
from mer.errors import MerError, raise_all

KEY = "data.macro.ck48"
EXPECTED = """\
    <root>/
      anger/S010_004_00000017.png ...
      contempt/ disgust/ fear/ happy/ sadness/ surprise/"""

EMOTIONS = frozenset({"anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"})

_NAME = re.compile(r"(S\d{3})_(\d{3})_(\d+)", re.IGNORECASE)


def index(root: Path) -> Reading:
    """Index the pictures of CK+48.

    Args:
        root: Folder of the emotion folders, or one above it.

    Returns:
        One row per picture with sample ids `ck48/S010/S010_004_00000017`; `onset_path` is missing.
        `person` is `ckplus/S010`, because CK+ shows the same people. The remarks name other files.

    Raises:
        MerError: If the root or the pictures cannot be found.
    """
    folder_search.check_root(KEY, root, EXPECTED)
    found = folder_search.find_trees(root, _is_emotion)
    if not found:
        missing = folder_search.not_found(KEY, root, "folders of emotions", EXPECTED)
        raise_all("ck48 cannot be read:", [missing])
    best, remarks = folder_search.choose_tree(KEY, found, root, None)
    rows: dict[str, dict[str, Any]] = {}
    for folder in filter(_is_emotion, folder_search.folders(best)):
        emotion = canonical_emotion(folder.name)
        for path in sorted(filter(is_picture, folder.iterdir())):
            name, frame = _NAME.fullmatch(path.stem), frame_number(path)
            subject = name[1].upper() if name else ""
            item = f"ck48/{subject}/{path.stem}"
            if name is None or frame is None:
                reason = "the name is not of the form S010_004_00000017"
                remarks.append(Remark(str(path), "dropped", reason))
            elif item in rows:
                reason = f"a second picture of this name, in {folder}"
                remarks.append(Remark(item, "dropped", reason))
            else:
                rows[item] = {
                    "sample_id": item,
                    "dataset": "ck48",
                    "subject": f"ck48/{subject}",
                    "person": f"ckplus/{subject}",
                    "clip": path.stem,
                    "role": "macro",
                    "emotion": emotion,
                    "apex": frame,
                    "apex_source": "last",
                    "apex_path": str(path),
                }
    if not rows:
        raise MerError(f"ck48: no picture in {best} has a name of CK+48. Expected:\n{EXPECTED}")
    return Reading(make_table(list(rows.values())), remarks)


def _is_emotion(path: Path) -> bool:
    return canonical_emotion(path.name) in EMOTIONS
