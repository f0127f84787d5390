import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer import files


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text("old", path)

    def half(temporary: Path) -> None:
        temporary.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.write_whole(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_written_under_another_name_with_the_same_ending(tmp_path: Path) -> None:
    # NumPy appends an ending that is missing, and would then write beside the name it was given.
    files.write_whole(tmp_path / "a.npz", lambda temporary: np.savez(temporary, x=np.arange(3)))
    assert np.load(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_tables_and_plain_values_are_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    files.write_csv(frame, tmp_path / "a.csv")
    files.write_parquet(frame, tmp_path / "a.parquet")
    files.write_json({"ü": [1]}, tmp_path / "a.json")
    assert (tmp_path / "a.csv").read_text() == "a\n1\n2\n"
    assert pd.read_parquet(tmp_path / "a.parquet").equals(frame)
    assert pd.read_json(tmp_path / "a.json").to_dict() == {"ü": {0: 1}}


def test_a_link_replaces_what_was_there_and_a_copy_stands_in_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    target.write_text("old")
    files.link_or_copy(source, target)
    assert target.stat().st_ino == source.stat().st_ino

    def refuse(source: object, target: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr("os.link", refuse)
    files.link_or_copy(source, target)
    assert target.read_text() == "new"
    assert target.stat().st_ino != source.stat().st_ino


def test_a_fingerprint_is_that_of_the_sorted_names() -> None:
    expected = hashlib.sha256(b"a\nb/1").hexdigest()
    assert files.fingerprint(["b/1", "a"]) == files.fingerprint(("a", "b/1")) == expected
