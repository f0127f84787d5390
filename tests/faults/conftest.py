"""A run of seconds on arrays, and a small disk of its own."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest


def write_samples(path: Path, corpus: str, seed: int, *persons: str) -> None:
    """Samples as 28 x 28 flow with a trace of their class.

    Args:
        path: The .npz file.
        corpus: Its dataset.
        seed: Seed of the noise.
        *persons: Class numbers of a person's samples, such as `012`.
    """
    rng = np.random.default_rng(seed)
    names = {f"{corpus}{place:02d}": text for place, text in enumerate(persons)}
    rows = [(name, int(one)) for name, text in names.items() for one in text]
    flow = rng.integers(108, 148, (len(rows), 28, 28, 3), dtype=np.uint8)
    for picture, (_, one) in zip(flow, rows, strict=True):
        picture[8 * one : 8 * one + 8] += 8
    np.savez(
        path,
        flow_bgr=flow,
        label=[one for _, one in rows],
        subject=[subject for subject, _ in rows],
        clip=[f"clip{place:02d}" for place in range(len(rows))],
        corpus=[corpus] * len(rows),
    )


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with micro.npz (6 persons) and macro.npz (5 others)."""
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder / "micro.npz", "smic", 0, *["012"] * 6)
    write_samples(folder / "macro.npz", "ckplus", 1, *["012"] * 5)
    return folder


def words(samples: Path, pretrained: bool = True) -> list[str]:
    """The words of `mer train`, but for the run directory; the cache is in the current folder."""
    macro = (
        "{reader: table, root: macro.npz, array_key: flow_bgr, array_kind: flow, "
        "classes: [anger, happiness, surprise]}"
    )
    return [
        "data=htnet_flow",
        f"data.root={samples}",
        "data.check_counts=false",
        "data.micro.flow.root=micro.npz",
        f"+data.macro.toy={macro}" if pretrained else "macro.enabled=false",
        "input.size=32",
        "backbone=tiny",
        "protocol=group_kfold",
        "protocol.n_splits=3",
        "model.epochs=2",
        "macro.epochs=2",
        "model.transfer.blocks=all",
        "trainer.accelerator=cpu",
        "trainer.folds_at_once=1",
        "trainer.enable_progress_bar=false",
        "paths.cache=cache",
        "run.dir=run",
    ]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that is a disk of its own, of 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
