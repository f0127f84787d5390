"""Errors of libraries and of the system, as sentences: what happened to which file, and the mend.

A `MerError` says so itself. Everything else that reaches the command line is explained here alone.
"""

import errno
import re
import sysconfig
import traceback
from pathlib import Path
from typing import NamedTuple

from mer.errors import MerError, one_line
from mer.files import DISK_FULL, UNFINISHED

KEPT = "What is finished is kept: the same command goes on."

#: Number of an error of the system -> what it means, and what to do.
_SYSTEM = {
    errno.ENOSPC: f"the disk is full. Free some space there, or name a folder elsewhere. {KEPT}",
    errno.EDQUOT: f"your share of the disk is used up. Remove what you do not need there. {KEPT}",
    errno.EFBIG: f"a file must not become that large here (see `ulimit -f`). Raise that. {KEPT}",
    errno.EROFS: "nothing can be written there. Make it writable, or name a folder elsewhere.",
    errno.EACCES: "this user must not use it. Change its permissions, or name a folder elsewhere.",
    errno.EPERM: "this user must not use it. Change its permissions, or name a folder elsewhere.",
    errno.ENAMETOOLONG: "the name is too long for the file system. Shorten it.",
    errno.ENOENT: "it is not there. Check the path.",
    errno.EEXIST: "a file of this name is there. Name another path.",
    errno.ENOTDIR: "a file is where a folder is expected. Check the path.",
    errno.EISDIR: "a folder is where a file is expected. Check the path.",
    errno.EMFILE: "too many files are open. Type `ulimit -n 4096` first, or use fewer processes.",
    errno.EIO: f"the disk or network drive has failed. {KEPT}",
    errno.ESTALE: f"the network drive has lost it. {KEPT}",
    errno.ENOMEM: "the memory is used up. Use fewer processes, or smaller batches.",
}

#: Numbers in the text of libraries that give them no other way.
_NUMBER = re.compile(r"\[[Ee]rrno (\d+)\]")

#: Packages whose errors speak of what was typed or configured, and those of a search's study.
_OF_CONFIGURATION = ("hydra", "omegaconf")
_OF_STUDIES = ("sqlalchemy", "sqlite3", "optuna")


class Failure(NamedTuple):
    """What the user is told, and the exit status of the command."""

    sentence: str
    status: int


def explain(error: Exception) -> Failure:
    """Say what an error means: status 2 if the user can mend it, 1 if code is at fault."""
    if isinstance(error, MerError):
        return Failure(str(error), 2)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return Failure(
            "the memory is used up. Set trainer.folds_at_once=1, a smaller model.batch_size or "
            f"input.size, or prepare.workers=1. {KEPT}",
            2,
        )
    if isinstance(error, OSError) or DISK_FULL.search(str(error)):
        return Failure(_of_system(error), 2)
    package = type(error).__module__.partition(".")[0]
    if package in _OF_CONFIGURATION:
        return Failure(str(error).strip() or type(error).__name__, 2)
    if package in _OF_STUDIES:
        return Failure(
            f"the study of the search cannot be used: {one_line(error)}. If its file (study.db) is "
            "damaged, copy it again, or remove it: the same command then searches anew.",
            2,
        )
    place, foreign = _place(error)
    whose = "Mend that file, or what it is given" if foreign else "This is a fault of mer"
    return Failure(
        f"{type(error).__name__}: {one_line(error)} ({place}). {whose}; MER_DEBUG=1 shows the "
        f"traceback. {KEPT}",
        1,
    )


def _of_system(error: Exception) -> str:
    """Explain an error of the system; of a copy the target is the one that matters."""
    number = getattr(error, "errno", None)
    if "No usable temporary directory" in str(error):
        return (
            "the folders for temporary files are full or cannot be written. Free some space in "
            "/tmp, or set TMPDIR to a folder elsewhere."
        )
    if DISK_FULL.search(str(error)):
        number = errno.ENOSPC
    elif number is None and (written := _NUMBER.search(str(error))):
        number = int(written[1])
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    path = re.sub(rf"{re.escape(UNFINISHED)}[0-9a-f]{{32}}-", "", str(named)) if named else None
    if number not in _SYSTEM:
        return f"{path}: {one_line(error)}" if path else one_line(error)
    if path is None:
        return f"{one_line(error)}: {_SYSTEM[number]}"
    return f"{path}: {_SYSTEM[number]}"


def _place(error: Exception) -> tuple[str, bool]:
    """Where an error was raised, and whether that file is neither of mer nor of a library.

    Of libraries' files the last one that called them is named.
    """
    root = Path(__file__).parents[1]
    standard = Path(sysconfig.get_path("stdlib"))
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        path = Path(frame.filename)
        if path.is_relative_to(root):
            return f"{path.relative_to(root.parent)}, line {frame.lineno}", False
        library = path.is_relative_to(standard) or {"site-packages", "dist-packages"} & {
            *path.parts
        }
        if path.is_file() and not library:
            return f"{path}, line {frame.lineno}", True
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "place unknown", False
