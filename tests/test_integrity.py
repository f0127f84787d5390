"""Files of the cache that are no longer what was written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mer import integrity


def entry(folder: Path) -> Path:
    """Two files, of which one is written down."""
    (folder / "a").write_bytes(b"abc")
    (folder / "b").write_bytes(b"")
    integrity.write(folder, ["a"])
    return folder


def test_files_are_what_was_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = entry(tmp_path)
    # SHA-256 of "abc", from FIPS 180-2.
    assert json.loads((folder / "checksums.json").read_text()) == {
        "a": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    }
    assert integrity.intact(folder) and integrity.intact(folder, ["a"])
    assert not integrity.intact(folder, ["a", "b"])
    assert not caplog.text, "a file that was not finished is no surprise"
    (folder / "a").write_bytes(b"abd")
    assert not integrity.intact(folder)
    assert f"{folder} no longer holds what was written (a): it is made anew" in caplog.text
    integrity.write(folder, ["a", "b"])
    assert integrity.intact(folder, ["a", "b"])
    (folder / "b").unlink()
    assert not integrity.intact(folder)
    (folder / "checksums.json").write_text("[")
    assert not integrity.intact(folder, ["a"])


def test_each_file_is_read_once_per_run_and_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = entry(tmp_path)
    read = []
    real = integrity.sha256
    monkeypatch.setattr(integrity, "sha256", lambda file: read.append(file.name) or real(file))
    assert integrity.intact(folder) and integrity.intact(folder)
    assert read == ["a"]
    os.utime(folder / "a", ns=(1, 1))
    assert integrity.intact(folder) and read == ["a", "a"]

    code = (
        "from pathlib import Path\nfrom mer import integrity\n"
        f"integrity.sha256 = None\nprint(integrity.intact(Path({str(folder)!r})))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "True\n", "a child of this process reads nothing"
    other = dict(os.environ, MER_PROCESS_TREE="another run")
    again = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, env=other
    )
    assert again.returncode == 1, "another run reads the file"


def test_a_cache_that_must_not_be_written_is_read_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = entry(tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(integrity, "write_json", refuse)
    assert integrity.intact(folder)
    assert not (folder / ".checked").exists()
