"""Parts of mer bench: the baseline's augmentation, and disk that is there before it is filled."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mer.bench import memory
from mer.bench.figures import Figure
from mer.bench.plain_loop import augmentation
from mer.bench.settings import Settings

STILL = dict.fromkeys(("flip", "shift", "scale", "rotate", "gain", "offset", "noise"), 0.0)


def test_the_baseline_augments_as_strongly_as_the_configuration_says() -> None:
    picture = np.random.default_rng(0).random((32, 32, 3), np.float32)
    change = augmentation(STILL)
    np.testing.assert_allclose(change(image=picture)["image"], picture, atol=1e-5)
    mirror = augmentation({**STILL, "flip": 1.0})
    np.testing.assert_allclose(mirror(image=picture)["image"], picture[:, ::-1], atol=1e-5)
    grey = np.full((64, 64, 3), 0.5, np.float32)
    noisy = augmentation({**STILL, "noise": 0.05})(image=grey)["image"]
    assert noisy.dtype == np.float32
    assert noisy.std() == pytest.approx(0.05, rel=0.05)
    bright = augmentation({**STILL, "offset": 0.1})
    levels = [bright(image=grey)["image"].mean() for _ in range(50)]
    assert 0.39 < min(levels) < 0.43 and 0.57 < max(levels) < 0.61
    strong = {"flip": 0.5, "shift": 0.1, "scale": 0.1, "rotate": 10, "gain": 0.2, "offset": 0.1}
    one, other = (augmentation({**strong, "noise": 0.02}, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one(image=picture)["image"], other(image=picture)["image"])
    assert augmentation(None) is None


def test_a_store_whose_inputs_the_disk_cannot_hold_is_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    monkeypatch.setattr(memory, "SIZES", (442, 100_000, 300_000))
    monkeypatch.setattr(memory, "write_store", lambda path, size: trained.append(f"{size}"))
    monkeypatch.setattr(memory, "_child", lambda settings, folder, cache: 321.0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5 << 30))
    figures: list[Figure] = list(memory.measure(Settings(tmp_path)))
    [absent] = [found for found in figures if found.median is None]
    # 100,000 inputs of 64 x 64 x 3 x 4 bytes are 4.58 GB; 1 GB is to stay free.
    assert absent.variant == "100000 samples, input.cache_gb=8"
    assert "the built inputs take 4.6 GB, and 5.0 GB of disk are free" in absent.note
    # 300,000 exceed the limit of 8 GB and are not written, so they need no disk.
    assert set(trained) == {"442", "100000", "300000"}
    assert trained.count("100000") == trained.count("442") / 2
