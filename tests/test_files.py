import errno
import hashlib
from pathlib import Path
from types import SimpleNamespace

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


def test_outputs_that_cannot_be_written_are_named_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    fine = [(tmp_path, True), (tmp_path / "new/deep", True), (tmp_path / "new/file", False)]
    assert [files.output_faults("--out", *one) for one in [*fine, (tmp_path / "file", False)]] == [
        [] for _ in range(4)
    ]
    cases = [
        (tmp_path / "file", True, "--out is a file; name a folder, which is made where it is"),
        (tmp_path, False, "--out is a folder; name a file"),
        (tmp_path / "file" / "new" / "x", False, f"--out: {tmp_path}/file is a file, and no"),
        (Path("/dev/null"), False, "--out is a device, which would be replaced; name a file"),
        (Path("/proc/x"), False, "--out cannot be written: that is no place for files."),
        (tmp_path / ("x" * 300), False, "--out cannot be written: the name is too long"),
    ]
    for path, folder, beginning in cases:
        (fault,) = files.output_faults("--out", path, folder)
        assert fault.startswith(beginning)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def no_right(dir: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", dir)

    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert "the disk is full" in files.output_faults("--out", tmp_path, True)[0]
    monkeypatch.setattr(files.tempfile, "TemporaryFile", no_right)
    assert "this user must not write there" in files.output_faults("--out", tmp_path, True)[0]
