"""MUG (Aifanti et al., WIAMIS 2010): posed expressions, colour, 19 fps, 52 subjects on the web.

Layout (the top folder is `subjects3`, cleaned copies carry other names)::

    subjects3/001/anger/take000/img_0000.jpg         the first number is not always 0

Annotated: the folder is the emotion (anger, disgust, fear, happiness, neutral, sadness, surprise).
A take begins and ends neutral, so the peak is taken from its middle. Takes whose name ends with
`end` and other folders are passed over. Licence: on request from the Aristotle University of
Thessaloniki.

Citation: N. Aifanti, C. Papachristou, A. Delopoulos: The MUG facial expression database.
WIAMIS 2010.
"""

from pathlib import Path

from mer.datasets import folder_search
from mer.datasets.frame_files import index_frames, nearest
from mer.datasets.index import Reading, Remark, make_table
from mer.datasets.labels import canonical_emotion
from mer.errors import MerError, raise_all

KEY = "data.macro.mug"
EXPECTED = """\
    <root>/
      subjects3/001/anger/take000/img_0000.jpg ..."""

EMOTIONS = frozenset({"anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"})


def index(root: Path) -> Reading:
    """Index the takes of MUG.

    Args:
        root: Folder at or above the subject folders.

    Returns:
        One row per take with sample ids `mug/001/anger_take000`: neutral is the first frame, the
        peak the middle of the frame numbers (`apex_source` midpoint); and the remarks.

    Raises:
        MerError: If the root or the takes cannot be found.
    """
    folder_search.check_root(KEY, root, EXPECTED)
    found = folder_search.find_trees(root, _is_subject)
    if not found:
        what = "folders of subjects with folders of emotions"
        raise_all("mug cannot be read:", [folder_search.not_found(KEY, root, what, EXPECTED)])
    best, remarks = folder_search.choose_tree(KEY, found, root, None)
    rows, skipped = [], 0
    for subject in filter(_is_subject, folder_search.folders(best)):
        for folder in folder_search.folders(subject):
            if not _is_emotion(folder):
                skipped += 1
                continue
            for take in folder_search.folders(folder):
                item = f"mug/{subject.name}/{folder.name}_{take.name}"
                frames = index_frames(take)
                if take.name.lower().endswith("end"):
                    skipped += 1
                elif len(frames) < 2:
                    reason = f"{take} holds fewer than two pictures"
                    remarks.append(Remark(item, "dropped", reason))
                else:
                    rows.append(_sample(item, subject.name, folder.name, take.name, frames))
    if skipped:
        reason = f"folders that are no emotion, or takes that end with `end`: {skipped}"
        remarks.append(Remark("mug", "ignored", reason, 0))
    if not rows:
        raise MerError(f"mug: no take in {best} holds pictures. Expected:\n{EXPECTED}")
    return Reading(make_table(rows), remarks)


def _sample(
    item: str, subject: str, emotion: str, take: str, frames: dict[int, Path]
) -> dict[str, object]:
    onset, offset = min(frames), max(frames)
    apex = nearest(frames, onset + (offset - onset) // 2, tolerance=None)
    assert apex is not None, "without a tolerance some frame is nearest"
    return {
        "sample_id": item,
        "dataset": "mug",
        "subject": f"mug/{subject}",
        "clip": f"{emotion}_{take}",
        "role": "macro",
        "emotion": canonical_emotion(emotion),
        "onset": onset,
        "apex": apex,
        "offset": offset,
        "apex_source": "midpoint",
        "fps": 19.0,
        "onset_path": str(frames[onset]),
        "apex_path": str(frames[apex]),
        "offset_path": str(frames[offset]),
    }


def _is_emotion(path: Path) -> bool:
    return canonical_emotion(path.name) in EMOTIONS


def _is_subject(path: Path) -> bool:
    return any(_is_emotion(child) for child in folder_search.folders(path))
