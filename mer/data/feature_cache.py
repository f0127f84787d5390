"""Activations of a frozen trunk (`mer.models.frozen_blocks`), computed once and kept on disk.

They are shared by all epochs, by all folds with the same trunk, and by all trials of a search.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm

from mer.data.dataset import UnifiedDataset
from mer.data.fixed_augmentations import DrawnImages
from mer.errors import MerError

log = logging.getLogger(__name__)

#: Raise it when a change of this code changes the activations that the same settings give.
FORMAT = 2

#: Samples per pass of the trunk.
BATCH = 32


@dataclass(frozen=True)
class ActivationStore:
    """What a trunk makes of every sample and augmentation: memory-mapped files of one folder.

    Attributes:
        folder: Holds `plain.npy`, `draw-0000.npy` and so on, float32 (N, C', H', W').
        dataset: All samples; their order is that of the arrays.
        arrays: The plain samples, then one array per augmentation.
    """

    folder: Path
    dataset: UnifiedDataset
    arrays: tuple[NDArray[np.float32], ...]

    @classmethod
    def open_or_compute(
        cls,
        trunk: nn.Module,
        images: DrawnImages,
        folder: Path,
        data_hash: str,
        limit_gb: float = 8.0,
    ) -> Self:
        """Compute the activations of all samples, or open those that the same trunk gave before.

        A call after a crash continues after the last whole array; a second caller waits.

        Args:
            trunk: In evaluation mode; it works on the device where its tensors are.
            images: Samples and their augmentations.
            folder: Where stores lie, each in a folder named by its digest.
            data_hash: Changes with the samples (`mer.data.sources.Corpus.hash`).
            limit_gb: What all stores of `folder` may take.

        Raises:
            MerError: If the limit would be exceeded, the disk is full, or a file is damaged.
        """
        facts = _facts(trunk, images, data_hash)
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
        path = folder / digest
        draws: list[int | None] = [None, *range(images.draws)]
        files = {path / f"{'plain' if d is None else f'draw-{d:04d}'}.npy": d for d in draws}
        shape = (len(images.dataset), *_outputs(trunk, images, np.array([0]), None).shape[1:])
        try:
            if not all(file.exists() for file in files):
                path.mkdir(parents=True, exist_ok=True)
                with FileLock(path / ".lock"):
                    missing = {f: d for f, d in files.items() if not f.exists()}
                    _check_room(folder, 4e-9 * len(missing) * np.prod(shape), limit_gb)
                    (path / "settings.json").write_text(json.dumps(facts, indent=2))
                    _compute(trunk, images, missing)
                    gigabytes = 4e-9 * len(files) * np.prod(shape)
                    log.info(
                        "activations of the frozen blocks: %d samples, plain and in %d draws, "
                        "%.3f GB in %s",
                        shape[0],
                        images.draws,
                        gigabytes,
                        path,
                    )
        except OSError as error:
            raise MerError(
                f"The activations cannot be written to {path}: {error}. Mend that, or set another "
                "folder with paths.cache."
            ) from error
        return cls(path, images.dataset, tuple(_open(file, shape) for file in files))

    @property
    def draws(self) -> int:
        """Augmentations per sample; 0 without augmentation."""
        return len(self.arrays) - 1

    def tensors(
        self, positions: NDArray[np.int64], draws: NDArray[np.int64] | None
    ) -> torch.Tensor:
        """Activations of one augmentation each, or plain (None). Float32 (B, C', H', W')."""
        if draws is None:
            return torch.from_numpy(np.array(self.arrays[0][positions]))
        found = [self.arrays[d + 1][p] for p, d in zip(positions, draws, strict=True)]
        return torch.from_numpy(np.stack(found))


def _facts(trunk: nn.Module, images: DrawnImages, data_hash: str) -> dict[str, Any]:
    """All that decides the activations, as plain values."""
    # Tensors alone do not tell strides and activation functions; the printed structure does.
    weights = hashlib.sha256(repr(trunk).encode())
    for name, tensor in trunk.state_dict().items():
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        weights.update(tensor.cpu().contiguous().numpy().tobytes())
    dataset = images.dataset
    return {
        "format": FORMAT,
        "trunk": weights.hexdigest(),
        "device": next(trunk.buffers()).device.type,
        "input": {k: v for k, v in dataset.settings.items() if k != "cache_gb"},
        "data": data_hash,
        "samples": hashlib.sha256("\n".join(dataset.table["sample_id"]).encode()).hexdigest(),
        "augment": images.augment,
        "seed": None if images.augment is None else images.seed,
    }


def _outputs(
    trunk: nn.Module, images: DrawnImages, positions: NDArray[np.int64], draw: int | None
) -> NDArray[np.float32]:
    draws = None if draw is None else np.full(len(positions), draw)
    device = next(trunk.buffers()).device
    with torch.no_grad():
        return trunk(images.tensors(positions, draws).to(device)).cpu().contiguous().numpy()


def _compute(trunk: nn.Module, images: DrawnImages, missing: dict[Path, int | None]) -> None:
    """Write one array per draw; a file is there whole or not at all."""
    count = len(images.dataset)
    for file, draw in tqdm(missing.items(), "activations", unit="draw", leave=False):
        parts = [
            _outputs(trunk, images, np.arange(at, min(at + BATCH, count)), draw)
            for at in range(0, count, BATCH)
        ]
        temporary = file.with_suffix(".tmp")
        with temporary.open("wb") as stream:
            np.save(stream, np.concatenate(parts))
        temporary.rename(file)


def _check_room(folder: Path, more_gb: float, limit_gb: float) -> None:
    there = sum(file.stat().st_size for file in folder.rglob("*.npy")) / 1e9
    if there + more_gb > limit_gb:
        raise MerError(
            f"Activations of the frozen blocks would take {more_gb:.2f} GB beside {there:.2f} GB "
            f"of others in {folder}; the limit is {limit_gb:g} GB. Delete that folder, or set a "
            "smaller model.augment_draws."
        )


def _open(file: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Map an array, read-only."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MerError(f"{file} is damaged ({error}); delete it and start again.") from error
    if array.shape != shape or array.dtype != np.float32:
        raise MerError(f"{file} is {array.shape} {array.dtype}, not {shape} float32; delete it.")
    return array
