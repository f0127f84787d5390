"""What a network costs: parameters, and the time of one sample."""

import os
import statistics
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng

from mer.models.backbones import evaluation_mode

#: Shortest time over which the use of other processes is counted.
LEAST_SECONDS = 0.2


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
    times = []
    before, begun = _processor_seconds(), time.perf_counter()
    try:
        with isolate_rng(), evaluation_mode(module), torch.inference_mode():
            for _ in range(repeats + 3):
                _wait(device)
                started = time.perf_counter()
                module(batch)
                _wait(device)
                times.append(1000 * (time.perf_counter() - started))
    finally:
        module.to(home)
    # What the system counts comes in steps of 10 ms, so a short measurement would tell nothing.
    time.sleep(max(0.0, LEAST_SECONDS - (time.perf_counter() - begun)))
    others = _others(before, _processor_seconds(), time.perf_counter() - begun)
    quartiles = statistics.quantiles(times[3:], n=4)
    return {
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "latency_ms": round(quartiles[1], 3),
        "latency_ms_range": [round(quartiles[0], 3), round(quartiles[2], 3)],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "other_cores": others,
    }


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
