"""Part `prepare`: faces, alignment and flow by number of worker processes, from files to store."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from mer.bench.figures import Figure, figure, ratio
from mer.bench.settings import Settings
from mer.data import sources
from mer.prepare.store import prepare_store


def measure(settings: Settings) -> Iterator[Figure]:
    """Prepare the same samples with 1, 2, ... workers, in turn; each time a new store."""
    cfg = settings.compose()
    table = pd.concat([s.reading.table for s in sources.read(cfg, "micro")["micro"]])
    table = table[table["onset_path"].notna()].head(settings.few(len(table), 6))
    chosen = OmegaConf.to_container(cfg.prepare, resolve=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    doubled = [2**power for power in range(1, cores.bit_length())]
    counts = [1] if settings.quick else sorted({1, 2, cores, *doubled})
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(settings.few(3, 1)):
        for count in counts:
            with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
                started = time.perf_counter()
                store = prepare_store(table, chosen, Path(folder), count, "bench")
                seconds[count].append(time.perf_counter() - started)
                kept = len(store.index)
                del store  # it maps files of the folder
    method = cfg.prepare.flow.method
    note = f"{len(table)} samples, {kept} kept, {cfg.prepare.size} px, flow {method}"
    for count, values in seconds.items():
        variant = f"{count} worker{'s' * (count > 1)}"
        alone = count == 1
        yield figure("prepare", "store", variant, "s", values, note=note, baseline=alone)
        rates = [len(table) / value for value in values]
        yield figure("prepare", "throughput", variant, "samples/s", rates, baseline=alone)
        if not alone:
            yield ratio("prepare", "store", variant, seconds[1], values)
