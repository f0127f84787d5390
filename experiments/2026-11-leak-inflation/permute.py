"""Copy the flow pictures with their labels dealt out anew: a null data set.

python permute.py SOURCE.npz TARGET.npz SEED
"""

import sys
from pathlib import Path

import numpy as np


def main(source: str, target: str, seed: str) -> None:
    """Permute `label` over all samples; pictures, persons and everything else stay."""
    with np.load(source) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    content["label"] = np.random.default_rng(int(seed)).permutation(content["label"])
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(target, **content)


if __name__ == "__main__":
    main(*sys.argv[1:])
