"""Write the corpora of a preset in parallel, one corpus after the other, each all or nothing.

A corpus is written to a hidden sibling folder and renamed when it is complete, so an interrupted
run leaves no half corpus behind, and the next run goes on with the missing ones.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from filelock import FileLock

from mer import processes
from mer.errors import MerError, raise_all
from mer.files import naming
from mer.progress import progress_bar
from mer.synthetic.plan import MACRO, MICRO, Clip, plan

#: Changes with everything that changes the files; corpora of other versions are not taken over.
VERSION = 1

MARKER = ".mer-synth.json"

_CLIPS_PER_TASK = 4

_log = logging.getLogger(__name__)


def generate(
    preset: str, out: Path, seed: int = 0, workers: int | None = None, overwrite: bool = False
) -> dict[str, Path]:
    """Write the six corpora of a preset, or those of them that are missing.

    The files depend on `preset` and `seed` alone. Beside the layout of the real corpus each root
    holds `.mer-synth.json` (what it is) and `.mer-truth.csv` (what was acted in each clip).

    Args:
        preset: `tiny`, `demo` or `megc2019` (see `mer.synthetic.presets`).
        out: Folder for the corpora; it is made where it is missing.
        seed: Another seed gives other persons and clips.
        workers: Processes; all cores by default, 1 works in the calling process.
        overwrite: Replace synthetic corpora of another preset, seed or version.

    Returns:
        Reader name (`casme2`, ...) -> root of the corpus.

    Raises:
        MerError: If the preset is unknown, `workers` is below 1, or a folder in `out` holds
            something else than these corpora.
    """
    from mer.synthetic.trees import ROOTS

    clips = plan(preset, seed)
    count = processes.cores() if workers is None else workers
    if count < 1:
        raise MerError(f"workers={workers}: type at least 1, or null for all cores.")
    out = Path(out)
    roots = {name: out / ROOTS[name] for name in (*MICRO, *MACRO)}
    what = {"preset": preset, "seed": seed, "version": VERSION}
    raise_all(
        f"Cannot write synthetic corpora to {out}:",
        filter(None, (_in_the_way(root, what, overwrite) for root in roots.values())),
    )
    if all(_holds(root) == what for root in roots.values()):
        return roots

    out.mkdir(parents=True, exist_ok=True)
    with FileLock(
        out / ".mer-synth.lock"
    ):  # of two runs at once, the second finds the first's work
        todo = {name: root for name, root in roots.items() if _holds(root) != what}
        total = sum(clip.dataset in todo for clip in clips)
        with progress_bar(total, "synthetic clips", "clip") as bar:
            for name, root in todo.items():
                own = [clip for clip in clips if clip.dataset == name]
                _write_corpus(root, own, seed, what, count, bar)
    return roots


def _holds(root: Path) -> dict[str, object] | None:
    """What the marker of a corpus says, None where there is none."""
    try:
        found = json.loads((root / MARKER).read_text())
    except (OSError, ValueError):
        return None
    return {key: found.get(key) for key in ("preset", "seed", "version")}


def _in_the_way(root: Path, what: dict[str, object], overwrite: bool) -> str:
    """Say why `root` cannot be written, or return an empty text."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return ""
    found = _holds(root)
    if found is None:
        return (
            f"{root} exists and was not made by `mer synth`; "
            "move it away, or type out=ANOTHER_FOLDER"
        )
    if found == what or overwrite:
        return ""
    return (
        f"{root} holds the synthetic corpus {_named(found)}, not {_named(what)}; "
        "type overwrite=true to replace it, or out=ANOTHER_FOLDER (of `mer train`: data.root)"
    )


def _named(what: dict[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in what.items())


def _write_corpus(
    root: Path,
    clips: list[Clip],
    seed: int,
    what: dict[str, object],
    workers: int,
    bar: Any,
) -> None:
    """Write one corpus beside its place and move it there."""
    from mer.synthetic.trees import write_annotations
    from mer.synthetic.truth import write_truth

    unfinished = root.with_name(f".{root.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
    unfinished.mkdir()
    film = partial(film_batch, unfinished, seed)
    batches = processes.run(
        [film] * workers,
        _batches(clips),
        name=lambda batch: f"synthetic clips of {batch[0].subject}",
        fewer="with workers=1",
    )
    try:
        with naming(root), closing(batches):
            for batch, _ in batches:
                bar.update(len(batch))
        write_annotations(unfinished, clips, seed)
        write_truth(unfinished, clips, seed)
        frames = sum(len(clip.frames) for clip in clips)
        marker = what | {"clips": len(clips), "frames": frames}
        (unfinished / MARKER).write_text(json.dumps(marker, indent=2) + "\n")
        if root.exists():
            shutil.rmtree(root)
        unfinished.rename(root)
    except BaseException:  # an interruption too leaves nothing behind
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _log.info("%s: %d clips, %d frames", root, len(clips), frames)


def _batches(clips: list[Clip]) -> Iterator[list[Clip]]:
    """Split clips into tasks of one subject each, whose portrait is then painted once."""
    for _, group in groupby(clips, key=lambda clip: clip.subject):
        own = list(group)
        for start in range(0, len(own), _CLIPS_PER_TASK):
            yield own[start : start + _CLIPS_PER_TASK]


def film_batch(root: Path, seed: int, clips: list[Clip]) -> None:
    """Film some clips into the corpus at `root`."""
    from mer.synthetic.camera import film
    from mer.synthetic.trees import frame_path, write_picture

    for clip in clips:
        for number, picture in zip(clip.frames, film(clip, seed), strict=True):
            write_picture(root / frame_path(clip, number), picture)
