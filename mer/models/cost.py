"""What a network costs: parameters, and the time of one sample."""

import os
import statistics
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng

from mer.metrics import QUIET
from mer.models.backbones import evaluation_mode

#: Shortest time over which the use of other processes is counted.
LEAST_SECONDS = 0.2

#: Measurements at most, of which the one with the least use by others counts: the workers of a run
#: are still ending when its last fold is done.
ATTEMPTS = 5


def measure(
    module: pl.LightningModule, image: torch.Tensor, device: torch.device, repeats: int = 20
) -> dict[str, Any]:
    """Count parameters and time the network on one sample, from input to logits.

    The first three passes warm up and do not count. Module, its device and random state stay as
    they were.

    Args:
        module: A trained module.
        image: One input. Shape: (C, S, S), float32.
        device: Device to time on.
        repeats: Timed passes.

    Returns:
        `parameters`, `latency_ms` (median), `latency_ms_range` (quartiles), `device`, `threads`,
        and `other_cores`, the cores that other processes used meanwhile; None where the system
        does not tell.
    """
    home = module.device
    module.to(device)
    batch = image[None].to(device)
    try:
        with isolate_rng(), evaluation_mode(module), torch.inference_mode():
            times, others = _time(module, batch, repeats)
            for _ in range(ATTEMPTS - 1):
                if others is None or others < QUIET:
                    break
                time.sleep(LEAST_SECONDS)
                again = _time(module, batch, repeats)
                times, others = min((times, others), again, key=lambda one: one[1] or 0)
    finally:
        module.to(home)
    quartiles = statistics.quantiles(times[3:], n=4)
    return {
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "latency_ms": round(quartiles[1], 3),
        "latency_ms_range": [round(quartiles[0], 3), round(quartiles[2], 3)],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "other_cores": others,
    }


def _time(
    module: pl.LightningModule, batch: torch.Tensor, repeats: int
) -> tuple[list[float], float | None]:
    """Milliseconds of each pass, three for warming up included, and the cores of others."""
    times = []
    before, begun = _processor_seconds(), time.perf_counter()
    for _ in range(repeats + 3):
        _wait(batch.device)
        started = time.perf_counter()
        module(batch)
        _wait(batch.device)
        times.append(1000 * (time.perf_counter() - started))
    # What the system counts comes in steps of 10 ms, so a short measurement would tell nothing.
    time.sleep(max(0.0, LEAST_SECONDS - (time.perf_counter() - begun)))
    return times, _others(before, _processor_seconds(), time.perf_counter() - begun)


def _processor_seconds() -> tuple[float, float] | None:
    """Processor seconds of all processes since the system started, and of this one; Linux only."""
    try:
        words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        user, nice, system, _, _, interrupts, soft, stolen = map(int, words[:8])
    except (OSError, IndexError, ValueError):
        return None
    used = user + nice + system + interrupts + soft + stolen
    own = os.times()
    return used / os.sysconf("SC_CLK_TCK"), own.user + own.system


def _others(
    before: tuple[float, float] | None, after: tuple[float, float] | None, seconds: float
) -> float | None:
    """Mean number of cores that other processes used between two counts."""
    if before is None or after is None:
        return None
    everybody, own = (end - start for start, end in zip(before, after, strict=True))
    return round(max(0.0, everybody - own) / seconds, 2)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
