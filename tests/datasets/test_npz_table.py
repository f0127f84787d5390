"""The reader of tables takes .npz files with samples and columns as arrays."""

from pathlib import Path

import numpy as np
import pytest

from mer import datasets
from mer.errors import MerError


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    return {
        "flow_bgr": np.zeros((3, 28, 28, 3), np.uint8),
        "label": np.array([1, 0, 2]),
        "corpus": np.array(["casme2", "samm", "smic"]),
        "subject": np.array(["sub01", "006", "s01"]),
        "clip": np.array(["EP02_01f", "006_1_2", "s01_sur_01"]),
    }


CLASSES = ["negative", "positive", "surprise"]


def test_an_npz_file_with_its_own_columns(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    path = tmp_path / "flow.npz"
    np.savez(path, **arrays)
    table, remarks = datasets.read("table", path, array_kind="image", classes=CLASSES)
    assert table["sample_id"].tolist() == [
        "casme2/sub01/EP02_01f",
        "samm/006/006_1_2",
        "smic/s01/s01_sur_01",
    ]
    assert table["emotion"].tolist() == ["positive", "negative", "surprise"]
    assert table["array_row"].tolist() == [0, 1, 2]
    assert set(table["array_key"]) == {"flow_bgr"}
    assert set(table["array_kind"]) == {"image"}
    assert table["apex_path"].isna().all()
    assert remarks == []


def test_the_array_of_samples_must_be_clear_and_complete(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    path = tmp_path / "flow.npz"
    np.savez(path, **arrays, faces=np.zeros((3, 8, 8)))
    with pytest.raises(MerError, match=r"2 arrays with three or more axes; set `array_key`"):
        datasets.read("table", path, classes=CLASSES)
    with pytest.raises(MerError, match=r"no array of samples `flow`.*flow_bgr \(3, 28, 28, 3\)"):
        datasets.read("table", path, classes=CLASSES, array_key="flow")
    arrays["clip"] = arrays["clip"][:2]
    np.savez(path, **arrays)
    with pytest.raises(
        MerError, match=r"`flow_bgr` holds 3 samples, but these differ: clip \(2,\)"
    ):
        datasets.read("table", path, classes=CLASSES)


def test_an_npz_file_with_objects_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    path = tmp_path / "flow.npz"
    np.savez(path, **arrays | {"clip": np.array(["a", 1, None], dtype=object)})
    with pytest.raises(MerError, match=r"cannot be read as an \.npz file of plain arrays"):
        datasets.read("table", path, classes=CLASSES)
