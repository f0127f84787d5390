"""Features that frozen blocks (`mer.models.frozen_blocks`) compute, cached on disk.

All epochs, all folds with the same frozen blocks, and all trials of a search share them.
"""

import functools
import hashlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mer import integrity
from mer.cache import Key, exclusive, hold, make_key
from mer.config import trust
from mer.config.conversion import without_cache
from mer.data.dataset import UnifiedDataset
from mer.data.fixed_augmentations import FixedAugmentations, FixedInputs
from mer.errors import MerError
from mer.files import write_json, write_whole
from mer.progress import progress_bar

log = logging.getLogger(__name__)

#: Samples per forward pass.
BATCH = 32

#: Samples whose kept features are compared with what the blocks give now.
PROBES = 4

#: By how much they may differ, relative to the largest value: kernels depend on the batch.
TOLERANCE = 1e-2


class FeatureCache(FixedInputs):
    """The features of every sample and augmentation: memory-mapped files of one folder.

    Args:
        folder: Holds `plain.npy`, `augmented-0000.npy` and so on, float32 (N, C, H, W).
        dataset: All samples; their order is that of the arrays.
        arrays: The plain samples, then one array per augmentation.
    """

    def __init__(
        self, folder: Path, dataset: UnifiedDataset, arrays: Sequence[NDArray[np.float32]]
    ) -> None:
        self.folder, self.dataset, self.arrays = folder, dataset, tuple(arrays)
        self.count = len(self.arrays) - 1

    @classmethod
    def open_or_compute(
        cls,
        blocks: nn.Module,
        images: FixedAugmentations,
        folder: Path,
        data_hash: str,
        limit_gb: float = 8.0,
    ) -> Self:
        """Compute the features of all samples, or open those that the same blocks gave before.

        A call after a crash continues after the last whole array; a second caller waits.

        Args:
            blocks: Frozen blocks in evaluation mode; they compute on the device of their tensors.
            images: Samples and their augmentations.
            folder: Folder of all feature caches, each in a folder named by its digest.
            data_hash: Changes with the samples (`mer.data.corpus.Corpus.hash`).
            limit_gb: Disk space that all caches of `folder` may take.

        Raises:
            MerError: If the limit would be exceeded, the disk is full, a file is damaged, or kept
                features are not those of these blocks and samples.
        """
        key = _key(blocks, images, data_hash)
        path = folder / f"{images.dataset.settings.name}-{key.digest}"
        numbers: list[int | None] = [None, *range(images.count)]
        names = {n: "plain" if n is None else f"augmented-{n:04d}" for n in numbers}
        files = {path / f"{name}.npy": number for number, name in names.items()}
        probes = np.unique(np.linspace(0, len(images.dataset) - 1, PROBES).astype(int))
        expected = _features(blocks, images, probes, None)
        shape = (len(images.dataset), *expected.shape[1:])
        try:
            with exclusive(path):
                missing = {
                    file: number
                    for file, number in files.items()
                    if not integrity.intact(path, [file.name])
                }
                if missing:
                    for file in missing:  # one that is damaged takes no room
                        file.unlink(missing_ok=True)
                    _check_room(folder, 4e-9 * len(missing) * np.prod(shape), limit_gb)
                    path.mkdir(exist_ok=True)
                    write_json(key.record, path / "settings.json")
                    _compute(blocks, images, missing)
                    log.info(
                        "features of the frozen blocks: %d samples, plain and in %d augmentations, "
                        "%.3f GB in %s",
                        shape[0],
                        images.count,
                        4e-9 * len(files) * np.prod(shape),
                        path,
                    )
                cache = cls(
                    path, images.dataset, [integrity.open_array(file, shape) for file in files]
                )
                _compare(path, cache.arrays[0][probes], expected)
                hold(path, cache)
                return cache
        except OSError as error:
            raise MerError(
                f"The features of the frozen blocks cannot be written to {path}: {error}. Mend "
                "that, or set another folder with paths.cache."
            ) from error

    def tensors(
        self, positions: NDArray[np.int64], numbers: NDArray[np.int64] | None
    ) -> torch.Tensor:
        """Read the features; see `FixedInputs`."""
        if numbers is None:
            return torch.from_numpy(np.array(self.arrays[0][positions]))
        pairs = zip(positions, numbers, strict=True)
        return torch.from_numpy(np.stack([self.arrays[n + 1][p] for p, n in pairs]))


def _key(blocks: nn.Module, images: FixedAugmentations, data_hash: str) -> Key:
    # Tensors alone do not tell strides and activation functions; the printed structure does, and
    # the files that define the classes of its parts tell what these compute.
    weights = hashlib.sha256(repr(blocks).encode())
    for module in sorted({type(part).__module__ for part in blocks.modules()}):
        if file := getattr(sys.modules.get(module), "__file__", None):
            weights.update(Path(file).read_bytes())
    for name, tensor in blocks.state_dict().items():
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        weights.update(tensor.cpu().contiguous().numpy().tobytes())
    dataset = images.dataset
    settings = {
        "blocks": weights.hexdigest(),
        "input": trust.with_sources(without_cache(dataset.settings)),
        "data": data_hash,
        "stores": [store.key for store in dataset.stores],
        "samples": hashlib.sha256("\n".join(dataset.table["sample_id"]).encode()).hexdigest(),
        "augment": trust.with_sources(images.augment),
        "seed": None if images.augment is None else images.seed,
    }
    device = next(blocks.buffers()).device.type
    return make_key("features", settings, device)


def _features(
    blocks: nn.Module, images: FixedAugmentations, positions: NDArray[np.int64], number: int | None
) -> NDArray[np.float32]:
    numbers = None if number is None else np.full(len(positions), number)
    device = next(blocks.buffers()).device
    with torch.no_grad():
        return blocks(images.tensors(positions, numbers).to(device)).cpu().contiguous().numpy()


def _compute(
    blocks: nn.Module, images: FixedAugmentations, missing: dict[Path, int | None]
) -> None:
    """Write one array per augmentation; a file is there whole or not at all."""
    count = len(images.dataset)
    with progress_bar(len(missing), "features", "array") as bar:
        for file, number in missing.items():
            parts = [
                _features(blocks, images, np.arange(start, min(start + BATCH, count)), number)
                for start in range(0, count, BATCH)
            ]
            array = np.concatenate(parts)
            write_whole(file, functools.partial(np.save, arr=array))
            integrity.write(file.parent, [file.name])
            bar.update()


def _compare(path: Path, kept: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Refuse features of other samples or of other weights."""
    axes = tuple(range(1, expected.ndim))
    gap = np.abs(kept - expected).max(axis=axes)
    if wrong := int((~(gap <= TOLERANCE * np.abs(expected).max(axis=axes))).sum()):
        raise MerError(
            f"The features in {path} are not those of these samples and blocks: {wrong} of "
            f"{len(expected)} that were computed again differ. Delete that folder and start again."
        )


def _check_room(folder: Path, more_gb: float, limit_gb: float) -> None:
    used_gb = sum(file.stat().st_size for file in folder.rglob("*.npy")) / 1e9
    if used_gb + more_gb > limit_gb:
        raise MerError(
            f"Features of the frozen blocks would take {more_gb:.2f} GB beside {used_gb:.2f} GB "
            f"of others in {folder}; the limit is {limit_gb:g} GB. Delete that folder, or set a "
            "smaller model.augment_draws."
        )
