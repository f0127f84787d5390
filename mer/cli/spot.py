"""`mer spot`: find expressions in videos, or score the spotting on a dataset of long videos."""

import argparse
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer.cli.options import Parser, add_trust, is_setting
from mer.errors import MerError, raise_all
from mer.progress import progress_bar

if TYPE_CHECKING:
    from mer.datasets.long_videos import LongVideos
    from mer.deploy.predictor import Predictor
    from mer.spotting.evaluation import Evaluation

DESCRIPTION = """\
Find micro- and macro-expressions in videos: onset, apex and offset of each, by the motion of facial
regions. INPUT is

  a video file, a folder of numbered frames, or the index of a camera (0 is the first; Ctrl-C ends)
  DATASET=FOLDER   all long videos of a dataset, with scores against its annotation; DATASET is
                   samm_long (SAMM long videos), casme_sq (CAS(ME)^2) or casme3 (CAS(ME)^3, part A)

Each input gives NAME.csv and NAME.json with its intervals and NAME.svg with a line of time in the
folder --out. `mer synth preset=long` writes look-alikes of two of the datasets. With --model, a run
directory, an .onnx file of `mer export` or shipped weights (mer:motion-xxs, mer:motion-mlps), the
micro-expressions of a dataset that were spotted rightly are recognised too: NAME-recognised.csv and
the spot-then-recognise score (STRS). `mer predict` labels what it spots in a single video.
"""

log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Spot, print a table per input, and write the files.

    Returns:
        Exit status 0.
    """
    parser = Parser(
        prog="mer spot",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="video, folder, camera, dataset")
    parser.add_argument("--out", type=Path, default=Path("spotted"), help="folder (spotted)")
    parser.add_argument("--fps", type=float, help="frames per second, where the input is wrong")
    parser.add_argument(
        "--threshold", type=float, help="least motion in multiples of a face's rest"
    )
    parser.add_argument("--min-face", type=float, default=60.0, help="least width in px (60)")
    parser.add_argument("--workers", type=int, help="processes for the videos of a dataset")
    parser.add_argument("--model", metavar="MODEL", help="recognise what was spotted in a dataset")
    add_trust(parser)
    given = parser.parse_intermixed_args(argv)

    from mer.spotting.spotted_expression import Settings

    settings = Settings()
    datasets = [text for text in given.inputs if is_setting(text)]
    raise_all("this cannot be spotted:", _faults(given, datasets))
    if given.threshold is not None:
        settings = replace(settings, threshold=given.threshold)
    for text in given.inputs:
        if text in datasets:
            name, _, root = text.partition("=")
            _dataset(name, Path(root).expanduser(), given, settings)
        else:
            _video(_source(text), given, settings)
    return 0


def _source(text: str) -> str | int:
    """What a word names: a camera by its number, or a path."""
    return int(text) if text.isdigit() and not Path(text).exists() else text


def _faults(given: argparse.Namespace, datasets: list[str]) -> Iterator[str]:
    """What is wrong with the words, before any of them is worked on."""
    from mer.datasets.long_videos import check
    from mer.deploy.clip_words import faults_of_model
    from mer.files import output_faults
    from mer.spotting.frames import open_frames
    from mer.spotting.stream import check_rate

    for option, value in (("--threshold", given.threshold), ("--min-face", given.min_face)):
        if value is not None and not value > 0:
            yield f"{option} {value}: type a number above 0, such as 5"
    if given.workers is not None and given.workers < 1:
        yield f"--workers {given.workers}: type 1 or more"
    yield from output_faults(f"--out {given.out}", given.out, folder=True)
    if given.model is not None and datasets != given.inputs:
        yield "--model is for datasets; for a video type `mer predict MODEL VIDEO`"
    elif given.model is not None:
        yield from faults_of_model(given.model)
    if given.fps is not None:
        try:
            check_rate(given.fps)
        except MerError as error:
            yield f"--{error}"
    for text in given.inputs:
        try:
            if text in datasets:
                name, _, root = text.partition("=")
                check(name, Path(root).expanduser())
            else:
                with open_frames(_source(text)):  # reads its first frame
                    pass
        except MerError as error:
            yield str(error)


def _video(source: str | int, given: argparse.Namespace, settings: Any) -> None:
    from mer.spotting.evaluation import spot_video, write_intervals
    from mer.spotting.spotter import strongest
    from mer.spotting.timeline import timeline

    name = f"camera-{source}" if isinstance(source, int) else Path(source).stem or "video"
    with progress_bar(None, name, "frame") as bar:

        def show(done: int, count: int | None) -> None:
            bar.total = count
            bar.update()

        video = spot_video(
            source, given.fps, settings, name=name, min_face=given.min_face, progress=show
        )
    facts = {
        "source": str(source),
        "fps": video.fps,
        "frames": video.frames,
        "faces": [
            {"face": f.number, "first": f.first, "last": f.last, "blinks": list(f.blinks)}
            for f in video.faces
        ],
        "warnings": video.warnings,
    }
    stem = _stem(name)
    write_intervals(video.table, given.out, stem, facts)
    plot = timeline(name, video.faces, video.table, settings.threshold)
    plot.figure.savefig(given.out / f"{stem}.svg", metadata={"Date": None})
    for text in video.warnings:
        log.warning("%s", text)
    _print_intervals(name, video.table)
    if video.faces and not len(video.table):
        seen = strongest(video.faces, settings.threshold)
        print(
            f"{seen[:1].upper()}{seen[1:]}. A lower --threshold finds weaker ones, and more noise."
        )
    print(f"Intervals and line of time: {given.out / stem}.csv, .json, .svg")


def _print_intervals(name: str, table: Any) -> None:
    from rich.table import Table

    from mer.runs.terminal import console

    shown = Table(title=f"{name}: {len(table)} spotted", title_justify="left")
    columns = ("face", "kind", "onset", "apex", "offset", "seconds", "strength", "regions")
    for column in columns:
        shown.add_column(column)
    for row in table.itertuples():
        seconds = f"{row.onset_time:.2f} to {row.offset_time:.2f}"
        numbers = (row.face, row.kind, row.onset, row.apex, row.offset, seconds)
        shown.add_row(*map(str, numbers), f"{row.strength:.2f} px", row.regions)
    if len(table):
        console().print(shown)
    else:
        print(f"{name}: nothing was spotted.")


def _dataset(name: str, root: Path, given: argparse.Namespace, settings: Any) -> None:
    from rich.table import Table

    from mer import processes
    from mer.datasets.long_videos import read_long_videos
    from mer.runs.terminal import console
    from mer.spotting.evaluation import evaluate, write_intervals

    dataset = read_long_videos(name, root, given.fps)
    for remark in dataset.remarks:
        log.info("%s %s: %s", remark.item, remark.action, remark.reason)
    workers = processes.cores() if given.workers is None else given.workers
    model = None
    if given.model is not None:  # a wrong name is said before hours of spotting
        from mer.deploy.loading import load

        model = load(given.model.removeprefix("mer:"), trust=given.trust)
    result = evaluate(dataset, settings, min(workers, len(dataset.videos)))
    scores = {kind: counts.as_dict() for kind, counts in result.counts.items()}
    facts: dict[str, Any] = {
        "dataset": name,
        "videos": len(dataset.videos),
        "least_overlap": 0.5,
        "scores": scores,
        "apex_error_frames": result.apex_frames,
        "warnings": result.warnings,
    }
    sentence = ""
    if model is not None:
        with model:
            sentence = _recognise(model, dataset, result, given.out, facts)
    write_intervals(result.table, given.out, _stem(name), facts)
    shown = Table(title=f"{name}: {len(dataset.videos)} videos, IoU >= .5", title_justify="left")
    for column in ("", "annotated", "spotted", "right", "precision", "recall", "F1"):
        shown.add_column(column)
    for kind, counts in result.counts.items():
        numbers = (counts.right + counts.missed, counts.right + counts.wrong, counts.right)
        shares = (counts.precision, counts.recall, counts.f1)
        shown.add_row(kind, *map(str, numbers), *(f"{share:.3f}" for share in shares))
    terminal = console()
    terminal.print(shown)
    if result.apex_frames is not None:
        terminal.print(f"Apexes of right intervals lie {result.apex_frames:.2f} frames off.")
    if sentence:
        terminal.print(sentence)
    print(f"Intervals and scores: {given.out / _stem(name)}.csv, .json")


def _recognise(
    model: "Predictor",
    dataset: "LongVideos",
    spotted: "Evaluation",
    out: Path,
    facts: dict[str, Any],
) -> str:
    """Recognise what was spotted; write the table, add the scores to the facts, and say them."""
    from mer.deploy.recognition import recognise
    from mer.files import write_csv

    result = recognise(model, dataset, spotted)
    out.mkdir(parents=True, exist_ok=True)
    write_csv(result.table, out / f"{_stem(dataset.dataset)}-recognised.csv")
    known = int(result.table["label"].notna().sum())
    facts["recognition"] = {
        "model": model.facts.name,
        "classes": list(model.facts.classes),
        "micro_expressions": known,
        "without_class": len(result.table) - known,
        "f1": result.f1,
        "strs": result.strs,
    }
    if result.f1 is None or result.strs is None:
        return (
            f"STRS cannot be given: of {len(result.table)} rightly spotted micro-expressions none "
            f"has an emotion of the classes {', '.join(model.facts.classes)}."
        )
    left = len(result.table) - known
    more = f"; {left} more have no emotion of its classes" if left else ""
    return (
        f"{model.facts.name} on {known} rightly spotted micro-expressions: F1 {result.f1:.3f}, "
        f"STRS {result.strs:.3f} = {spotted.counts['micro'].f1:.3f} x {result.f1:.3f}{more}."
    )


def _stem(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "video"
