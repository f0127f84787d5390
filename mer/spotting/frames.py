"""Opens a video, a folder of pictures, a camera or pictures in memory as a stream of frames."""

from collections.abc import Iterable, Sequence, Sized
from pathlib import Path

import numpy as np

from mer.datasets.frame_files import EXTENSIONS, index_frames
from mer.errors import MerError
from mer.prepare.sample import Drop, read_picture
from mer.spotting import captures
from mer.spotting.stream import Frames, Progress, Raw, check_rate, known_rate, with_first

#: What `open_frames` takes.
Source = str | Path | int | Iterable[np.ndarray]


def open_frames(
    source: Source, fps: float | None = None, progress: Progress | None = None
) -> Frames:
    """Open a video file, a folder of pictures, a camera, or pictures in memory.

    Args:
        source: Path of a file or folder; index of a camera, 0 for the first; or pictures uint8
            (H, W, 3) RGB in order.
        fps: Frames per second, where the source does not know them or is wrong; for a video it also
            replaces the times of its frames.
        progress: Called after each frame.

    Raises:
        MerError: If there is no such source, or it gives no frame.
    """
    if fps is not None:
        check_rate(fps)
    if isinstance(source, int):
        return captures.camera(source, fps, progress)
    if not isinstance(source, str | Path):
        return _pictures(source, fps, progress)
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path, fps, progress)
    if not path.exists():
        raise MerError(f"{path} does not exist; expected a video or a folder of frames")
    return captures.video(path, fps, progress)


def check_numbers(source: Source, numbers: Sequence[int]) -> None:
    """Refuse numbers of frames that a source lacks; it is read only where it does not tell.

    Args:
        source: Video or folder.
        numbers: Numbers of frames in rising order.

    Raises:
        MerError: If there is no such source, or it lacks one of them.
    """
    with open_frames(source) as frames:
        promised = frames.numbers is None and frames.count is not None
        if promised and 0 <= numbers[0] and numbers[-1] < (frames.count or 0):
            return
        require_numbers(frames.name, numbers, frames.numbers or [one.number for one in frames])


def require_numbers(name: str, numbers: Sequence[int], there: Sequence[int]) -> None:
    """Refuse numbers of frames that are not among those that were read, the last one included.

    Raises:
        MerError: With all of them.
    """
    lacking = [
        f"{name} has no frame {number}: {_neighbours(number, there)}"
        for number in numbers
        if number not in there
    ]
    if lacking:
        raise MerError("; ".join(lacking))


def _neighbours(number: int, there: Sequence[int]) -> str:
    before, after = [n for n in there if n < number], [n for n in there if n > number]
    if not before:
        return f"it begins with frame {after[0]}"
    if not after:
        return f"it has {before[0]} to {before[-1]}"
    return f"after {before[-1]} comes {after[0]}"


def _pictures(
    pictures: Iterable[np.ndarray], fps: float | None, progress: Progress | None
) -> Frames:
    rate, warnings = known_rate("the pictures", fps, None)
    count = len(pictures) if isinstance(pictures, Sized) else None

    def read() -> Raw:
        for number, picture in enumerate(pictures):
            given = np.asarray(picture)
            if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != 3 or not given.size:
                raise MerError(
                    f"picture {number} is {given.dtype} {given.shape}, expected uint8 (H, W, 3)"
                )
            yield number, number / rate, picture

    frames = with_first(read(), "the pictures", "none was given")
    return Frames("the pictures", frames, rate, count, warnings=warnings, progress=progress)


def _folder(folder: Path, fps: float | None, progress: Progress | None) -> Frames:
    files = index_frames(folder)
    if not files:
        raise MerError(
            f"{folder} holds no numbered picture ({', '.join(sorted(EXTENSIONS))}); expected "
            "frames such as img001.jpg, img002.jpg"
        )
    rate, warnings = known_rate(str(folder), fps, None)
    first, last = min(files), max(files)
    if gaps := last - first + 1 - len(files):
        warnings.append(f"{folder}: {gaps} of the frames {first} to {last} are missing")

    def read() -> Raw:
        unread = 0
        for number, path in files.items():
            picture = read_picture(path)
            if isinstance(picture, Drop):
                unread += 1
                continue
            yield number, (number - first) / rate, picture
        if unread:
            warnings.append(f"{folder}: {unread} pictures cannot be read and were left out")

    frames = with_first(read(), str(folder), f"none of its {len(files)} pictures can be read")
    return Frames(
        str(folder),
        frames,
        rate,
        len(files),
        numbers=sorted(files),
        warnings=warnings,
        progress=progress,
    )
