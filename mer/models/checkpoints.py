"""Checkpoints of this project: written, read and turned back into networks without running code.

A checkpoint may come from somebody else. It holds tensors and plain values, and is loaded with
`weights_only=True`; the classes that its settings name are those that `mer.config.trust` allows.
"""

import functools
import inspect
import io
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from mer.config import trust as trusted
from mer.errors import MerError, raise_all
from mer.files import mend_of_entry, write_whole

#: Largest side of an input, as in `mer.config.settings.Input`.
MOST_PIXELS = 1024

M = TypeVar("M", bound=pl.LightningModule)


def load_module(kind: type[M], path: Path, trust: Iterable[str] = ()) -> M:
    """Make the network of a checkpoint, on the CPU.

    Args:
        kind: `MicroFinetuneModule` or `MacroPretrainModule`.
        path: The file.
        trust: Packages, or exact names, that it may name beside the listed objects of mer.

    Raises:
        MerError: If the file is no such checkpoint, names other code, or is of another version.
    """
    content = read_checkpoint(path)
    settings = content["hyper_parameters"]
    trusted.check(settings, path, trust)
    kinds = [one for one in kind.__mro__ if issubclass(one, pl.LightningModule)]
    known = {name for one in kinds for name in inspect.signature(one).parameters}
    unknown = sorted(set(settings) - known)
    maker = content["mer"].get("version", "of unknown version")
    headline = f"{path} was written by mer {maker}, and this version has no such settings:"
    raise_all(headline, unknown)
    module = kind(**_without_files(settings, path))
    module.on_load_checkpoint(content)
    module.load_state_dict(content["state_dict"])
    return module


def _without_files(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Settings that load nothing beside the checkpoint's own tensors.

    Raises:
        MerError: If the pictures that it takes are larger than any input.
    """
    if (settings.get("image_size") or 1) not in range(1, MOST_PIXELS + 1):
        raise MerError(f"{path} is for pictures of {settings['image_size']} pixels")
    backbone = {**settings["backbone"], "pretrained": False, "weights": None}
    return {**settings, "backbone": backbone}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this project, without running any code that it may hold.

    Returns:
        At least `state_dict`, `hyper_parameters` and `mer` (what it says of its making). It is
        shared by all who ask: not to be changed.

    Raises:
        MerError: If it isn't there or isn't one.
    """
    if not path.is_file():
        raise MerError(f"There is no checkpoint {path}.")
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _read(path: Path, written: int) -> dict[str, Any]:
    """Read a file once, though every fold asks for it; another time of writing is another file."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        mend = mend_of_entry(path) or "name another file, or copy it again"
        raise MerError(f"{path} is not a checkpoint that mer can read: {mend}") from error
    needed = ("state_dict", "hyper_parameters", "mer")
    missing = [key for key in needed if not isinstance(content, dict) or key not in content]
    if missing or "persons" not in content["mer"]:
        lacks = ", ".join(missing) or "the list of the persons that trained it"
        raise MerError(
            f"{path} was not written by mer: it lacks {lacks}. Weights from elsewhere go in as "
            f"backbone.weights={path}."
        )
    return content


def save_network(module: pl.LightningModule, path: Path, epochs: int, steps: int) -> None:
    """Write a trained module as `trainer.save_checkpoint(weights_only=True)` does, with none."""
    checkpoint: dict[str, Any] = {
        "epoch": epochs,
        "global_step": steps,
        "pytorch-lightning_version": version("pytorch-lightning"),
        "state_dict": _packed(module.state_dict()),
        "hparams_name": module._hparams_name,
        "hyper_parameters": dict(module.hparams),
    }
    module.on_save_checkpoint(checkpoint)
    write(checkpoint, path)


def network_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a checkpoint what only a continued training needs, the larger part."""
    needed = ("state_dict", "hyper_parameters", "mer", "pytorch-lightning_version")
    return {key: content[key] for key in needed}


def write(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint whole or not at all; see `mer.files.write_whole`."""
    stream = io.BytesIO()
    torch.save(checkpoint, stream)
    write_whole(path, lambda temporary: temporary.write_bytes(stream.getbuffer()))


class WholeCheckpoints(TorchCheckpointIO):
    """Lets Lightning write checkpoints by `write`, and not by way of the system's `/tmp`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write(checkpoint, Path(path))


def _packed(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors as parts of one per dtype, written in half the time of hundreds of parts."""
    found = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    packed: dict[str, torch.Tensor] = {}
    for dtype in {tensor.dtype for tensor in found.values()}:
        alike = {name: tensor for name, tensor in found.items() if tensor.dtype == dtype}
        joined = torch.cat([tensor.ravel() for tensor in alike.values()])
        parts = torch.split(joined, [tensor.numel() for tensor in alike.values()])
        for (name, tensor), part in zip(alike.items(), parts, strict=True):
            packed[name] = part.view(tensor.shape)
    return {name: packed[name] for name in found}
