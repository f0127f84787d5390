"""Random generators that depend on names only, never on the order or the process of the work."""

import hashlib

import numpy as np


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return the generator that belongs to `names` under `seed`.

    The state comes from a BLAKE2 hash, so it is the same on every machine and with any number of
    worker processes, and clips do not influence each other.
    """
    text = "\x1f".join([str(seed), *names])
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
