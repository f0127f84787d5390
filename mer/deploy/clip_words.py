"""What is typed for `mer predict`: a model, and clips of several kinds, all checked at once."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mer.datasets.frame_files import EXTENSIONS
from mer.datasets.readers import column_names
from mer.datasets.text_tables import read_csv
from mer.errors import MerError, raise_all
from mer.prepare.sample import Drop, read_picture
from mer.runs import rundir
from mer.runs.run_folders import absent, is_run, no_run
from mer.spotting.frames import check_numbers, open_frames

#: Endings of tables of pairs.
TABLES = frozenset({".csv", ".tsv", ".txt"})

#: Endings of models.
MODELS = frozenset({".onnx", ".pt2", ".ckpt"})

#: What is expected of a model.
MODEL = (
    "A model is a run directory, an .onnx file of `mer export`, or shipped weights (mer:motion-xxs)"
)

_CAMERA = re.compile(r"camera(?::(\d+))?")


class Pair(NamedTuple):
    """Two pictures of one face, and their name."""

    name: str
    onset: Path
    apex: Path


class Clip(NamedTuple):
    """A video, a folder of frames, or the number of a camera."""

    source: Path | int

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"camera-{self.source}" if isinstance(self.source, int) else self.source.stem


class Request(NamedTuple):
    """What is to be predicted, and by which model; None for the shipped one."""

    model: str | None
    pairs: list[Pair]
    clips: list[Clip]


def read_request(
    words: Sequence[str],
    faults: Iterable[str] = (),
    fold: str | None = None,
    numbers: Sequence[int] = (),
) -> Request:
    """Sort words into a model and clips, and look at each of them.

    Args:
        words: A model or none, then videos, folders of frames, pairs of pictures, tables, cameras.
        faults: What is wrong with the options beside them.
        fold: Name of the model's fold.
        numbers: Numbers of frames of the one clip, in rising order.

    Raises:
        MerError: If one of them cannot be used; it names all that cannot.
    """
    words, faults = list(words), list(faults)
    model = words.pop(0) if words and _is_model(words[0]) else None
    if model is not None:
        faults += faults_of_model(model, fold)
    elif fold is not None:
        faults.append(f"--fold {fold}: folds are those of a run; name its directory first")
    if not words:
        faults.append(
            "there is nothing to label: name a video, a folder of frames, two pictures (onset "
            "and apex), a CSV of such pairs, or `camera`"
        )
    pairs: list[Pair] = []
    clips: list[Clip] = []
    single = [word for word in words if _is_picture(word)]
    if len(single) == 2:
        pairs.append(_pair(*single))
    elif single:
        faults.append(
            f"pictures without a partner ({', '.join(single[:3])}): an expression needs its onset "
            "and its apex; type ONSET,APEX for each pair"
        )
    for word in words:
        if word in single:
            continue
        if model is None and _is_model(word):
            rest = " ".join(one for one in words if one != word)
            faults.append(f"{word} is a model, which comes first: mer predict {word} {rest}")
            continue
        try:
            _add(word, pairs, clips)
        except MerError as error:
            if model is not None or word != words[0] or not _may_be_model(word):
                faults.append(str(error))
            elif Path(word).expanduser().exists() or not words[1:]:  # may be a clip as well
                faults.append(f"{error}. {MODEL}")
            else:
                faults += faults_of_model(word)
    faults += [fault for pair in pairs for fault in _unreadable(pair)]
    if numbers and not faults:
        faults += _lacking(pairs, clips, numbers)
    raise_all("this cannot be predicted:", faults)
    return Request(model, pairs, clips)


def _is_model(word: str) -> bool:
    """Whether a word names a model: a run, a file of `mer export`, or shipped weights."""
    path = Path(word).expanduser()
    if path.is_dir():
        return (path / "config.yaml").exists() or (path / "folds").is_dir()
    if path.suffix or path.exists() or "," in word or _CAMERA.fullmatch(word):
        return path.suffix in MODELS
    return word.startswith("mer:") or _is_shipped(word)


def _is_shipped(word: str) -> bool:
    from mer.models.ready_weights import PREFIX, READY  # brings torch

    return word.removeprefix(PREFIX) in READY


def _may_be_model(word: str) -> bool:
    """Whether a word that is no clip may have been meant as a model."""
    path = Path(word).expanduser()
    return path.is_dir() or not (path.suffix or "," in word or word.startswith("camera"))


def _lacking(pairs: list[Pair], clips: list[Clip], numbers: Sequence[int]) -> Iterator[str]:
    """What is wrong with the numbers of an expression's frames."""
    if pairs or len(clips) != 1 or isinstance(clips[0].source, int):
        yield "--onset, --apex and --offset are frames of one video or folder of frames"
        return
    try:
        check_numbers(clips[0].source, numbers)
    except MerError as error:
        yield str(error)


def faults_of_model(model: str, fold: str | None = None) -> Iterator[str]:
    """What is wrong with a model and the name of a fold, as far as a look tells."""
    path = Path(model).expanduser()
    if path.is_dir():
        done = rundir.finished(path)
        if not done:
            what = f"{model} is a run without a finished fold" if is_run(path) else no_run(path)
            yield f"{what}. {MODEL}"
        elif fold is not None and fold not in done:
            yield f"{model} has no finished fold `{fold}`; there are: {', '.join(done)}"
    elif fold is not None:
        yield f"{model} is no run directory, so it has no fold {fold}"
    elif path.suffix in MODELS and not path.is_file():
        yield f"{absent(path)}. {MODEL}"
    elif path.exists() and path.suffix != ".onnx":
        yield f"{model} is no ONNX file. {MODEL}"
    elif path.suffix not in MODELS and not _is_shipped(model):
        missing = f"there are no weights {model}" if "/" not in model else absent(path)
        yield f"{missing}. {MODEL}"


def _is_picture(word: str) -> bool:
    return "," not in word and Path(word).suffix.lower() in EXTENSIONS


def _add(word: str, pairs: list[Pair], clips: list[Clip]) -> None:
    path = Path(word).expanduser()
    if camera := _CAMERA.fullmatch(word):
        with open_frames(int(camera[1] or 0)):  # sees whether it is there
            clips.append(Clip(int(camera[1] or 0)))
    elif path.is_file() and path.suffix.lower() in TABLES:
        pairs += _rows(path)
    elif "," in word and not path.exists():
        names = [part.strip() for part in word.split(",")]
        if len(names) != 2 or not all(names):
            raise MerError(f"{word}: expected two pictures, ONSET,APEX")
        pairs.append(_pair(*names))
    else:
        with open_frames(path):  # reads its first frame
            clips.append(Clip(path))


def _pair(onset: str, apex: str) -> Pair:
    first, last = Path(onset).expanduser(), Path(apex).expanduser()
    return Pair(f"{first.stem}-{last.stem}", first, last)


def _rows(path: Path) -> Iterator[Pair]:
    table = read_csv(path)
    lacking = [name for name in ("onset_path", "apex_path") if name not in table.cells]
    if lacking:
        meant = column_names.guess(table.cells, lacking, table.cells)
        rename = ", ".join(f"{theirs} is probably {ours}" for ours, theirs in meant.items())
        raise MerError(
            f"{path} has no column {' and '.join(lacking)}; it has "
            f"{', '.join(table.cells) or 'none'}. A table of pairs names the pictures of each row"
            + (f"; change its header: {rename}" if rename else "")
        )
    faults = [f"row {number}: {fault}" for number, fault in table.faults.items()]
    for number, row in table.cells.iterrows():
        empty = [name for name in ("onset_path", "apex_path") if not row[name]]
        if empty:
            faults.append(f"row {number}: no {' and no '.join(empty)}")
    if faults:
        raise MerError(f"{path}: {'; '.join(faults)}")
    if table.cells.empty:
        raise MerError(f"{path} has no row below its header")
    for number, row in table.cells.iterrows():
        yield Pair(
            f"{path.stem}-{number}", path.parent / row["onset_path"], path.parent / row["apex_path"]
        )


def _unreadable(pair: Pair) -> Iterator[str]:
    for path in (pair.onset, pair.apex):
        picture = read_picture(path)
        if isinstance(picture, Drop):
            yield f"{picture.reason}: {picture.detail}"
