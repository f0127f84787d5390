"""Results that are kept for later runs: the keys that name them, who uses them, emptying them.

An entry is a folder `<paths.cache>/<kind>/<name>-<key>`. The key is a hash of all that decides the
result: settings, device, mer's own source files, versions of other packages. An entry that other
code or another version has made is therefore never used. Even a changed comment in one of those
files makes a new entry; a release by itself does not.

A process that uses an entry holds a shared lock on the file `.<entry>.use` beside it. The operating
system ends the lock with the process, in whatever way that ends. `empty` takes the lock alone.
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import importlib
import importlib.metadata
import json
import logging
import os
import shutil
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

import mer
from mer.files import UNFINISHED

log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """What one folder of the cache holds.

    Attributes:
        title: Name for people.
        code: Files and packages of mer whose source decides the result, beside what its settings
            name (an entry of another kind, for one).
        packages: Other packages whose version does.
        shown: Dotted keys of the settings that are listed.
    """

    title: str
    code: tuple[str, ...]
    packages: tuple[str, ...]
    shown: tuple[str, ...]


_NETWORK = ("data", "models", "metrics.py", "randomness.py")
_MOTION = (
    "unit_motion",
    "motion_draws",
    "motion_layout",
    "motion_disturbance",
    "motion_fields",
)
_MACRO_TRAINING = (
    "pretrain",
    "given_weights",
    "macro_samples",
    "trainer",
    "predictions",
    "data_parallel",
)
_TRAINING = ("numpy", "opencv", "torch", "timm", "pytorch-lightning")

#: Folder -> what it holds.
KINDS = {
    "prepared": Kind(
        "prepared stores",
        ("prepare", "assets"),
        ("numpy", "opencv", "mediapipe"),
        ("prepare.size", "prepare.faces", "prepare.flow.method"),
    ),
    "apexes": Kind(
        "spotted apexes",
        ("spotting", "prepare", "assets"),
        ("numpy", "opencv", "mediapipe"),
        ("prepare.confidence", "prepare.margin"),
    ),
    "inputs": Kind(
        "built inputs", ("data/inputs.py", "data/dataset.py"), ("numpy", "opencv"), ("input.size",)
    ),
    "features": Kind(
        "features of frozen blocks",
        ("data", "models", "randomness.py"),
        ("numpy", "opencv", "torch", "timm"),
        ("input.size", "seed"),
    ),
    "macro": Kind(
        "macro weights",
        (
            *_NETWORK,
            *(f"synthetic/{n}.py" for n in _MOTION),
            *(f"training/{n}.py" for n in _MACRO_TRAINING),
            "callbacks/epochs.py",
        ),
        _TRAINING,
        ("input.size", "macro.epochs", "seed"),
    ),
    "networks": Kind(
        "networks of folds",
        (*_NETWORK, "training", "callbacks/epochs.py"),
        _TRAINING,
        ("input.size", "model.epochs", "seed", "fold"),
    ),
}

#: Numbers of the errors of folders that must not be written.
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

#: Entries that are in use until this process ends -> the open files that say so.
_HELD: dict[Path, int | None] = {}


class Key(NamedTuple):
    """Twelve hexadecimal digits, and all that they were made of, as plain values."""

    digest: str
    record: dict[str, Any]


def make_key(kind: str, settings: Mapping[str, Any], device: str | None = None) -> Key:
    """Make the key of an entry.

    Args:
        kind: One of `KINDS`.
        settings: All that decides the result beside code, versions and device, as plain values.
        device: Kind of device (cpu, cuda) where it changes the result.
    """
    chosen = KINDS[kind]
    record = {
        "settings": dict(settings),
        "device": device,
        "code": _source(chosen.code),
        "versions": {"mer": mer.__version__, **{p: _version(p) for p in chosen.packages}},
    }
    text = json.dumps(record, sort_keys=True, default=int)
    return Key(hashlib.sha256(text.encode()).hexdigest()[:12], record)


@functools.cache
def _source(code: tuple[str, ...]) -> str:
    """SHA-256 of source files; of those that this process began with, whatever becomes of them."""
    root = Path(mer.__file__).parent
    digest = hashlib.sha256()
    paths = {path for name in code for path in (root / name, *(root / name).rglob("*.py"))}
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def _version(package: str) -> str:
    if package == "opencv":  # several packages bring it; only cv2 knows which of them is imported
        return str(importlib.import_module("cv2").__version__)
    return importlib.metadata.version(package)


def hold(path: Path, owner: object | None = None) -> None:
    """Mark an entry as in use until an object, or this process, is gone."""
    if owner is None:
        if path not in _HELD:
            _HELD[path] = _lock(path, fcntl.LOCK_SH)
    elif (descriptor := _lock(path, fcntl.LOCK_SH)) is not None:
        weakref.finalize(owner, os.close, descriptor)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Mark an entry as in use, and let one process at a time look for it and compute it.

    Args:
        path: The entry's folder; the one above it is made. Where nothing can be written, nobody
            waits: what is there can be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _lock(path, fcntl.LOCK_SH)
    lock = FileLock(path.parent / f".{path.name}.lock")
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another process is at %s; waiting for it", path)
            lock.acquire()
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
        for leftover in path.glob(f"{UNFINISHED}*") if lock.is_locked else ():
            leftover.unlink(missing_ok=True)
        yield
    finally:
        lock.release()
        if descriptor is not None:
            os.close(descriptor)


def _lock(path: Path, mode: int) -> int | None:
    """Lock an entry, which is a use of it if the lock is shared.

    Returns:
        Open file that holds the lock; None in a folder that must not be written, where nothing can
        be emptied either.

    Raises:
        BlockingIOError: If `mode` says not to wait, and somebody else has the lock.
    """
    file = _lock_file(path)
    access = os.O_RDONLY if mode & fcntl.LOCK_SH else os.O_RDWR
    while True:
        try:
            descriptor = os.open(file, access | os.O_CREAT, 0o666)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            return None
        try:
            fcntl.flock(descriptor, mode)
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                break
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # of an entry that was emptied while we waited
    if mode & fcntl.LOCK_SH:
        with contextlib.suppress(OSError):
            os.utime(descriptor)
    return descriptor


def _lock_file(path: Path) -> Path:
    """The file whose lock says that an entry is in use, before and after it is finished."""
    name = path.name
    for ending in (".partial", ".deleted"):
        if name.startswith(".") and name.endswith(ending):
            name = name[1:].removesuffix(ending)
    return path.parent / f".{name}.use"


class Entry(NamedTuple):
    """A folder of the cache, or a file that an earlier version has left there.

    Attributes:
        path: The folder.
        kind: Key of `KINDS`.
        settings: Settings that distinguish it from others of its kind; empty if unfinished.
        size: Bytes.
        used: Last use, in seconds since the epoch.
        in_use: Whether a process uses it now.
    """

    path: Path
    kind: str
    settings: str
    size: int
    used: float
    in_use: bool


def entries(
    cache: str | Path, kind: str | None = None, older_than: float = 0, larger_than: float = 0
) -> list[Entry]:
    """List the entries of a cache, kind by kind, the last used ones first.

    With `older_than` only those that were last used so many seconds ago or more.
    """
    found = [
        _entry(path, name)
        for name in ([kind] if kind else KINDS)
        if (folder := Path(cache, name)).is_dir()
        for path in folder.iterdir()
        if not path.name.endswith((".use", ".lock"))
    ]
    latest = time.time() - older_than
    chosen = [entry for entry in found if entry.used <= latest and entry.size >= larger_than]
    return sorted(chosen, key=lambda entry: (list(KINDS).index(entry.kind), -entry.used))


def _entry(path: Path, kind: str) -> Entry:
    files = [file.stat() for file in (path, *path.rglob("*")) if file.is_file()]
    used = max((status.st_mtime for status in files), default=path.stat().st_mtime)
    in_use = False
    if (lock := _lock_file(path)).exists():
        used = lock.stat().st_mtime
        try:
            if (descriptor := _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)) is not None:
                os.close(descriptor)
        except BlockingIOError:
            in_use = True
    size = sum(status.st_size for status in files)
    return Entry(path, kind, _settings(path, kind), size, used, in_use)


def _settings(path: Path, kind: str) -> str:
    try:
        record = json.loads((path / "settings.json").read_text())["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    words = []
    for key in KINDS[kind].shown:
        value: Any = record
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            words.append(f"{key}={value}")
    return " ".join(words)


def empty(chosen: Iterable[Entry]) -> list[Entry]:
    """Remove entries, never one that is in use; return those that were removed."""
    return [entry for entry in chosen if _remove(entry.path)]


def _remove(path: Path) -> bool:
    try:
        descriptor = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if descriptor is None:
        return False
    base = _lock_file(path).name.removesuffix(".use")
    trash = path.with_name(f"{base}.deleted")
    try:
        if path != trash:
            shutil.rmtree(trash, ignore_errors=True)
            path.rename(trash)
        # A process that waits for this lock sees that its file is gone, and makes another.
        for ending in (".lock", ".use"):
            path.with_name(f"{base}{ending}").unlink(missing_ok=True)
    finally:
        os.close(descriptor)
    if trash.is_dir():
        shutil.rmtree(trash)
    else:
        trash.unlink()
    return True
