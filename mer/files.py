"""Files that are there whole or not at all, links in place of copies, and fingerprints."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mer.errors import MerError

if TYPE_CHECKING:
    import pandas as pd

#: First part of the names of unfinished files.
UNFINISHED = ".unfinished-"

#: Bytes, unpacked, that an .npz file may hold; a small file could fill the memory.
MOST_UNPACKED = 4 * 2**30

#: What libraries say of a disk that takes no more, in errors of their own.
DISK_FULL = re.compile(
    r"No space left on device|disk is full|requested and \d+ written|"
    r"inline_container.*(unexpected pos|write failed)",
    re.DOTALL,
)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system inside, such as a full disk, name this file or folder.

    Raises:
        OSError: With the path, if there is such an error.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if DISK_FULL.search(str(error)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)
        raise


def output_faults(shown: str, path: Path, folder: bool = False) -> list[str]:
    """Say why an output could not be written, before anything is computed; nothing is left behind.

    Args:
        shown: What the user typed, such as `--out FILE`; the sentence begins with it.
        path: The file or folder, which need not be there, nor the folders above it.
        folder: Whether it is a folder.

    Returns:
        One sentence, or none.
    """
    try:
        if folder and path.exists() and not path.is_dir():
            return [f"{shown} is a file; name a folder, which is made where it is missing"]
        if not folder and path.is_dir():
            return [f"{shown} is a folder; name a file"]
        if not folder and path.exists() and not path.is_file():
            return [f"{shown} is a device, which would be replaced; name a file"]
        start = path if folder else path.parent
        nearest = next(one for one in (start, *start.absolute().parents) if one.exists())
        if not nearest.is_dir():
            return [f"{shown}: {nearest} is a file, and no folder"]
        with tempfile.TemporaryFile(dir=nearest):
            free = shutil.disk_usage(nearest).free
    except OSError as error:
        reason = _REFUSALS.get(error.errno or 0, error.strerror or str(error))
        return [f"{shown} cannot be written: {reason}. Name a folder of your own"]
    if free < LEAST_FREE:
        return [f"{shown} cannot be written: the disk is full. Free some space, or name another"]
    return []


#: Bytes below which a disk is full.
LEAST_FREE = 2**20

#: Number of an error of the system -> why nothing can be written.
_REFUSALS = {
    errno.EACCES: "this user must not write there",
    errno.EPERM: "this user must not write there",
    errno.EROFS: "the file system is read-only",
    errno.ENOENT: "that is no place for files",
    errno.ENAMETOOLONG: "the name is too long for the file system",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk is used up",
}

#: Folders, of a run and of the cache, whose entries are made again where they are missing.
MADE_AGAIN = ("folds", "macro", "networks")


def mend_of_entry(path: Path) -> str | None:
    """How to get a damaged file of a fold or of a kept network back; None for any other file."""
    if path.parent.parent.name not in MADE_AGAIN:
        return None
    return f"remove the folder {path.parent}; the same `mer train` command makes it again"


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes have left in a folder in which nobody writes now."""
    for path in folder.glob(f"{UNFINISHED}*"):
        path.unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file so that a reader sees all of it or nothing, even if others write it too.

    Args:
        path: The file.
        write: Writes to the path that it is given: another name in the same folder, with the same
            ending.
    """
    temporary = path.with_name(f"{UNFINISHED}{uuid4().hex}-{path.name}")
    try:
        with naming(path):
            write(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write text; see `write_whole`."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def append_lines(text: str, path: Path) -> None:
    """Add lines to a file at once; a line before them that was cut off stays by itself."""
    with naming(path), path.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
        begin = b"" if file.read(1) in (b"", b"\n") else b"\n"
        file.write(begin + text.encode())


def write_json(values: Any, path: Path) -> None:
    """Write plain values as JSON; see `write_whole`."""
    write_text(json.dumps(values, indent=2), path)


def write_csv(frame: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV; see `write_whole` and `csv_cell`."""
    write_text(csv_text(frame), path)


def csv_text(frame: "pd.DataFrame") -> str:
    """A table as CSV, with a heading of its columns; see `csv_cell`."""
    return str(frame.rename(columns=csv_cell).map(csv_cell).to_csv(index=False))


def csv_cell(value: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet program would run as a formula.

    >>> csv_cell("=1+1"), csv_cell("-0.5"), csv_cell(-0.5), csv_cell("sub01")
    ("'=1+1", '-0.5', -0.5, 'sub01')
    """
    if not isinstance(value, str):
        return value
    value = value.replace("\r", " ")  # begins a row where it is not quoted
    if value.lstrip()[:1] not in ("=", "+", "-", "@") and value[:1] not in ("\t", "\n"):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def write_parquet(frame: "pd.DataFrame", path: Path) -> None:
    """Write a table as Parquet; see `write_whole`."""
    write_whole(path, lambda temporary: frame.to_parquet(temporary, index=False))


def link_or_copy(source: Path | str, target: Path | str) -> None:
    """Link a file, or copy it where links are not possible; neither may be written again."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def sha256(path: Path) -> str:
    """SHA-256 of a file. 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(names: Iterable[str]) -> str:
    """SHA-256 of a set of names, in whatever order they come. 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for number, name in enumerate(sorted(names)):
        digest.update(f"\n{name}".encode() if number else name.encode())
    return digest.hexdigest()


def check_unpacked_size(path: Path) -> None:
    """Refuse an .npz file that unpacks to more than `MOST_UNPACKED`.

    Raises:
        MerError: With its size.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MOST_UNPACKED:
        raise MerError(
            f"{path} unpacks to {size / 2**30:.0f} GB, more than {MOST_UNPACKED / 2**30:.0f}; "
            "write its array of samples as a .npy file"
        )
