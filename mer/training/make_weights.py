"""Makes the weights that come with the package: trains on synthetic motion, and writes one file."""

import hashlib
from pathlib import Path

import torch

from mer.config.composition import compose, typed
from mer.files import write_whole
from mer.models.checkpoints import read_checkpoint
from mer.models.ready_weights import READY
from mer.training.pretrain import macro_weights
from mer.training.trainer import fold_threads


def make(name: str, folder: Path, words: list[str] | None = None) -> tuple[Path, str]:
    """Train weights of the package anew, or find them in the cache, and write their file.

    On one machine the file is the same to the last bit each time: the training has one thread.

    Args:
        name: A name of `mer.models.ready_weights.READY`.
        folder: Where the file `NAME.ckpt` goes.
        words: Settings beside those of the weights, such as `paths.cache=FOLDER`.

    Returns:
        The file and its SHA-256.
    """
    fixed = ["data.macro=null", "trainer.accelerator=cpu", "trainer.threads=1"]
    settings = typed(compose([*READY[name].words, *fixed, "run.dir=unused", *(words or [])]))
    with fold_threads(settings):
        content = read_checkpoint(macro_weights(settings, None, []))
    kept = {key: content[key] for key in ("hyper_parameters", "mer", "pytorch-lightning_version")}
    kept["state_dict"] = {
        key: tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in content["state_dict"].items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ckpt"
    write_whole(path, lambda temporary: _save(kept, temporary))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def _save(content: dict[str, object], path: Path) -> None:
    with path.open("wb") as file:  # a path would put its name into the file
        torch.save(content, file)
