"""Part `memory`: peak memory of a training process as its prepared store grows.

Stores are sparse files: some samples of noise, then zeros that take no disk. Counted is what the
process owns (anonymous memory): pages of mapped files can be dropped at any time and are no need.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mer.bench.figures import Figure, figure, missing
from mer.bench.settings import Settings
from mer.data.inputs import kind_of
from mer.datasets.index import COLUMNS

SIZES = (442, 4_420, 20_000, 100_000)

#: Side of the stored flow in pixels.
SIDE = 64

#: Samples of noise; the others are zero.
NOISE = 256

CLASSES = ("negative", "positive", "surprise")


def measure(settings: Settings) -> Iterator[Figure]:
    """Train some steps in a process of its own for each size, with and without cached inputs."""
    sizes = (64, 128) if settings.quick else SIZES
    for cache in ("input.cache_gb=8", "input.cache_gb=0"):
        first = None
        for size in sizes:
            variant = f"{size} samples, {cache}"
            if reason := _no_room(settings, size, cache):
                yield missing("memory", "peak while training", variant, "MB", reason)
                continue
            values = []
            for _ in range(settings.few(3, 1)):
                with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
                    write_store(Path(folder, "store"), size)
                    found = _child(settings, Path(folder), cache)
                if isinstance(found, str):
                    reason = found
                    break
                values.append(found)
            if reason:
                yield missing("memory", "peak while training", variant, "MB", reason)
                continue
            first = first or values
            plain = size == sizes[0]
            yield figure("memory", "peak while training", variant, "MB", values, baseline=plain)
            if not plain:
                growth = [value / np.median(first) for value in values]
                yield figure("memory", f"beside {sizes[0]} samples", variant, "times", growth)


def write_store(path: Path, size: int) -> None:
    """Write a prepared store of flow whose samples are mostly zero and take no disk."""
    from mer.prepare.layout import FORMAT

    path.mkdir(parents=True)
    shape = (size, 3, SIDE, SIDE)
    flow = np.lib.format.open_memmap(path / "flow.npy", "w+", np.float16, shape)
    rng = np.random.default_rng(0)
    flow[: min(NOISE, size)] = rng.standard_normal((min(NOISE, size), *shape[1:]))
    flow.flush()
    index = pd.DataFrame({name: [None] * size for name in COLUMNS})
    index["sample_id"] = [f"bench/{number:06d}" for number in range(size)]
    index["person"] = [f"bench/{number % 50:02d}" for number in range(size)]
    index["subject"] = index["person"]
    index = index.assign(dataset="bench", row=np.arange(size), has_onset=True, still=False)
    index.to_parquet(path / "index.parquet", index=False)
    (path / "drops.csv").write_text("sample_id,reason,detail\n")
    facts = {
        "format": FORMAT,
        "hash": "0" * 12,
        "settings": {},
        "size": SIDE,
        "arrays": {"flow": [list(shape), "float16"]},
    }
    (path / "settings.json").write_text(json.dumps(facts))


def train(folder: Path, words: Sequence[str], seconds: float = 0.01) -> float:
    """Train some steps of one fold on the store of a folder; return the peak in megabytes."""
    from mer.bench.settings import Settings as Asked
    from mer.data import sources
    from mer.prepare.store import Store
    from mer.protocols import Fold
    from mer.runs.observers import RunContext
    from mer.training.fold import run_fold

    cfg = Asked(folder, words=words).compose(
        "macro.enabled=false", "callbacks=none", "model.epochs=1", "+trainer.limit_train_batches=8"
    )
    store = Store.open(folder / "store")
    label = [CLASSES[number % len(CLASSES)] for number in range(len(store.index))]
    table = store.index.assign(label=label, store=0)
    corpus = sources.Corpus(table, [store], list(CLASSES), [])
    cfg.paths.cache = str(folder / "cache")  # built inputs go with the store
    with _Peak(seconds) as peak:
        dataset = sources.dataset(cfg, corpus)
        tested = table["person"] == "bench/00"
        few = table["sample_id"][tested].head(8)
        fold = Fold("bench-00", tuple(table["sample_id"][~tested]), (), tuple(few))
        run_dir = folder / "run"
        (run_dir / "folds" / fold.name).mkdir(parents=True)
        run_fold(RunContext(cfg, run_dir, corpus, dataset, [fold], None), fold)
    return peak.megabytes


class _Peak:
    """The largest anonymous memory of this process, read every few milliseconds."""

    def __init__(self, seconds: float) -> None:
        self.megabytes = 0.0
        self._seconds, self._stop = seconds, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Peak":
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._stop.set()
        self._thread.join()
        self.megabytes = max(self.megabytes, anonymous_megabytes())

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.megabytes = max(self.megabytes, anonymous_megabytes())
            time.sleep(self._seconds)


def anonymous_megabytes() -> float:
    """What this process owns and no file backs, in megabytes (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no RssAnon; this part needs Linux 4.5 or newer")


def _words(settings: Settings, cache: str) -> list[str]:
    quick = ["backbone=tiny", "input.size=32"] if settings.quick else []
    return [*quick, *settings.words, cache]


def _no_room(settings: Settings, size: int, cache: str) -> str:
    """Why the built inputs of a store cannot be written, or nothing."""
    cfg = Settings(settings.folder, words=_words(settings, cache)).compose()
    gigabytes = 4 * size * cfg.input.size**2 * kind_of(cfg.input).channels / 2**30
    free = shutil.disk_usage(settings.folder).free / 2**30
    if gigabytes > cfg.input.cache_gb or gigabytes + 1 < free:
        return ""
    return f"the built inputs take {gigabytes:.1f} GB, and {free:.1f} GB of disk are free"


def _child(settings: Settings, folder: Path, cache: str) -> float | str:
    """Train in a new process; its peak in megabytes, or why there is none."""
    words = _words(settings, cache)
    program = (
        "import sys; from pathlib import Path; from mer.bench.memory import train; "
        "print('peak', train(Path(sys.argv[1]), sys.argv[2:]))"
    )
    command = [sys.executable, "-c", program, str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    last = (done.stdout.strip().splitlines() or [""])[-1].split()
    if done.returncode or last[:1] != ["peak"]:
        said = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        return f"the training failed: {said[0]}"
    return float(last[1])
