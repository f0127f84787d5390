"""Plain values: what a checkpoint may hold beside tensors to load with `weights_only=True`.

Anything else makes torch refuse the file, or would let it run code from the file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf


def plain(value: Any) -> Any:
    """Turn settings into str, numbers, lists, dicts and None, throughout.

    Args:
        value: Also a Hydra node, tuple, set (sorted), path, NumPy or torch value.

    Raises:
        TypeError: If a value is of another kind.
    """
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=True)
    if value is None or type(value) in (str, bool, int, float):
        return value
    if isinstance(value, np.generic | np.ndarray | torch.Tensor):
        return value.tolist()
    if isinstance(value, str | Path):
        return str(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} cannot be stored in a checkpoint: {value!r}")
