"""Writes long videos in the layouts of CAS(ME)^2 and SAMM long videos, workbooks included."""

import json
import shutil
from pathlib import Path

from openpyxl import Workbook

from mer import processes
from mer.errors import MerError
from mer.synthetic.corpora import MARKER
from mer.synthetic.expressions import act
from mer.synthetic.long_recordings import LongRecording, film_video, plan_video
from mer.synthetic.trees import write_picture

#: Dataset -> folder name below the output folder.
ROOTS = {"casme_sq": "CASME_SQ", "samm_long": "SAMM_longvideos"}

#: Frames per second of the written videos. SAMM's 200 would only make the files ten times larger.
FPS = {"casme_sq": 30.0, "samm_long": 100.0}

#: Stimulus of CAS(ME)^2 -> code in the folder names.
_STIMULI = {"disgustingteeth": "0101", "anger1": "0401", "happy5": "0505"}


def write_long_videos(
    out: Path,
    dataset: str,
    *,
    subjects: int = 4,
    videos: int = 1,
    seconds: float = 30.0,
    seed: int = 0,
    workers: int = 1,
) -> Path:
    """Write a dataset of long videos; a complete one of the same kind is kept.

    Args:
        out: Folder for it.
        dataset: `casme_sq` or `samm_long`.
        subjects: Number of persons.
        videos: Videos of each person, up to three.
        seconds: Length of a video.
        seed: Another seed gives other persons and videos.
        workers: Processes.

    Returns:
        The dataset's root.

    Raises:
        MerError: If something else is in its place.
    """
    root = Path(out) / ROOTS[dataset]
    what = {"preset": "long", "seed": seed, "videos": [subjects, videos, seconds], "version": 1}
    marker = root / MARKER
    if marker.exists() and json.loads(marker.read_text()) == what:
        return root
    if root.exists():
        raise MerError(f"{root} is in the way; move it away, or type out=ANOTHER_FOLDER")
    plans = planned(dataset, subjects, videos, seconds, seed)
    unfinished = root.with_name(f".{root.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    tasks = [(unfinished, plan, seed) for plan in plans]
    for _ in processes.run(
        [_write_video] * max(1, workers),
        tasks,
        name=lambda task: f"the long video {task[1].video}",
        fewer="with workers=1",
    ):
        pass
    write = _write_casme_sq if dataset == "casme_sq" else _write_samm
    write(unfinished, plans, seed)
    (unfinished / MARKER).write_text(json.dumps(what) + "\n")
    unfinished.rename(root)
    return root


def planned(
    dataset: str, subjects: int, videos: int, seconds: float, seed: int
) -> list[LongRecording]:
    """What happens in each video, as the workbook says it."""
    names = [f"s{15 + n}" if dataset == "casme_sq" else f"{6 + n:03d}" for n in range(subjects)]
    films = list(_STIMULI) if dataset == "casme_sq" else ["1", "2", "3"]
    return [
        plan_video(dataset, name, film, FPS[dataset], seconds, seed)
        for name in names
        for film in films[:videos]
    ]


def _write_video(task: tuple[Path, LongRecording, int]) -> None:
    root, plan, seed = task
    for number, picture in enumerate(film_video(plan, seed), start=1):
        write_picture(root / _frame_path(plan, number), picture)


def _frame_path(plan: LongRecording, number: int) -> Path:
    if plan.dataset == "samm_long":
        name = f"{plan.subject}_{plan.video}"
        return Path(name, f"{name}_{number:04d}.jpg")
    folder = f"{plan.subject[1:]}_{_STIMULI[plan.video]}{plan.video}"
    return Path("rawpic", plan.subject, folder, f"img{number:03d}.jpg")


def _write_casme_sq(root: Path, plans: list[LongRecording], seed: int) -> None:
    """Write the codes without a header, the subjects' folders and the stimuli's codes."""
    book = Workbook()
    codes = book.worksheets[0]
    names = sorted({plan.subject for plan in plans})
    coarse = {"happiness": "positive", "surprise": "surprise"}
    for plan in plans:
        for number, event in enumerate(plan.events, start=1):
            clip = event.clip
            units = act(clip, seed, event.kind == "micro").codes
            emotion = coarse.get(clip.emotion, "negative")
            codes.append(
                [
                    *(names.index(plan.subject) + 1, f"{plan.video}_{number}"),
                    *(clip.onset, clip.apex, clip.offset, units, emotion),
                    *(f"{event.kind}-expression", clip.emotion),
                ]
            )
    folders, films = book.create_sheet("Sheet2"), book.create_sheet("Sheet3")
    for number, name in enumerate(names, start=1):
        folders.append([f"participant {number}", name, number])
    for film, code in _STIMULI.items():
        films.append([code, film])
    book.save(root / "CAS(ME)^2code_final.xlsx")


def _write_samm(root: Path, plans: list[LongRecording], seed: int) -> None:
    """Write nine lines of prose, the header, and one row per expression."""
    book = Workbook()
    sheet = book.worksheets[0]
    for number in range(9):
        sheet.append([f"Synthetic look-alike of the codes of SAMM long videos, line {number + 1}"])
    sheet.append(
        [
            *("Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration"),
            *("Type", "Action Units", "Notes"),
        ]
    )
    for plan in plans:
        for number, event in enumerate(plan.events, start=1):
            clip = event.clip
            units = act(clip, seed, event.kind == "micro").codes
            sheet.append(
                [
                    *(plan.subject, f"{plan.subject}_{plan.video}_{number}", int(plan.video)),
                    *(clip.onset, clip.apex, clip.offset, clip.offset - clip.onset + 1),
                    *("Micro - 1/2" if event.kind == "micro" else "Macro", units, None),
                ]
            )
    book.save(root / "SAMM_LongVideos_V2_Release.xlsx")
