"""Columns of a sample table out of one .npz file that also holds the precomputed samples.

The file has arrays of the same length, one per column, and at least one array of samples with three
or more axes.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from mer.errors import MerError, flaw
from mer.files import check_unpacked_size


def columns_of(path: Path, key: str | None) -> pd.DataFrame:
    """Return the one-dimensional arrays of an .npz file as text, with the place of each sample.

    Args:
        path: The file; object arrays are refused, because reading them can run code.
        key: Name of the array of samples; `None` takes the only one with three or more axes.

    Returns:
        One row per sample: the file's columns, `array_path`, `array_key` and `array_row`.

    Raises:
        MerError: If the file is damaged, the array of samples is not there or not the only one, or
            the lengths differ.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    columns: dict[str, np.ndarray] = {}
    try:
        check_unpacked_size(path)
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                array = arrays[name]
                shapes[name] = array.shape
                if array.ndim == 1:
                    columns[name] = array
    except MerError:
        raise
    except Exception as error:  # zipfile, zlib, ValueError of object arrays, OSError
        raise MerError(
            f"{path} cannot be read as an .npz file of plain arrays ({flaw(error)})"
        ) from error
    there = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    samples = [name for name, shape in shapes.items() if len(shape) >= 3]
    if key is None and len(samples) != 1:
        raise MerError(
            f"{path} holds {len(samples)} arrays with three or more axes; set `array_key` to the "
            f"array of samples. Found: {there}"
        )
    key = key or samples[0]
    if key not in samples:
        raise MerError(f"{path} holds no array of samples `{key}` (`array_key`). Found: {there}")
    count = shapes[key][0]
    wrong = [f"{name} {shapes[name]}" for name in columns if len(columns[name]) != count]
    if wrong:
        raise MerError(
            f"{path}: `{key}` holds {count} samples, but these differ: {', '.join(wrong)}"
        )
    table = pd.DataFrame({name: array.astype(str) for name, array in columns.items()}, dtype=object)
    return table.assign(
        array_path=str(path), array_key=key, array_row=[str(i) for i in range(count)]
    )
