"""Data-parallel training of one network on several devices of this machine (DDP).

Macro-pretraining alone may need it, since folds are independent. The process pool gives one process
to each device; Lightning's `ddp` strategy does the rest.
"""

import functools
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from numpy.typing import NDArray

from mer import processes
from mer.config.settings import Settings
from mer.data.datamodule import MERDataModule
from mer.models.dropout import DropoutDraws
from mer.models.modules import MacroPretrainModule
from mer.randomness import derived_seed, generator
from mer.training.trainer import make_trainer


def fit(
    settings: Settings,
    module: MacroPretrainModule,
    data: MERDataModule,
    folder: Path,
    keeper: pl.callbacks.ModelCheckpoint,
    checkpoint: Path | None,
    meanwhile: Callable[[], None],
) -> None:
    """Train on `macro.devices` devices; the weights are those that the callback has kept.

    The given module gets to know the samples that were used (`MERModule.seen`), and no weights.
    `meanwhile` is called every second.
    """
    count = settings.macro.devices
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())}
    threads = max(1, torch.get_num_threads() // count)
    job = pickle.dumps((settings, module, data, folder, keeper, checkpoint))
    work = functools.partial(_fit_rank, job, variables, threads, Path.cwd())
    for _, seen in processes.run(
        [work] * count,
        range(count),
        meanwhile=meanwhile,
        name=lambda rank: f"macro-pretraining on device {rank}",
        fewer="with macro.devices=1",
        attempts=1,
    ):
        for stage, positions in seen.items():
            module.seen.extend(stage, positions)


def share(positions: NDArray[np.int64], rank: int, count: int, seed: int) -> NDArray[np.int64]:
    """The samples of one device: equally many for each, so the first of all may come twice.

    Args:
        positions: Positions of all samples. Shape: (M,).
        rank: Number of the device, from 0.
        count: Number of devices.
        seed: Seed of who gets what.
    """
    order = generator("share", seed).permutation(positions)
    return np.resize(order, -(-len(order) // count) * count)[rank::count]


def _fit_rank(
    job: bytes, variables: dict[str, str], threads: int, cwd: Path, rank: int
) -> dict[str, NDArray[np.int64]]:
    """Train on one of the devices, in a process of its own; return the samples that were used."""
    os.chdir(cwd)
    torch.set_num_threads(threads)
    settings, module, data, folder, keeper, checkpoint = pickle.loads(job)
    count, seed = settings.macro.devices, data.seed
    pl.seed_everything(seed + rank, workers=True, verbose=False)
    data.train_positions = share(data.train_positions, rank, count, seed)
    if rank:
        drawn = derived_seed(seed, f"device {rank}")
        module.dropout = DropoutDraws(module.dropout.probability, drawn)
    os.environ |= variables | {"LOCAL_RANK": str(rank)}
    try:
        trainer = make_trainer(settings, settings.macro, folder, [keeper], count=count)
        trainer.fit(module, data, ckpt_path=checkpoint)
        return {stage: module.seen.positions(stage) for stage in ("train", "val")}
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name in (*variables, "LOCAL_RANK"):
            os.environ.pop(name, None)
