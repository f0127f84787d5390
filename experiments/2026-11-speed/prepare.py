"""Seconds to prepare the composite with 1, 2, ... worker processes, in turns: prepare.csv."""

import csv
import os
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from mer.config.composition import compose, typed
from mer.data import sources
from mer.prepare.store import prepare_store

HERE = Path(__file__).parent
ROUNDS = 3


def measure(words: list[str]) -> None:
    """Prepare the same samples with each number of workers; each time a new store."""
    settings = typed(compose(["data.preset=megc2019", "run.dir=unused", *words]))
    read = sources.read(settings, "micro")["micro"]
    table = pd.concat([source.reading.table for source in read])
    table = table[table["onset_path"].notna()]
    with (HERE / "prepare.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("workers", "round", "samples", "seconds"))
        for number in range(ROUNDS):
            for count in sorted({1, 2, len(os.sched_getaffinity(0))}):
                with tempfile.TemporaryDirectory() as folder:
                    started = time.perf_counter()
                    prepare_store(table, settings.prepare, Path(folder), count, "bench")
                    passed = time.perf_counter() - started
                rows.writerow((count, number, len(table), f"{passed:.4g}"))
                stream.flush()


if __name__ == "__main__":
    measure(sys.argv[1:])
