"""Precomputed samples in .npy and .npz files, such as published flow pictures."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mer.errors import MerError, flaw
from mer.files import check_unpacked_size

#: Grey levels per unit of motion in 8-bit flow pictures. Each picture was stretched to 0-255 by its
#: own minimum and maximum, so lengths in pixels are lost: u and v are relative, mostly in -1 to 1.
ARRAY_MOTION_SCALE = 128.0


def load_array(path: str, key: str | None) -> np.ndarray:
    """Load a .npy file or an array of an .npz file, once per process while it stays the same.

    Raises:
        MerError: If the file or the key is missing, or the file can't be read without pickle.
    """
    try:
        status = Path(path).stat()
        state = status.st_mtime_ns, status.st_size, status.st_ino
        array: np.ndarray = _load(path, key, state)
        return array
    except MerError:
        raise
    except Exception as error:  # of the file system, of zip, zlib, or numpy
        raise MerError(f"{path} can't be read as .npy or .npz: {flaw(error)}") from error


@functools.lru_cache(maxsize=64)
def _load(path: str, key: str | None, state: tuple[int, ...]) -> np.ndarray:
    check_unpacked_size(Path(path))
    content = np.load(path, allow_pickle=False)
    if isinstance(content, np.ndarray):
        return content
    with content:
        if key not in content:
            raise MerError(f"{path}: no array `{key}`, it holds {', '.join(content.files)}")
        return content[key]


def array_of(row: Mapping[str, Any]) -> np.ndarray:
    """Return the whole array, first axis included, that a row with `array_path` points into."""
    return load_array(str(row["array_path"]), row["array_key"])


def flow_of_picture(picture: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Turn an 8-bit flow picture into float16 (3, H, W).

    u and v become (x - median) / 128, strain x / 255: the picture's own minimum and maximum were
    stretched to 0 and 255, so zero motion is known only as the median, which is the head's.

    The order strain, v, u was found in the 442 MEGC2019 pictures as OpenCV reads them (BGR). The
    strain of channels (2, 1) taken as (u, v) correlates with channel 0 at .83 on average; swapped
    .79 (worse in 93 % of the pictures), every other choice of a strain channel below .00. Against
    its own mirror image channel 1 correlates at +.57 and channel 2 at -.19, as v and u of a
    symmetric face do. Signs are right and down: in surprise the brows have v = -36 of 128, in
    positive samples the lip corners have u = -22 on the left and +23 on the right.
    """
    plane = {name: picture[..., i].astype(np.float32) for i, name in enumerate(channels)}
    u, v = ((plane[k] - np.median(plane[k])) / ARRAY_MOTION_SCALE for k in ("u", "v"))
    return np.stack([u, v, plane["strain"] / 255]).astype(np.float16)
