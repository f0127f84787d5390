"""Made-up samples of noise, as many as wanted, and the words that make `mer train` read them."""

from pathlib import Path

import numpy as np
import pandas as pd

#: Side of the flow pictures in pixels.
SIDE = 64

PERSONS = 50


def write(folder: Path, samples: int) -> list[str]:
    """Write flow pictures of noise and a table of them, which `conf/data/htnet_flow.yaml` reads.

    Args:
        folder: Where the file and everything prepared from it lie.
        samples: How many; their classes and persons take turns.

    Returns:
        Overrides for `mer train`: the data, and one fold at a time on one thread of the CPU.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = np.arange(samples)
    pictures = np.random.default_rng(0).integers(0, 256, (samples, SIDE, SIDE, 3), np.uint8)
    np.save(folder / "noise.npy", pictures)
    table = pd.DataFrame({"array_row": number, "clip": number, "label": number % 3})
    table["subject"] = [f"{person:02d}" for person in number % PERSONS]
    table.assign(corpus="noise", array_path="noise.npy").to_csv(folder / "noise.csv", index=False)
    return [
        "data=htnet_flow",
        f"data.root={folder}",
        "data.micro.flow.root=noise.csv",
        "data.check_counts=false",
        f"paths.cache={folder / 'cache'}",
        "macro.enabled=false",
        "logger=none",
        "trainer.accelerator=cpu",
        "trainer.folds_at_once=1",
        "trainer.enable_progress_bar=false",
    ]


def folds(count: int) -> str:
    """Override that names the first few folds of leave-one-subject-out."""
    return f"protocol.folds=[{','.join(f'noise-{number:02d}' for number in range(count))}]"
