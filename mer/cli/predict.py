"""`mer predict [MODEL] INPUT...`: label the expressions of clips by a model.

MODEL  a run directory, an .onnx file of `mer export`, or shipped weights (mer:motion-xxs, which
       is taken where none is named, or mer:motion-mlps)
INPUT  a video; a folder of frames; two pictures, the onset and the apex (also ONSET,APEX for each
       of several pairs); a CSV with the columns onset_path and apex_path; camera or camera:1
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mer.cli.options import Parser, add_trust

if TYPE_CHECKING:
    from rich.table import Table

    from mer.deploy.clip_files import Writer
    from mer.deploy.clip_words import Clip, Pair, Request
    from mer.deploy.facts import Facts
    from mer.deploy.prediction import ClipPrediction
    from mer.deploy.predictor import Predictor


def main(argv: list[str]) -> int:
    """Predict, print a table, and write files where they are asked for.

    Returns:
        Exit status 0, with or without labels.
    """
    given = _parser().parse_intermixed_args(argv)

    from mer.deploy.clip_words import read_request
    from mer.runs.terminal import console

    numbers = [one for one in (given.onset, given.apex, given.offset) if one is not None]
    request = read_request(given.words, _faults(given, numbers), given.fold, numbers)

    from mer.deploy.clip_files import Writer, to_json
    from mer.deploy.loading import SHIPPED, load

    with load(request.model or SHIPPED, given.fold, given.trust) as model:
        writer = None if given.out is None else Writer(given.out, model)
        clips: list[ClipPrediction] = []
        try:
            for clip in _predict(model, request, given, writer):
                clips.append(clip)
        finally:  # Ctrl-C too leaves the tables of what is finished
            if writer is not None and clips:
                writer.close(clips)
        if given.json == "-":
            print(to_json(model.facts, clips), end="")
            return 0
        if given.json is not None:
            from mer.files import write_text

            Path(given.json).parent.mkdir(parents=True, exist_ok=True)
            write_text(to_json(model.facts, clips), Path(given.json))
        screen = console()
        screen.print(_to_table(clips, model.facts.name))
        for sentence in _sentences(clips, model.facts):
            screen.print(sentence)
        if given.out is not None:
            screen.print(f"Pictures and tables: {given.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="mer predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="+", metavar="MODEL|INPUT", help="see above")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write JSON, CSV, pictures there")
    parser.add_argument("--json", metavar="FILE", help="write JSON there; - for the terminal")
    parser.add_argument("--fps", type=float, help="frames per second of a clip that does not know")
    for name in ("onset", "apex", "offset"):
        parser.add_argument(f"--{name}", type=int, metavar="N", help="number of this frame")
    parser.add_argument("--fold", metavar="NAME", help="one fold of a run, not their mean")
    add_trust(parser)
    return parser


def _faults(given: argparse.Namespace, numbers: list[int]) -> Iterator[str]:
    """What is wrong with the options, before anything is read."""
    from mer.errors import MerError
    from mer.files import output_faults
    from mer.spotting.stream import check_rate

    if given.fps is not None:
        try:
            check_rate(given.fps)
        except MerError as error:
            yield f"--{error}"
    if numbers and None in (given.onset, given.apex):
        yield "an annotated expression needs both --onset and --apex"
    elif numbers != sorted(numbers):
        yield f"--onset, --apex, --offset are {numbers}; expected numbers of frames in this order"
    if given.out is not None:
        yield from output_faults(f"--out {given.out}", given.out, folder=True)
    if given.json not in (None, "-"):
        yield from output_faults(f"--json {given.json}", Path(given.json))


def _predict(
    model: "Predictor", request: "Request", given: argparse.Namespace, writer: "Writer | None"
) -> Iterator["ClipPrediction"]:
    """Predict clip by clip and write the pictures of each; samples are not kept."""
    from dataclasses import replace

    from mer.deploy.video import predict_pairs

    def finish(asked: "Pair | Clip", clip: "ClipPrediction") -> "ClipPrediction":
        if writer is not None:
            writer.add(asked, clip, given.fps)
        bare = tuple(replace(one, sample=None) for one in clip.expressions)
        return replace(clip, expressions=bare)

    pairs = ((pair.name, pair.onset, pair.apex) for pair in request.pairs)
    for asked, clip in zip(request.pairs, predict_pairs(model, pairs), strict=True):
        yield finish(asked, clip)
    for each in request.clips:
        with _Bar(each.name) as bar:
            clip = model.predict_video(
                each.source,
                given.fps,
                onset=given.onset,
                apex=given.apex,
                offset=given.offset,
                progress=bar,
            )
        yield finish(each, clip)


class _Bar:
    """A progress bar over the frames of a clip, on a terminal alone."""

    def __init__(self, name: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc=name, unit="frame", disable=None, leave=False, file=sys.stderr)

    def __call__(self, done: int, count: int | None) -> None:
        self._bar.total = count
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()


def _to_table(clips: list["ClipPrediction"], model: str) -> "Table":
    from rich.table import Table

    table = Table(title=f"by {model}", box=None, pad_edge=False, title_justify="left")
    for name in ("clip", "face", "seconds", "label", "confidence", "motion", "action units"):
        table.add_column(name, justify="right" if name in ("confidence", "motion") else "left")
    names = _names(clips)
    for clip in clips:
        if not clip.expressions:
            table.add_row(names[clip.source], "", "", "none", "", "", "")
        for one in clip.expressions:
            said = one.prediction
            times = [f"{at.seconds:.2f}" for at in (one.onset, one.apex, one.offset) if at]
            units = sorted((said.units or {}).items(), key=lambda unit: -unit[1])
            table.add_row(
                names[clip.source],
                str(one.face) if clip.faces and clip.faces > 1 else "",
                " ".join(times),
                said.label or "none",
                "" if said.confidence is None else f"{100 * said.confidence:.0f} %",
                "" if said.strength is None else f"{said.strength:.2f} px",
                " ".join(f"{name} {value:.2f}" for name, value in units[:3] if value >= 0.2),
            )
    return table


def _sentences(clips: list["ClipPrediction"], facts: "Facts") -> list[str]:
    """Reasons and warnings, each once, and what a confidence is worth where one is shown."""
    lines, names = list(facts.warnings), _names(clips)
    for clip in clips:
        name = names[clip.source]
        lines += [] if clip.reason is None else [f"{name}: {clip.reason}"]
        lines += [f"{name}: {text.removeprefix(f'{clip.source}: ')}" for text in clip.warnings]
        for one in clip.expressions:
            when = f"{name}, {one.apex.seconds:.2f} s" if one.apex else name
            said = one.prediction
            reasons = [] if said.reason is None else [f"no label: {said.reason}"]
            lines += [f"{when}: {text}" for text in (*reasons, *said.warnings)]
    sure = any(one.prediction.confidence is not None for clip in clips for one in clip.expressions)
    if sure and (found := facts.calibration.get(facts.heads[0])):
        lines.append(f"Confidence is calibrated on {found.words}")
    return list(dict.fromkeys(lines))


def _names(clips: list["ClipPrediction"]) -> dict[str, str]:
    """Source -> its last part, or all of it where others end in the same."""
    sources = {clip.source: Path(clip.source).name for clip in clips}
    often = Counter(sources.values())
    return {source: name if often[name] == 1 else source for source, name in sources.items()}
