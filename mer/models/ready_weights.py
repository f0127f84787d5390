"""Weights that come with the package: of networks that were trained on synthetic motion alone.

No face and no dataset is in them. A file is a checkpoint of `MotionPretrainModule` whose tensors
are in half precision; `mer weights --make NAME` trains it again.
"""

from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from mer.errors import MerError
from mer.files import sha256

#: Beginning of `backbone.weights` that names weights of the package.
PREFIX = "mer:"


class Ready(NamedTuple):
    """Weights of the package.

    Attributes:
        backbone: Name of the network.
        words: What was set to train it.
        sha256: Digest of the file, 64 hexadecimal digits.
    """

    backbone: str
    words: tuple[str, ...]
    sha256: str


#: What all of them are trained on.
_COMMON = (
    "input=flow",
    "input.size=32",
    "input.scale=channel",
    "input.blur=0.7",
    "macro=synthetic_motion",
    "macro.motion.layout=both",
)

#: Name -> weights. The file is `mer/assets/NAME.ckpt`, the model card `mer/assets/NAME.md`.
READY: dict[str, Ready] = {
    "motion-xxs": Ready(
        backbone="mobilevit_xxs",
        words=(
            *_COMMON,
            "backbone=mobilevit_xxs",
            "macro.network=whole",
            "macro.motion.samples=153600",
            "macro.epochs=12",
        ),
        sha256="f590137b3afe0c318779fb31ededea01ca414a911b18e79590f2dcf14fbe2205",
    ),
    "motion-mlps": Ready(
        backbone="motion_mlps",
        words=(
            *_COMMON,
            "backbone=motion_mlps",
            "macro.motion.samples=307200",
            "macro.epochs=12",
        ),
        sha256="81c928d44ab728f50e9d05ea9677b3483e538f2fe2f820f9e45f16dd089e7d51",
    ),
}


def file_of(name: str) -> Path:
    """Return where the file of some weights is, or would be."""
    return Path(str(resources.files("mer") / "assets" / f"{name}.ckpt"))


def named(weights: str | None) -> Path | None:
    """The checkpoint of `backbone.weights`, if that names weights of the package."""
    return checkpoint(weights) if weights and weights.startswith(PREFIX) else None


def checkpoint(weights: str) -> Path:
    """Find and verify the checkpoint that `backbone.weights` names.

    Raises:
        MerError: If there is no such name, or the file is missing or altered.
    """
    name = weights.removeprefix(PREFIX)
    if name not in READY:
        raise MerError(
            f"backbone.weights={weights}: the package has no such weights; there is "
            f"{', '.join(PREFIX + known for known in READY)}"
        )
    path = file_of(name)
    if not path.is_file() or sha256(path) != READY[name].sha256:
        state = "altered" if path.is_file() else "missing"
        raise MerError(
            f"backbone.weights={weights}: {path} is {state}; install mer again, or make the file "
            f"anew: mer weights --make {name}"
        )
    return path


def backbone_state(weights: str) -> dict[str, Any]:
    """Read the tensors of the backbone under its own names, in single precision."""
    from mer.models.checkpoints import read_checkpoint  # brings torch, which names do not need

    state = read_checkpoint(checkpoint(weights))["state_dict"]
    return {
        name.removeprefix("backbone."): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
        if name.startswith("backbone.")
    }
