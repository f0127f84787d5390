"""Makes the weights that come with the package: trains on synthetic motion, and writes one file."""

from pathlib import Path

import torch

from mer.config.composition import compose, typed
from mer.files import sha256
from mer.models.checkpoints import network_of, read_checkpoint, write
from mer.models.ready_weights import READY, checkpoint
from mer.training.pretrain import macro_weights
from mer.training.trainer import fold_threads


def make(name: str, folder: Path, words: list[str] | None = None) -> tuple[Path, str]:
    """Train weights of the package anew, or find them in the cache; give their file and SHA-256.

    On one machine the file is the same to the last bit each time: the training has one thread.

    Args:
        name: A name of `mer.models.ready_weights.READY`.
        folder: Where the file `NAME.ckpt` goes.
        words: Settings beside those of the weights, such as `paths.cache=FOLDER`.
    """
    fixed = ["data.macro=null", "trainer.accelerator=cpu", "trainer.threads=1"]
    settings = typed(compose([*READY[name].words, *fixed, "run.dir=unused", *(words or [])]))
    with fold_threads(settings):
        content = read_checkpoint(macro_weights(settings, None, []))
    halves = {
        key: tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in content["state_dict"].items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ckpt"
    write(network_of({**content, "state_dict": halves}), path)
    return path, sha256(path)


def as_in_package(name: str, path: Path) -> bool:
    """Whether a file has the tensors of the package's, to the last bit."""
    made, ours = (read_checkpoint(one)["state_dict"] for one in (path, checkpoint(name)))
    return made.keys() == ours.keys() and all(torch.equal(made[key], ours[key]) for key in ours)
