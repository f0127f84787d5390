"""Devices of a run. Each trains one fold at a time; macro-pretraining alone may use several."""

import os
from typing import Any

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.accelerators import CPUAccelerator, CUDAAccelerator, MPSAccelerator

from mer.config.settings import Settings
from mer.errors import MerError


def devices(settings: Settings) -> list[torch.device]:
    """Devices that `trainer.devices` names; on a CPU several are as many processes."""
    wanted: Any = settings.trainer.devices
    name = settings.trainer.accelerator
    accelerator = _accelerator(name)
    if wanted == "auto":
        wanted = accelerator.auto_device_count()
    try:
        return list(accelerator.get_parallel_devices(accelerator.parse_devices(wanted)))
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise MerError(
            f"trainer.devices={wanted} on trainer.accelerator={name}: {error}"
        ) from error


def fold_device(settings: Settings) -> torch.device:
    """Device that trains the folds of this process: the first one."""
    return devices(settings)[0]


def on_cpu(settings: Settings) -> bool:
    """Whether folds train on the CPU, given `trainer.accelerator` and this machine."""
    return _accelerator(settings.trainer.accelerator) is CPUAccelerator


def check(settings: Settings) -> None:
    """Find out whether a run can have its devices."""
    there = len(devices(settings))
    if settings.macro.enabled and settings.macro.devices > there:
        raise MerError(
            f"macro.devices is {settings.macro.devices}, but trainer.devices gives {there}; set "
            f"trainer.devices={settings.macro.devices}, or macro.devices={there}"
        )
    count = os.environ.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in os.environ and count != "1":
        raise MerError(
            f"torchrun has started {count} processes of this command, and each would do the whole "
            "run; type `mer train ... trainer.devices=2` to train folds on two devices of this "
            "machine, or `mer train -m 'protocol.folds=split(4)' hydra/launcher=submitit_slurm` to "
            "spread them over several machines"
        )


def _accelerator(kind: str) -> Any:
    """Lightning's class for a value of `trainer.accelerator`."""
    if kind == "auto":
        found = (CUDAAccelerator, MPSAccelerator)
        return next((one for one in found if one.is_available()), CPUAccelerator)
    named = {"gpu": CUDAAccelerator, "cuda": CUDAAccelerator, "mps": MPSAccelerator}
    return named.get(kind, CPUAccelerator)
