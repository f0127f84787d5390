"""Where the pictures and text files of each corpus lie, junk files included.

The layouts are those in which the corpora are distributed: the archive's top folder is kept below
the corpus's root, frame numbers are those of the recording.
"""

import shutil
from pathlib import Path

import cv2
import numpy as np

from mer.synthetic import annotation_files
from mer.synthetic.expressions import act
from mer.synthetic.plan import Clip, samm_digits, smic_digits

#: Dataset -> folder name below the output folder.
ROOTS: dict[str, str] = {
    "casme2": "CASME2",
    "samm": "SAMM",
    "smic": "SMIC",
    "ckplus": "CK+",
    "oulu_casia": "Oulu-CASIA",
    "mug": "MUG",
}

_CKPLUS_CODES = {
    "anger": 1,
    "contempt": 2,
    "disgust": 3,
    "fear": 4,
    "happy": 5,
    "sadness": 6,
    "surprise": 7,
}

_SMIC_TREE = Path("SMIC_all_raw/HS")


def frame_path(clip: Clip, number: int) -> Path:
    """Return the path of a frame below the root of its corpus."""
    subject, name = clip.subject, clip.clip
    match clip.dataset:
        case "casme2":
            return Path("CASME2_RAW_selected", subject, name, f"img{number}.jpg")
        case "samm":
            return Path(subject, name, f"{subject}_{number:0{samm_digits(name)}d}.jpg")
        case "smic":
            picture = f"image{number:0{smic_digits(subject)}d}.bmp"
            return _SMIC_TREE / subject / "micro" / clip.emotion / name / picture
        case "ckplus":
            picture = f"{subject}_{name}_{number:08d}.png"
            return Path("cohn-kanade-images", subject, name, picture)
        case "oulu_casia":
            return Path("OriginalImg/VL/Strong", subject, name, f"{number:03d}.jpeg")
        case "mug":
            return Path("subjects3", subject, name, f"img_{number:04d}.jpg")
    raise ValueError(f"no tree is known for the dataset {clip.dataset}")


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Encode a uint8 picture in the format of the file's ending and write it."""
    options = {".png": [cv2.IMWRITE_PNG_COMPRESSION, 1], ".bmp": []}
    chosen = options.get(path.suffix, [cv2.IMWRITE_JPEG_QUALITY, 93])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, picture, chosen)[1].tobytes())


def write_annotations(root: Path, clips: list[Clip], seed: int) -> None:
    """Write what a corpus holds besides the frames of its clips, which must be there already."""
    match clips[0].dataset:
        case "casme2":
            annotation_files.write_casme2(root / "CASME2-coding-20140508.xlsx", clips, seed)
            _junk(
                root / "CASME2_RAW_selected" / clips[0].subject,
                "Thumbs.db",
                "Desktop - Shortcut.lnk",
            )
            _junk((root / frame_path(clips[0], 0)).parent, "Thumbs.db")
        case "samm":
            annotation_files.write_samm(root / "SAMM_Micro_FACS_Codes_v2.xlsx", clips, seed)
            _junk((root / frame_path(clips[0], 0)).parent, "Thumbs.db")
        case "smic":
            subject = root / _SMIC_TREE / clips[0].subject
            _copy(root, clips[0], subject / "non_micro" / f"{clips[0].subject}_non_01", frames=3)
            _junk(root / _SMIC_TREE, ".DS_Store")
        case "ckplus":
            _write_ckplus_texts(root, clips, seed)
            _junk(root / "cohn-kanade-images", ".DS_Store")
            _junk(root / "Emotion" / clips[0].subject, ".DS_Store")
        case "oulu_casia":
            _junk((root / frame_path(clips[0], 0)).parent, "Thumbs.db")
        case "mug":
            take = root / "subjects3" / clips[0].subject / clips[0].clip
            _copy(root, clips[0], take.with_name("take009end"), frames=len(clips[0].frames))
            _junk(root / "subjects3", ".DS_Store")


def _junk(folder: Path, *names: str) -> None:
    """Write files such as desktops leave behind."""
    for name in names:
        (folder / name).write_bytes(b"\x00synthetic junk\x00")


def _copy(root: Path, clip: Clip, target: Path, frames: int) -> None:
    """Copy the first frames of a clip to a folder that readers must pass over."""
    target.mkdir(parents=True)
    for number in clip.frames[:frames]:
        source = root / frame_path(clip, number)
        shutil.copyfile(source, target / source.name)


def _write_ckplus_texts(root: Path, clips: list[Clip], seed: int) -> None:
    """Emotion and FACS files; emotion folders without label are empty and missing by turns."""
    unlabelled = 0
    for clip in clips:
        place = Path(clip.subject, clip.clip)
        stem = f"{clip.subject}_{clip.clip}_{clip.offset:08d}"
        folder = root / "Emotion" / place
        if clip.emotion:
            folder.mkdir(parents=True)
            code = _CKPLUS_CODES[clip.emotion]
            (folder / f"{stem}_emotion.txt").write_text(f"   {code:.7e}\n")
        else:
            unlabelled += 1
            if unlabelled % 2:
                folder.mkdir(parents=True)
        folder = root / "FACS" / place
        folder.mkdir(parents=True)
        lines = []
        for unit in act(clip, seed).units:
            intensity = min(5, 1 + int(4 * max(unit.left, unit.right)))
            lines.append(f"   {unit.number:.7e}   {intensity:.7e}\n")
        (folder / f"{stem}_facs.txt").write_text("".join(lines))
