"""Frame files of a clip, indexed by their number, and annotated frames resolved through that index.

File names are padded to different widths within one dataset (SAMM, SMIC) or not at all (CASME II),
so a frame is never found by formatting a name: every name is parsed once.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from mer.datasets.number_cells import whole

#: Endings of pictures that the datasets use, compared without case.
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})

#: An annotated frame that is not on disk may be replaced by one at most so many frames away:
#: 25 ms at 200 fps, about the disagreement between annotators. SMIC is known to have holes of one.
TOLERANCE = 5

# What file managers call the second copy of a file: "img46 (1).jpg", "img46 - Copy.jpg".
_SECOND_COPY = re.compile(r"\(\d+\)$|\bcopy\b|\bkopie\b|copie\b", re.IGNORECASE)


def is_picture(path: Path) -> bool:
    """Tell whether a file is a picture of the dataset: no dot file, shortcut, thumbnail or copy."""
    return (
        path.suffix.lower() in EXTENSIONS
        and not path.name.startswith(".")
        and not _SECOND_COPY.search(path.stem)
    )


def frame_number(path: Path) -> int | None:
    """Return the last integer of a file's name without its ending, `None` where it has none."""
    numbers = re.findall(r"[0-9]+", path.stem)
    return whole(numbers[-1]) if numbers else None


def index_frames(folder: Path) -> dict[int, Path]:
    """Index the pictures of one clip, `{frame number: path}` in rising order of the numbers.

    Where two files carry the same number the shorter name wins (`img46.jpg`, not `reg_img46.jpg`).
    """
    frames: dict[int, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (len(path.name), path.name)):
        number = frame_number(path)
        if number is not None and is_picture(path):
            frames.setdefault(number, path)
    return dict(sorted(frames.items()))


def swapped(
    onset: int | None,
    apex: int | None,
    offset: int | None,
    onset_path: str | None,
    apex_path: str | None,
) -> str:
    """Say why onset, apex and offset cannot be in this order; empty where nothing speaks against.

    The numbers decide where they are known; otherwise the numbers in the file names do, if both
    pictures are of one series: in one folder, with names that differ in their last number alone.
    """
    if onset is not None and apex is not None and onset > apex:
        return f"the onset {onset} comes after the apex {apex}: are they swapped?"
    if apex is not None and offset is not None and apex > offset:
        return f"the apex {apex} comes after the offset {offset}: are they swapped?"
    if onset_path is None or apex_path is None:
        return ""
    first, last = Path(onset_path), Path(apex_path)
    early, late = frame_number(first), frame_number(last)
    names = f"{first.name} is given as onset and {last.name} as apex"
    if onset is not None and apex is not None:
        crossed = onset != apex and (early, late) == (apex, onset)
        return f"{names}, but they are the frames {apex} and {onset}: swapped?" if crossed else ""
    if early is None or late is None or early <= late or _series(first) != _series(last):
        return ""
    return (
        f"{names}: are they swapped? If these are no frame numbers, add the columns `onset` and "
        "`apex`"
    )


def _series(path: Path) -> tuple[Path, str]:
    return path.parent, re.sub(r"[0-9]+(?=[^0-9]*$)", "", path.stem)


def nearest(frames: dict[int, Path], number: int, tolerance: int | None = TOLERANCE) -> int | None:
    """Return the indexed frame nearest to `number` (the earlier of two), `None` if it is too far.

    Args:
        frames: Index of a clip, not empty.
        number: The wanted frame number.
        tolerance: Largest accepted distance in frames; `None` accepts any.
    """
    best = min(frames, key=lambda frame: (abs(frame - number), frame))
    return best if tolerance is None or abs(best - number) <= tolerance else None


@dataclass
class Span:
    """Onset, apex and offset of one sample as frames that exist, or the reason why there is none.

    `notes` say what was mended; `failure` is empty where the sample is usable.
    """

    onset: int = 0
    apex: int = 0
    offset: int | None = None
    apex_source: str = "annotated"
    notes: list[str] = field(default_factory=list)
    failure: str = ""


def resolve(
    frames: dict[int, Path], onset: int | None, apex: int | None, offset: int | None
) -> Span:
    """Match annotated frame numbers with the pictures of a clip.

    - A frame that is annotated but not on disk becomes its neighbour within `TOLERANCE`.
    - A missing or impossible onset becomes the first picture if the last one is at the offset, for
      then the folder was trimmed to the expression; a faulty offset becomes the last picture if the
      first one is at the onset, and is left out otherwise, because the apex does not need it.
    - A missing apex, or one outside [onset, offset], becomes the middle,
      onset + (offset - onset) // 2, as in the published loaders of SAMM and SMIC.
    - A sample whose onset or apex has no picture is not usable.

    Args:
        frames: Index of the clip, not empty.
        onset: Annotated number, `None` where missing; likewise `apex` and `offset`.
        apex: See `onset`.
        offset: See `onset`.

    Returns:
        The span; its `failure` says why where the sample cannot be used.
    """
    span = Span()
    first, last = min(frames), max(frames)
    at_start = onset is not None and abs(first - onset) <= TOLERANCE
    at_end = offset is not None and abs(last - offset) <= TOLERANCE

    if (
        at_end
        and not at_start
        and first < last
        and (onset is None or offset is None or onset >= offset)
    ):
        span.notes.append(f"onset {_text(onset)} replaced by the first picture, {first}")
        onset, at_start = first, True
    if onset is None:
        return Span(failure="the onset is missing")
    if (found := nearest(frames, onset)) is None:
        return Span(failure=f"the onset {onset} is not among the pictures {first} to {last}")
    span.onset = _note(span, "onset", onset, found)

    found = None if offset is None or offset <= onset else nearest(frames, offset)
    found = None if found is not None and found <= span.onset else found
    # A trimmed folder that goes on past the offset up to the apex proves the offset wrong.
    too_early = apex is not None and offset is not None and offset < apex <= last and not at_end
    if offset is not None and found is not None and not (too_early and at_start):
        span.offset = _note(span, "offset", offset, found)
    elif at_start and last > span.onset:
        span.notes.append(f"offset {_text(offset)} replaced by the last picture, {last}")
        span.offset = last
    else:
        span.notes.append(f"offset {_text(offset)} left out, no picture belongs to it")
    _resolve_apex(span, frames, onset, apex, offset)
    return span


def _resolve_apex(
    span: Span, frames: dict[int, Path], onset: int, apex: int | None, offset: int | None
) -> None:
    end = max(frames) if span.offset is None else span.offset
    clip = {number: path for number, path in frames.items() if span.onset <= number <= end}
    # Inside the annotated borders the apex is believed, even if its picture is not on disk: half a
    # copy of a clip is dropped, it doesn't get another apex.
    if apex is not None and onset <= apex <= max(end, offset or 0):
        if (found := nearest(clip, apex)) is None:
            span.failure = f"the apex {apex} is not on disk and no picture lies near it"
        else:
            span.apex = _note(span, "apex", apex, found)
        return
    if span.offset is None:
        span.failure = f"the apex is {_text(apex)} and without offset there is no middle"
        return
    middle = span.onset + (span.offset - span.onset) // 2
    if (found := nearest(clip, middle)) is None:
        span.failure = f"the apex is {_text(apex)} and no picture lies near the middle, {middle}"
        return
    where = "" if apex is None else f" (outside {onset} to {span.offset})"
    span.notes.append(f"apex {_text(apex)}{where} replaced by the middle, {found}")
    span.apex, span.apex_source = found, "midpoint"


def _note(span: Span, name: str, wanted: int, found: int) -> int:
    if found != wanted:
        span.notes.append(f"{name} {wanted} is not on disk, {found} taken")
    return found


def _text(number: int | None) -> str:
    return "missing" if number is None else str(number)


def span_columns(frames: dict[int, Path], span: Span) -> dict[str, object]:
    """Return the index table's columns for a resolved sample: numbers, apex source and paths."""
    return {
        "onset": span.onset,
        "apex": span.apex,
        "offset": span.offset,
        "apex_source": span.apex_source,
        "onset_path": str(frames[span.onset]),
        "apex_path": str(frames[span.apex]),
        "offset_path": None if span.offset is None else str(frames[span.offset]),
    }
