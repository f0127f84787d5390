"""Precomputed flow and picture arrays in the prepared store."""

import os
from pathlib import Path

import numpy as np
import pytest

from mer import files
from mer.config.settings import Prepare
from mer.datasets.index import make_table
from mer.datasets.readers import npz_table
from mer.errors import MerError
from mer.prepare import precomputed
from mer.prepare.store import prepare_store
from tests.prepare.prepare_inputs import row


def array_rows(path: Path, count: int, kind: str, key: str | None = "x") -> list[dict]:
    where = {"array_path": str(path), "array_key": key, "array_kind": kind}
    return [row(n, array_row=n, **where) for n in range(count)]


def test_flow_pictures_become_centred_flow(tmp_path: Path) -> None:
    # Channels in the file: strain, v, u. Every pixel of u is 130 but one of 194; v is
    # 100 but one of 36; strain 51 = 0.2 * 255.
    pictures = np.full((2, 28, 28, 3), 51, np.uint8)
    pictures[..., 2] = 130
    pictures[:, 3, 4, 2] = 194
    pictures[..., 1] = 100
    pictures[:, 0, 0, 1] = 36
    np.savez(tmp_path / "f.npz", x=pictures)
    table = make_table(array_rows(tmp_path / "f.npz", 2, "flow"))
    made = prepare_store(table, Prepare(), tmp_path / "out", None, "made")
    assert made.frames is None and made.landmarks is None and made.size == 28
    assert made.index["has_onset"].all()
    u, v, strain = made.flow[1]
    # (194 - 130) / 128 = 0.5 and (36 - 100) / 128 = -0.5; the rest is the median, 0.
    assert u[3, 4] == 0.5 and u.sum() == 0.5 and v[0, 0] == -0.5 and v.sum() == -0.5
    assert np.allclose(strain, 0.2, atol=1e-3)
    other = prepare_store(
        table, Prepare(array_channels=["u", "v", "strain"]), tmp_path / "out", None, "made"
    )
    assert other.key != made.key and np.allclose(other.flow[1, 2, 3, 4], 194 / 255, atol=1e-3)


def test_float_flow_is_taken_as_it_is_and_loaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows = np.random.default_rng(0).normal(0, 1, (5, 3, 20, 20)).astype(np.float32)
    np.save(tmp_path / "f.npy", flows)
    precomputed._load.cache_clear()
    loads: list[object] = []
    real = np.load
    monkeypatch.setattr(
        precomputed.np, "load", lambda file, **options: loads.append(file) or real(file, **options)
    )
    table = make_table(array_rows(tmp_path / "f.npy", 5, "flow", key=None))
    made = prepare_store(table, Prepare(), tmp_path / "out", 4, "made")
    assert [file for file in loads if str(file).endswith("f.npy")] == [str(tmp_path / "f.npy")]
    assert np.array_equal(
        made.flow[made.index["row"]], flows[made.index["array_row"]].astype(np.float16)
    )


def test_a_file_that_has_changed_is_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "f.npy"
    for value in (1, 2):
        np.save(path, np.full((2, 3), value))
        os.utime(path, ns=(value, value))
        assert (precomputed.load_array(str(path), None) == value).all()


@pytest.mark.parametrize(
    "content", [b"PK\x05\x06" + bytes(18), b"PK\x03\x04no archive", b"\x93NUMPY\x01"]
)
def test_a_file_that_is_no_array_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(MerError, match=r"a\.npz"):
        precomputed.load_array(str(tmp_path / "a.npz"), "x")


def test_an_archive_that_unpacks_to_more_than_the_memory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros((1000, 4, 4, 3), np.uint8))
    monkeypatch.setattr(files, "MOST_UNPACKED", 40_000)
    for read in (precomputed.load_array, lambda path, key: npz_table.columns_of(Path(path), key)):
        with pytest.raises(MerError, match="unpacks to 0 GB"):
            read(str(path), "x")


@pytest.mark.parametrize("channels", [1, 3])
def test_image_arrays_become_the_apex(tmp_path: Path, channels: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, channels), dtype=np.uint8)
    np.savez(tmp_path / "i.npz", x=pictures)
    table = make_table(array_rows(tmp_path / "i.npz", 3, "image"))
    made = prepare_store(table, Prepare(), tmp_path / "out", None, "made")
    assert made.flow is None and not made.index["has_onset"].any()
    row_of = made.index.set_index("array_row")["row"]
    assert np.array_equal(made.frames[row_of[2], 1, :, :, 0], pictures[2, :, :, 0])
    assert made.frames.shape == (3, 2, 16, 16, 3) and not made.frames[:, 0].any()


def test_wrong_arrays_are_refused_by_name(tmp_path: Path) -> None:
    def attempt(rows: list[dict]) -> str:
        with pytest.raises(MerError) as caught:
            prepare_store(make_table(rows), Prepare(), tmp_path / "out", 1, "made")
        return str(caught.value)

    np.savez(tmp_path / "a.npz", x=np.zeros((2, 28, 28, 3), np.uint8))
    np.savez(tmp_path / "b.npz", x=np.zeros((2, 20, 20, 3), np.uint8))
    (tmp_path / "c.npz").write_bytes(b"no archive")
    flow = array_rows(tmp_path / "a.npz", 2, "flow")
    other = [
        {**r, "sample_id": r["sample_id"] + "b"} for r in array_rows(tmp_path / "b.npz", 2, "flow")
    ]
    message = attempt(flow + other)
    assert "must have one size" in message and "(28, 28)" in message and "(20, 20)" in message
    assert "no array `y`, it holds x" in attempt(array_rows(tmp_path / "a.npz", 2, "flow", key="y"))
    assert "c.npz can't be read" in attempt(array_rows(tmp_path / "c.npz", 2, "flow"))
    assert "a mixture of flow, pictures" in attempt([*flow, row(7, apex_path="a.png")])
    np.save(tmp_path / "d.npy", np.zeros((2, 28, 28, 3), np.int32))
    assert "int32 (28, 28, 3), array_kind flow is uint8 (H, W, 3) or float (3, H, W)" in attempt(
        array_rows(tmp_path / "d.npy", 2, "flow", key=None)
    )


def test_array_rows_that_do_not_exist_or_are_not_finite_are_dropped(tmp_path: Path) -> None:
    flows = np.zeros((2, 3, 20, 20), np.float32)
    flows[1, 0, 0, 0] = np.nan
    np.savez(tmp_path / "f.npz", x=flows)
    table = make_table(array_rows(tmp_path / "f.npz", 3, "flow"))
    drops = prepare_store(table, Prepare(), tmp_path / "out", None, "made").drops
    assert drops["reason"].tolist() == ["array not finite", "row outside the array"]
    assert "row 2 of 2" in drops["detail"][1]
