"""What a network costs: parameters, and the time of one sample."""

import statistics
import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng

from mer.models.backbones import evaluation_mode


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
        `parameters`, `latency_ms` (median), `latency_ms_range` (quartiles), `device`, `threads`.
    """
    home = module.device
    module.to(device)
    batch = image[None].to(device)
    times = []
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
    quartiles = statistics.quantiles(times[3:], n=4)
    return {
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "latency_ms": round(quartiles[1], 3),
        "latency_ms_range": [round(quartiles[0], 3), round(quartiles[2], 3)],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
