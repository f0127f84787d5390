"""Inputs that are built once, kept in a file, and shared by processes and runs."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mer.config.settings import Input, Prepare
from mer.data.datamodule import MERDataModule
from mer.data.dataset import UnifiedDataset
from mer.datasets.index import make_table
from mer.errors import MerError
from mer.prepare.store import Store, prepare_store
from tests.builders import AUGMENT, CLASSES
from tests.prepare.prepare_inputs import row

pytestmark = pytest.mark.usefixtures("one_thread")

COUNT = 40


@pytest.fixture
def store(tmp_path: Path) -> Store:
    flow = np.random.default_rng(0).standard_normal((COUNT, 3, 64, 64)).astype(np.float16)
    file = tmp_path / "flow.npz"
    np.savez(file, x=flow)
    where = {"array_path": str(file), "array_key": "x", "array_kind": "flow"}
    rows = [row(number, array_row=number, **where) for number in range(COUNT)]
    return prepare_store(make_table(rows), Prepare(), tmp_path / "out", 1, "made")


def make(store: Store, cache: Path | None, rows: int = COUNT, **settings: Any) -> UnifiedDataset:
    label = [CLASSES[number % 3] for number in range(rows)]
    table = store.index.head(rows).assign(label=label, store=0)
    chosen = Input(**{"name": "flow", "size": 16, "center": "none", "cache_gb": 1, **settings})
    return UnifiedDataset(table, [store], CLASSES, chosen, cache)


def test_kept_inputs_are_those_that_are_built(store: Store, tmp_path: Path) -> None:
    kept, held = make(store, tmp_path / "cache"), make(store, None)
    built = make(store, tmp_path / "none", cache_gb=0)
    some = np.array([39, 0, 7, 7])
    for other in (held, built):
        np.testing.assert_array_equal(kept.images(some), other.images(some))
        np.testing.assert_array_equal(kept.image(3), other.image(3))
        assert kept.statistics(some, ([], [])) == other.statistics(some, ([], []))
    assert kept.images(some).shape == (4, 16, 16, 3)
    held.keep(tmp_path / "moved")
    assert len(list((tmp_path / "moved").glob("flow-*/inputs.npy"))) == 1
    np.testing.assert_array_equal(kept.images(some), held.images(some))
    assert not (tmp_path / "none").exists()


def test_what_a_dataset_hands_out_is_a_copy(store: Store, tmp_path: Path) -> None:
    for data in (make(store, tmp_path / "cache"), make(store, None)):
        before = data.image(0).copy()
        data.image(0)[:] = 9
        data.images(np.arange(2))[:] = 9
        np.testing.assert_array_equal(data.image(0), before)


def test_the_file_is_reused_for_the_same_inputs_alone(store: Store, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    make(store, cache)
    [file] = cache.glob("*/*.npy")
    made = file.stat().st_mtime_ns
    make(store, cache, cache_gb=2)
    assert [file] == list(cache.glob("*/*.npy"))
    assert file.stat().st_mtime_ns == made
    for changes in ({"size": 8}, {"center": "median"}, {"rows": COUNT - 1}):
        make(store, cache, **changes)
    assert len(list(cache.glob("*/*.npy"))) == 4
    assert {path.name for path in cache.glob("*/*")} == {
        "inputs.npy",
        "settings.json",
        "checksums.json",
        ".checked",
    }


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"no array",
        lambda content: b"",
        lambda content: content[:-100],
        lambda content: content[:5000] + bytes(100) + content[5100:],
    ],
)
def test_a_damaged_file_is_made_anew(
    store: Store,
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = make(store, tmp_path).images(np.arange(COUNT)).copy()
    [file] = tmp_path.glob("flow-*/*.npy")
    file.write_bytes(damage(file.read_bytes()))
    np.testing.assert_array_equal(make(store, tmp_path).images(np.arange(COUNT)), whole)
    assert "no longer holds what was written (inputs.npy): it is made anew" in caplog.text


def test_a_worker_names_a_damaged_file(store: Store, tmp_path: Path) -> None:
    packed = pickle.dumps(make(store, tmp_path))
    [file] = tmp_path.glob("flow-*/*.npy")
    file.write_bytes(b"no array")
    with pytest.raises(MerError, match=rf"{file.name} is damaged .* delete it"):
        pickle.loads(packed)
    np.save(file, np.zeros((2, 3), np.float32))
    with pytest.raises(MerError, match=rf"{file.name} is .*, not \(40, 16, 16, 3\) float32"):
        pickle.loads(packed)


def test_a_folder_that_cannot_be_written_is_named(store: Store, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(MerError, match=r"cannot be written to .*cache: .*input\.cache_gb=0"):
        make(store, tmp_path / "cache")


def test_a_copy_for_another_process_is_small_and_gives_equal_images(
    store: Store, tmp_path: Path
) -> None:
    data = make(store, tmp_path / "cache", size=64)
    packed = pickle.dumps(data)
    assert len(packed) < data.images(np.arange(COUNT)).nbytes / 50
    again = pickle.loads(packed)
    np.testing.assert_array_equal(again.images(np.arange(COUNT)), data.images(np.arange(COUNT)))
    assert isinstance(again._built, np.memmap)
    bare = pickle.loads(pickle.dumps(make(store, None, cache_gb=0)))
    np.testing.assert_array_equal(bare.image(5), make(store, None).image(5))
    other = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(other.flow, store.flow)
    assert other.index.equals(store.index)


def test_loader_processes_give_the_same_batches(store: Store, tmp_path: Path) -> None:
    data = make(store, tmp_path / "cache")
    empty = np.empty(0, np.int64)

    def batches(workers: int) -> list[dict[str, torch.Tensor]]:
        sides = (np.arange(20), empty, empty)
        module = MERDataModule(data, *sides, 8, AUGMENT, seed=3, num_workers=workers)
        loader = module.train_dataloader()
        found = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            found += list(loader)
        return found

    alone, shared = batches(0), batches(2)
    assert len(alone) == len(shared) == 4  # 20 samples are two batches of 8, and 4 left out
    for one, other in zip(alone, shared, strict=True):
        for name in ("image", "label", "index"):
            assert torch.equal(one[name], other[name])
    assert not torch.equal(alone[0]["index"], alone[2]["index"])
