"""Peak memory of a training process as its prepared store grows: memory.csv.

Stores are sparse files: some samples of noise, then zeros that take no disk. We count anonymous
memory: pages of mapped files can be dropped at any time.

    python memory.py                      # all sizes, about ten minutes
    python memory.py --sizes 64,128 backbone=tiny input.size=32
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from mer.config.composition import compose, typed
from mer.datasets.index import COLUMNS

HERE = Path(__file__).parent
SIZES = (442, 4_420, 20_000, 100_000)
ROUNDS = 3

#: Side of the stored flow in pixels.
SIDE = 64

#: Samples of noise; the others are zero.
NOISE = 256

CLASSES = ("negative", "positive", "surprise")


def configuration(folder: Path, *words: str) -> DictConfig:
    """Configuration of a measurement whose files lie in a folder."""
    return compose(
        [
            f"paths.cache={folder.resolve() / 'cache'}",
            "macro.enabled=false",
            "trainer.accelerator=cpu",
            "trainer.enable_progress_bar=false",
            "run.dir=unused",
            "logger=none",
            *words,
        ]
    )


def write_store(path: Path, size: int) -> None:
    """Write a prepared store of flow whose samples are mostly zero and take no disk."""
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
        "hash": "0" * 12,
        "key": "0" * 12,
        "settings": {"prepare": {}},
        "size": SIDE,
        "arrays": {"flow": [list(shape), "float16"]},
    }
    (path / "settings.json").write_text(json.dumps(facts))


def train(folder: Path, words: Sequence[str]) -> float:
    """Train some steps of one fold on the store of a folder; return the peak in megabytes."""
    from mer.data import sources
    from mer.prepare.store import Store
    from mer.protocols import Fold
    from mer.runs.observers import RunContext
    from mer.training.fold import run_fold

    cfg = configuration(
        folder, "callbacks=none", "model.epochs=1", "+trainer.limit_train_batches=8", *words
    )
    store = Store.open(folder / "store")
    label = [CLASSES[number % len(CLASSES)] for number in range(len(store.index))]
    table = store.index.assign(label=label, store=0)
    corpus = sources.Corpus(table, [store], list(CLASSES), [])
    with Peak() as peak:
        dataset = sources.dataset(typed(cfg), corpus)
        tested = table["person"] == "bench/00"
        few = table["sample_id"][tested].head(8)
        fold = Fold("bench-00", tuple(table["sample_id"][~tested]), (), tuple(few))
        run_dir = folder / "run"
        (run_dir / "folds" / fold.name).mkdir(parents=True)
        run_fold(RunContext(cfg, run_dir, corpus, dataset, [fold], None), fold)
    return peak.megabytes


class Peak:
    """The largest anonymous memory of this process, read every few milliseconds."""

    def __init__(self, seconds: float = 0.01) -> None:
        self.megabytes = 0.0
        self._seconds, self._stop = seconds, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peak":
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        """Stop, and look once more."""
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


def measure(sizes: Sequence[int], words: Sequence[str]) -> None:
    """Train in a process of its own for each size, with and without cached inputs."""
    with (HERE / "memory.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("samples", "input.cache_gb", "megabytes"))
        for cache in (8, 0):
            for size in sizes:
                values = []
                for _ in range(ROUNDS):
                    with tempfile.TemporaryDirectory() as name:
                        write_store(Path(name, "store"), size)
                        child = [name, f"input.cache_gb={cache}", *words]
                        command = [sys.executable, __file__, "--child", *child]
                        done = subprocess.run(command, capture_output=True, text=True, check=True)
                    values.append(float(done.stdout.split()[-1]))
                table.writerow((size, cache, f"{statistics.median(values):.4g}"))
                stream.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of samples")
    parser.add_argument("--child", type=Path, help="folder of the store; trains there")
    given, words = parser.parse_known_args()
    if given.child:
        print(train(given.child, words))
    else:
        measure([int(size) for size in given.sizes.split(",")], words)
