"""Random numbers that depend on names, not on what was drawn before.

What is drawn for a sample in an epoch is a function of a seed, the sample and the number of the
draw alone. Batches, loader processes, engines, other folds and an interrupted training do not
matter.
"""

import hashlib

import numpy as np


def generator(*names: object) -> np.random.Generator:
    """A generator of its own for each sequence of names.

    Args:
        names: Names of one use: a seed, a purpose, a sample, an epoch.
    """
    key = np.frombuffer(_digest(names)[:16], np.uint64)
    # Philox takes a key as it is; others would stretch a seed first, at ten times the cost.
    return np.random.Generator(np.random.Philox(key=key))


def derived_seed(*names: object) -> int:
    """A seed of its own for each sequence of names, for what seeds itself. 32 bits."""
    return int.from_bytes(_digest(names)[:4], "big")


def _digest(names: tuple[object, ...]) -> bytes:
    return hashlib.sha256(" ".join(map(str, names)).encode()).digest()
