"""Writing a store: worker processes, preallocated arrays, and a journal to continue from.

Only the main process writes. A chunk of samples goes to the arrays first and to the journal after
that, so a line of the journal means arrays on disk, wherever the run is cut.
"""

import functools
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from mer import processes
from mer.config.settings import Prepare
from mer.errors import MerError
from mer.prepare.layout import plain_rows
from mer.prepare.sample import Drop, Sample, prepare_chunk
from mer.progress import progress_bar

log = logging.getLogger(__name__)

#: Samples that one task of a worker holds and that a crash can cost.
CHUNK = 16

#: Fewer samples per worker don't pay for its start: 1.1 s of imports against 0.1 s a sample.
SAMPLES_PER_WORKER = 25

#: What a worker takes, most of it for MediaPipe and OpenCV.
BYTES_PER_WORKER = 2**29

Layout = Mapping[str, tuple[Sequence[int], str]]


class Partial:
    """An unfinished store: arrays of full length, and `done.jsonl` with a line per finished row.

    Attributes:
        folder: Folder of the store.
        done: Row -> `reason` and `detail` of a drop, or `has_onset` and `still` of a sample.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        """Open the folder, continuing what an earlier run has left there.

        Raises:
            MerError: If the arrays would not fit on the disk.
            OSError: If the folder can't be written.
        """
        self.folder = folder
        self._journal_path = folder / "done.jsonl"
        if not self._journal_path.exists():
            # No journal: the earlier run, if any, was cut while it reserved the space.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _reserve(folder, layout)
            self._journal_path.touch()
        self.done = self._read_journal()
        if self.done:
            log.info("%s: continuing, %d rows are done", folder.name, len(self.done))
        self._arrays = {name: np.lib.format.open_memmap(folder / f"{name}.npy") for name in layout}
        self._journal = self._journal_path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the journal and let go of the arrays."""
        self._journal.close()
        self._arrays.clear()

    def _read_journal(self) -> dict[int, dict[str, Any]]:
        text = self._journal_path.read_text(encoding="utf-8")
        whole, _, torn = text.rpartition("\n")
        if torn:
            # The last line was cut while it was written; its sample is prepared again.
            self._journal_path.write_text(whole + "\n" if whole else "", encoding="utf-8")
        lines = [json.loads(line) for line in whole.splitlines()]
        return {line.pop("row"): line for line in lines}

    def write(self, results: Mapping[int, Sample | Drop]) -> None:
        """Put a chunk's samples into the arrays, then their lines into the journal."""
        lines = {row: self._write_row(row, result) for row, result in results.items()}
        for array in self._arrays.values():
            array.flush()
        self._journal.writelines(json.dumps({"row": r, **line}) + "\n" for r, line in lines.items())
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self.done |= lines

    def _write_row(self, row: int, result: Sample | Drop) -> dict[str, Any]:
        if isinstance(result, Drop):
            return {"reason": result.reason, "detail": result.detail}
        for name, array in self._arrays.items():
            values = getattr(result, name)
            if values is not None:  # a sample without onset has no flow: it stays zero
                array[row] = values
        return {
            "reason": None,
            "detail": None,
            "has_onset": result.has_onset,
            "still": result.still,
        }

    def publish(self, path: Path) -> None:
        """Give the complete folder its final name; from then on it is a store."""
        for file in [*self.folder.iterdir(), self.folder]:
            _sync(file)
        self.folder.rename(path)
        _sync(path.parent)
        (path / self._journal_path.name).unlink()


def build(partial: Partial, table: pd.DataFrame, settings: Prepare, workers: int | None) -> None:
    """Prepare the rows of a table that `partial` hasn't done yet.

    Raises:
        MerError: For an error of the settings, or when worker processes are killed repeatedly.
    """
    rows = [row for row in range(len(table)) if row not in partial.done]
    records = plain_rows(table)
    chunks = [
        {row: records[row] for row in rows[i : i + CHUNK]} for i in range(0, len(rows), CHUNK)
    ]
    # Arrays need no computing worth a process, and each process would load them again.
    count = 1 if table["array_path"].notna().all() else worker_count(workers, len(rows))
    prepare = functools.partial(prepare_chunk, settings)
    results = processes.run(
        [prepare] * max(1, count),
        chunks,
        name=lambda chunk: f"samples {min(chunk)} to {max(chunk)}",
        fewer="with prepare.workers=1",
    )
    bar = progress_bar(len(table), "prepare", "sample", initial=len(partial.done))
    with bar, closing(results):
        for _, prepared in results:
            partial.write(prepared)
            bar.update(len(prepared))


def worker_count(workers: int | None, samples: int) -> int:
    """Processes for some samples: those that were asked for, or as many as they merit."""
    if workers is not None:
        return workers
    room = processes.free_memory() // BYTES_PER_WORKER
    return int(min(processes.cores(), room, samples // SAMPLES_PER_WORKER))


def _reserve(folder: Path, layout: Layout) -> None:
    """Create the arrays at full size: a full disk is a message now, not a bus error later."""
    needed = sum(
        int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        for shape, dtype in layout.values()
    )
    free = shutil.disk_usage(folder).free
    if needed > free:
        shutil.rmtree(folder)
        raise MerError(
            f"{folder.parent} has {free / 1e9:.2f} GB free and the prepared store needs "
            f"{needed / 1e9:.2f} GB; free some space, or set another folder with paths.cache"
        )
    for name, (shape, dtype) in layout.items():
        file = folder / f"{name}.npy"
        np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=tuple(shape)).flush()
        if hasattr(os, "posix_fallocate"):
            with file.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
