"""SMIC (Li et al., FG 2013), short clips: 164 micro-expressions, 16 subjects, 100 fps (camera HS).

Layout (raw, cropped, or both; subject folders are not padded, `non_micro` is passed over)::

    SMIC_all_raw/HS/s1/micro/negative/s1_ne_01/image559757.bmp
    SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01/reg_image559757.bmp

The cameras VIS and NIR (25 fps, 71 clips of 8 subjects) lie beside HS. Annotated: nothing but the
class folder; onset and offset are the first and the last picture, the apex is the middle one as in
the loaders of the MEGC 2019 composite. The long clips of SMIC-E lack some of the 164 and are not
read. Licence: signed agreement with the University of Oulu, research use.

Citation: X. Li, T. Pfister, X. Huang, G. Zhao, M. Pietikainen: A spontaneous micro-expression
database: Inducement, collection and baseline. IEEE FG 2013.
"""

import re
from pathlib import Path
from typing import Any

from mer.datasets import folder_search
from mer.datasets.frame_files import index_frames, nearest
from mer.datasets.index import Reading, Remark, make_table
from mer.errors import MerError, raise_all

KEY = "data.micro.smic"
EXPECTED = """\
    <root>/
      SMIC_all_raw/HS/s1/micro/negative/s1_ne_01/image559757.bmp ...   and/or
      SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01/reg_image559757.bmp ..."""

#: Camera -> frames per second.
CAMERAS = {"HS": 100.0, "VIS": 25.0, "NIR": 25.0}
#: Class folder -> the prefix of its clips.
CLASSES = {"negative": "ne", "positive": "po", "surprise": "sur"}

_SUBJECT = re.compile(r"s0*(\d{1,2})", re.IGNORECASE)
_CLIP = re.compile(r"s0*(\d{1,2})_(ne|po|sur)_(\w+)", re.IGNORECASE)


def subject_name(text: str) -> str | None:
    """Write a subject as the MEGC 2019 list does: `s1`, `s01` and `1` are all `s01`."""
    match = re.fullmatch(r"s?0*(\d{1,2})", text.strip().lower())
    return f"s{int(match[1]):02d}" if match else None


def list_name(clip: str) -> str:
    """Write a clip as the MEGC 2019 list does: `s1_ne_01` is `s01_ne_01`; other names stay."""
    match = _CLIP.fullmatch(clip.strip())
    return f"s{int(match[1]):02d}_{match[2].lower()}_{match[3]}" if match else clip.strip()


def index(root: Path, camera: str = "HS", tree: str | None = None) -> Reading:
    """Index the short clips of one camera of SMIC.

    Args:
        root: Folder at or above the subject folders.
        camera: `HS`, `VIS` or `NIR`.
        tree: `raw` or `cropped`; without it the raw tree where there is one.

    Returns:
        One row per clip with sample ids in the list's form, `smic/s01/s01_ne_01`, while `clip` is
        as on disk, `s1_ne_01`; and the remarks. The emotion is the class folder.

    Raises:
        MerError: If the root or the camera's clips cannot be found.
    """
    folder_search.check_root(KEY, root, EXPECTED)
    if camera.upper() not in CAMERAS:
        raise MerError(f"`{KEY}.camera={camera}` is not one of {', '.join(CAMERAS)}")
    camera = camera.upper()
    found = folder_search.find_trees(root, _is_subject)
    here = [place for place in found if _camera(place, root) in (camera, None)]
    if not here:
        what = f"clips of the camera {camera}"
        if found:
            what += f" (only {', '.join(sorted({str(_camera(place, root)) for place in found}))})"
        elif folder_search.find_trees(root, _is_long):
            what += (
                " (the clips without class folders there are those of SMIC-E, of which some lack)"
            )
        raise_all("smic cannot be read:", [folder_search.not_found(KEY, root, what, EXPECTED)])
    best, remarks = folder_search.choose_tree(KEY, here, root, tree)
    rows: dict[str, dict[str, Any]] = {}
    for subject in filter(_is_subject, folder_search.folders(best)):
        for emotion, folder in _class_folders(subject):
            for clip in folder_search.folders(folder):
                row, notes = _sample(clip, subject_name(subject.name), emotion, CAMERAS[camera])
                if row and row["sample_id"] in rows:
                    row, notes = None, [f"a second clip of this name, in {folder}"]
                item = f"smic/{subject_name(subject.name)}/{list_name(clip.name)}"
                if notes:
                    action = "mended" if row else "dropped"
                    remarks.append(Remark(item, action, "; ".join(notes)))
                if row:
                    rows[item] = row
    if not rows:
        raise MerError(f"smic: no clip in {best} holds pictures. Expected:\n{EXPECTED}")
    return Reading(make_table(list(rows.values())), remarks)


def _sample(
    clip: Path, subject: str | None, emotion: str, fps: float
) -> tuple[dict[str, Any] | None, list[str]]:
    frames = index_frames(clip)
    if len(frames) < 2:
        return None, [f"{clip} holds fewer than two pictures"]
    name = _CLIP.fullmatch(clip.name.strip())
    notes = []
    if name is None:
        notes.append(f"the clip name is not of the form s1_{CLASSES[emotion]}_01")
    elif f"s{int(name[1]):02d}" != subject:
        return None, [f"{clip} lies in the folder of another subject"]
    elif name[2].lower() != CLASSES[emotion]:
        notes.append(f"the name says `{name[2]}`, the folder `{emotion}`, which is kept")
    onset, offset = min(frames), max(frames)
    apex = nearest(frames, onset + (offset - onset) // 2, tolerance=None)
    assert apex is not None, "without a tolerance some frame is nearest"
    row = {
        "sample_id": f"smic/{subject}/{list_name(clip.name)}",
        "dataset": "smic",
        "subject": f"smic/{subject}",
        "clip": clip.name,
        "role": "micro",
        "emotion": emotion,
        "onset": onset,
        "apex": apex,
        "offset": offset,
        "apex_source": "midpoint",
        "fps": fps,
        "onset_path": str(frames[onset]),
        "apex_path": str(frames[apex]),
        "offset_path": str(frames[offset]),
    }
    return row, notes


def _is_subject(path: Path) -> bool:
    return bool(_SUBJECT.fullmatch(path.name)) and bool(_class_folders(path))


def _class_folders(subject: Path) -> list[tuple[str, Path]]:
    """Return (emotion, folder) of a subject; the level `micro` may be there or not."""
    micro = subject / "micro"
    parent = micro if micro.is_dir() else subject
    return [
        (child.name.lower(), child)
        for child in folder_search.folders(parent)
        if child.name.lower() in CLASSES
    ]


def _is_long(path: Path) -> bool:
    return bool(_SUBJECT.fullmatch(path.name)) and any(
        _CLIP.fullmatch(child.name) for child in folder_search.folders(path)
    )


def _camera(tree: Path, root: Path) -> str | None:
    """Read the camera from the nearest folder name up to the root, `None` if none says it."""
    for folder in [tree, *tree.parents]:
        for word in re.split(r"[^A-Z]+", folder.name.upper()):
            if word in CAMERAS:
                return word
        if folder == root:
            break
    return None
