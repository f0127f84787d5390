"""Checksums of finished files of the cache, compared once per run and all its processes.

`checksums.json` beside the files holds the SHA-256 of each. `.checked` tells workers and later
trials of a search what has been compared, so that they need not read gigabytes again.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from mer.errors import MerError, flaw
from mer.files import sha256, write_json

log = logging.getLogger(__name__)

FILE = "checksums.json"
CHECKED = ".checked"

#: Names this process and all that it starts.
TREE = os.environ.setdefault("MER_PROCESS_TREE", uuid4().hex)


def write(folder: Path, names: Iterable[str]) -> None:
    """Write down what finished files of a folder hold, beside what is known of others there."""
    known = {name: sha256(folder / name) for name in names}
    write_json(_read(folder / FILE) | known, folder / FILE)


def intact(folder: Path, names: Iterable[str] | None = None) -> bool:
    """Whether finished files are what was written; a warning names those that are not.

    Args:
        folder: An entry of the cache.
        names: The files; None for all that were written down. False if one is not there.
    """
    known, seen = _read(folder / FILE), _read(folder / CHECKED)
    names = list(known if names is None else names)
    if not known or any(name not in known or not (folder / name).is_file() for name in names):
        return False
    states = {name: _state(folder / name) for name in names}
    read = [name for name in names if seen.get(name) != states[name]]
    if changed := [name for name in read if sha256(folder / name) != known[name]]:
        log.warning(
            "%s no longer holds what was written (%s): it is made anew", folder, ", ".join(changed)
        )
        return False
    if read:
        with contextlib.suppress(OSError):  # a cache that must not be written
            write_json(seen | states, folder / CHECKED)
    return True


def open_array(file: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Map an array of the cache into memory, read-only. Shape: as given, float32.

    Raises:
        MerError: If the file is damaged, or holds another kind of array.
    """
    try:
        array: NDArray[np.float32] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MerError(f"{file} is damaged ({flaw(error)}); delete it and start again.") from error
    if array.shape != shape or array.dtype != np.float32:
        raise MerError(f"{file} is {array.shape} {array.dtype}, not {shape} float32; delete it.")
    return array


def _state(file: Path) -> list[object]:
    status = file.stat()
    return [TREE, status.st_size, status.st_mtime_ns, status.st_ino]


def _read(file: Path) -> dict[str, object]:
    """A mapping from a file; empty if there is none."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
