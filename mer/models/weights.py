"""Weights that a backbone starts from: timm's download, or a local file.

Both fail fast and loudly. timm alone retries an unreachable server for about 46 seconds, and takes
a file that fits nothing without a word when the number of classes differs.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from torch import nn

from mer.errors import MerError, raise_all
from mer.models import ready_weights
from mer.models.blocks import mismatches

#: Seconds to wait for the server.
TIMEOUT = 5.0


def require_download(name: str) -> None:
    """Check that timm's weights of a network are stored here or can be downloaded now.

    Raises:
        MerError: If there are none, or the server is out of reach.
    """
    import huggingface_hub as hub

    own = timm.models.get_pretrained_cfg(name)
    if not own.has_weights:
        raise MerError(f"timm has no pretrained weights of {name}; set backbone.pretrained=false.")
    if not own.hf_hub_id:
        return
    files = ("model.safetensors", "pytorch_model.bin")
    if any(isinstance(hub.try_to_load_from_cache(own.hf_hub_id, file), str) for file in files):
        return
    mend = (
        "Set backbone.pretrained=false to start from random weights, or backbone.weights=/path/of/"
        f"model.safetensors with the file from huggingface.co/{own.hf_hub_id}."
    )
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise MerError(f"HF_HUB_OFFLINE is set and {name}'s weights are not stored here. {mend}")
    try:
        hub.HfApi().model_info(own.hf_hub_id, timeout=TIMEOUT)
    except Exception as error:
        raise MerError(
            f"backbone.pretrained=true, but {name}'s weights cannot be downloaded: {error}. {mend}"
        ) from error


def load_file(backbone: nn.Module, cfg: Mapping[str, Any], in_chans: int) -> None:
    """Load a local file, or weights of the package, strictly and without its classifier.

    A first convolution for RGB is adapted to `in_chans` as timm does for its own weights.

    Raises:
        MerError: If the file is not there, not readable, or lacks a tensor of the network.
    """
    where = f"backbone.weights={cfg['weights']}"
    if str(cfg["weights"]).startswith(ready_weights.PREFIX):
        state = ready_weights.backbone_state(cfg["weights"])
    else:
        state = _read(Path(cfg["weights"]).expanduser(), where)
    own = getattr(backbone, "pretrained_cfg", None) or {}
    heads = own.get("classifier") or ()
    heads = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    wanted = {
        name: tensor
        for name, tensor in backbone.state_dict().items()
        if not (heads and name.startswith(heads)) and not name.endswith("num_batches_tracked")
    }
    first = f"{own.get('first_conv')}.weight"
    if first in state and first in wanted and state[first].shape != wanted[first].shape:
        state[first] = timm.models.adapt_input_conv(in_chans, state[first])
    raise_all(f"{where} does not fit {cfg['name']}:", mismatches(wanted, state))
    backbone.load_state_dict({name: state[name] for name in wanted}, strict=False)


def _read(path: Path, where: str) -> dict[str, Any]:
    """Read the tensors of a local file under timm's names."""
    if not path.is_file():
        raise MerError(f"{where}: there is no such file. Set backbone.weights=null to go without.")
    try:
        state: dict[str, Any] = timm.models.load_state_dict(str(path))
    except Exception as error:
        raise MerError(
            f"{where} holds no weights that can be read. Name a file of tensors: .safetensors, or "
            ".pth, .pt or .bin as torch.save writes a state_dict."
        ) from error
    if any(name.startswith("backbone.") for name in state):
        raise MerError(
            f"{where} is a checkpoint of mer. Weights of macro-pretraining are set as "
            "macro.weights; the network of a fold has seen persons that others test."
        )
    return state
