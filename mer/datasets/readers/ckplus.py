"""CK+ (Lucey et al., CVPRW 2010): posed and some spontaneous expressions from neutral to peak.

Layout (the four archives, each possibly below one more folder, e.g. `Emotion_labels/Emotion`)::

    cohn-kanade-images/S005/001/S005_001_00000011.png     593 sequences of 123 subjects
    Emotion/S005/001/S005_001_00000011_emotion.txt        327 files; folders may be empty
    FACS/S005/001/S005_001_00000011_facs.txt              lines of `unit intensity`, optional

Annotated: the emotion of 327 sequences (1 anger, 2 contempt, 3 disgust, 4 fear, 5 happiness,
6 sadness, 7 surprise) and the action units of the last frame. The first frame is neutral, the last
one the peak. Licence: signed agreement, non-commercial research.

Citation: P. Lucey, J. F. Cohn, T. Kanade, J. Saragih, Z. Ambadar, I. Matthews: The extended
Cohn-Kanade dataset (CK+): A complete dataset for action unit and emotion-specified expression.
CVPR Workshops 2010.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mer.datasets import action_units, folder_search
from mer.datasets.action_units import ActionUnit
from mer.datasets.frame_files import index_frames, is_picture
from mer.datasets.index import Reading, Remark, make_table
from mer.datasets.number_cells import whole
from mer.errors import MerError, raise_all

KEY = "data.macro.ckplus"
EXPECTED = """\
    <root>/
      cohn-kanade-images/S005/001/S005_001_00000011.png ...
      Emotion/S005/001/S005_001_00000011_emotion.txt ...
      FACS/S005/001/S005_001_00000011_facs.txt ...   (optional)"""

#: Code in an emotion file -> emotion.
EMOTIONS = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
#: Code in a FACS file -> intensity; 0 is not scored.
INTENSITIES = ("", "A", "B", "C", "D", "E")

_SUBJECT = re.compile(r"S\d{3}", re.IGNORECASE)


def index(root: Path) -> Reading:
    """Index the labelled sequences of CK+.

    Args:
        root: Folder above pictures and emotion files, at any depth down to five levels.

    Returns:
        One row per sequence with sample ids `ckplus/S005/001`: neutral is the first frame, the peak
        the last (`apex_source` last), `fps` is missing. Sequences without emotion are summed in one
        remark.

    Raises:
        MerError: If the root, the pictures or the emotion files cannot be found.
    """
    folder_search.check_root(KEY, root, EXPECTED)
    kinds: dict[str, list[Path]] = {"images": [], "emotion": [], "facs": []}
    for tree in folder_search.find_trees(root, lambda path: bool(_SUBJECT.fullmatch(path.name))):
        kinds.get(_kind(tree), []).append(tree)
    wanted = {"images": "sequences of pictures", "emotion": "emotion files"}
    missing = " and no ".join(what for kind, what in wanted.items() if not kinds[kind])
    if missing:
        raise_all("ckplus cannot be read:", [folder_search.not_found(KEY, root, missing, EXPECTED)])
    images, remarks = folder_search.choose_tree(KEY, kinds["images"], root, None)
    rows, unlabelled = [], 0
    for subject, sequence in _sequences(images):
        item = f"ckplus/{subject}/{sequence.name}"
        frames = index_frames(sequence)
        place = Path(sequence.parent.name) / sequence.name
        emotion, fault = _emotion(_text_file(kinds["emotion"], place, "_emotion.txt"))
        if len(frames) < 2:
            remarks.append(Remark(item, "dropped", f"{sequence} holds fewer than two pictures"))
        elif fault:
            remarks.append(Remark(item, "dropped", fault))
        elif emotion is None:
            unlabelled += 1
        else:
            neutral, peak = min(frames), max(frames)
            units, notes = _units(_text_file(kinds["facs"], place, "_facs.txt"))
            if notes:
                remarks.append(Remark(item, "mended", "; ".join(notes)))
            rows.append(
                {
                    "sample_id": item,
                    "dataset": "ckplus",
                    "subject": f"ckplus/{subject}",
                    "clip": sequence.name,
                    "role": "macro",
                    "emotion": emotion,
                    "action_units": units,
                    "onset": neutral,
                    "apex": peak,
                    "offset": peak,
                    "apex_source": "last",
                    "onset_path": str(frames[neutral]),
                    "apex_path": str(frames[peak]),
                    "offset_path": str(frames[peak]),
                }
            )
    if unlabelled:
        reason = "sequences without emotion file"
        remarks.append(Remark("ckplus", "dropped", reason, unlabelled))
    if not rows:
        raise MerError(
            f"ckplus: no sequence of {images} has an emotion file in {kinds['emotion'][0]}. "
            f"Expected:\n{EXPECTED}"
        )
    return Reading(make_table(rows), remarks)


def _sequences(tree: Path) -> Iterator[tuple[str, Path]]:
    for subject in folder_search.folders(tree):
        if _SUBJECT.fullmatch(subject.name):
            for sequence in folder_search.folders(subject):
                yield subject.name.upper(), sequence


def _kind(tree: Path) -> str:
    """Tell what a tree holds by the first file that says so; empty folders are passed over."""
    for _, sequence in _sequences(tree):
        for path in sorted(sequence.iterdir()):
            if is_picture(path):
                return "images"
            for kind in ("emotion", "facs"):
                if path.name.lower().endswith(f"_{kind}.txt"):
                    return kind
    return "other"


def _text_file(places: list[Path], sequence: Path, ending: str) -> Path | None:
    """Find the annotation file of a sequence in the trees of one kind."""
    for place in places:
        folder = place / sequence
        if folder.is_dir():
            files = [path for path in folder.iterdir() if path.name.lower().endswith(ending)]
            visible = sorted(path for path in files if not path.name.startswith("."))
            if visible:
                return visible[-1]
    return None


def _emotion(path: Path | None) -> tuple[str | None, str]:
    """Read an emotion file, a float such as `   5.0000000e+00`: the emotion, or a fault."""
    text = path.read_text(encoding="utf-8", errors="replace").strip() if path else ""
    if not text:
        return None, ""
    code = whole(text.split()[0])
    if code is None or code >= len(EMOTIONS):
        return None, f"{path} holds `{text[:20]}`, expected is 0 to {len(EMOTIONS) - 1}"
    return EMOTIONS[code], ""


def _units(path: Path | None) -> tuple[str, list[str]]:
    """Read a FACS file, a unit and its intensity on each line."""
    units, notes = [], []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path else []
    for line in filter(str.strip, lines):
        numbers = [whole(word) for word in line.split()]
        match numbers:
            case [int(number), int(intensity)] if 1 <= number <= 99 and intensity <= 5:
                units.append(ActionUnit(number, intensity=INTENSITIES[intensity]))
            case _:
                notes.append(f"the line `{line.strip()[:40]}` of {path} is no unit with intensity")
    return action_units.text(units), notes
