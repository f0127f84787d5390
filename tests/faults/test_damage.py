"""Files of a finished run that are cut off, or changed without changing their size.

Commands say what is wrong and how to mend it, and what they say works: afterwards the run is as it
was. A change of the same size may be one that a format does not notice: then the audit does.
"""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from mer import cli
from tests.faults.commands import run
from tests.faults.conftest import words, write_samples
from tests.faults.stages import predictions

pytestmark = pytest.mark.slow

FOLD = "run/folds/group-00"

#: File -> commands that read it.
FILES = {
    f"{FOLD}/predictions.parquet": ["train", "report", "audit"],
    f"{FOLD}/fold.json": ["train", "report", "audit"],
    f"{FOLD}/model.ckpt": ["evaluate", "export", "audit"],
    f"{FOLD}/heads.pt": ["export", "audit"],
    f"{FOLD}/evidence.json": ["audit"],
    f"{FOLD}/metrics.csv": ["report", "audit"],
    "run/manifest.parquet": ["train", "evaluate", "report", "compare", "audit"],
    "run/splits.parquet": ["audit"],
    "run/predictions.parquet": ["evaluate", "report", "compare", "audit"],
    "run/metrics.json": ["evaluate", "report", "compare", "audit"],
    "run/environment.json": ["train", "report", "compare", "audit"],
    "run/label_access.json": ["train", "evaluate", "report", "compare", "audit"],
    "run/config.yaml": ["train", "evaluate", "export", "report", "compare", "audit"],
    "run/folds.csv": ["train"],
    "run/cost.json": ["train"],
    "cache/macro/*/pretraining.json": ["train"],
    "cache/macro/*/best.ckpt": ["train"],
}

#: Files of which the run has no other copy.
ONLY = ("run/config.yaml", "run/label_access.json")


def type_(command: str, samples: Path) -> list[str]:
    if command == "train":
        return ["train", *words(samples)]
    return [command, "run", *(["--quick"] if command == "report" else [])]


@pytest.fixture(scope="session")
def finished(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a finished run and its cache."""
    folder = tmp_path_factory.mktemp("whole")
    ended = run(type_("train", samples), folder)
    assert ended.status == 0, ended.output
    return folder


def damage(path: Path, how: str) -> None:
    """Cut a file in the middle, empty it, or turn over 64 bytes of it."""
    content = bytearray(path.read_bytes())
    if how == "changed":
        for place in np.linspace(len(content) // 4, len(content) - 1, 64).astype(int):
            content[place] ^= 0xFF
    path.write_bytes(content[: {"emptied": 0, "cut": len(content) // 2}.get(how)])


def tell(command: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command in this process; return its status and what it has printed."""
    before = Path.cwd()
    os.chdir(home)
    try:
        status = cli.main(command)
    finally:
        os.chdir(before)
    shown = capsys.readouterr()
    return status, shown.out + shown.err


@pytest.mark.parametrize("how", ["emptied", "cut", "changed"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_mended(
    name: str,
    how: str,
    samples: Path,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "home"
    shutil.copytree(finished, home)
    path = next(home.glob(name))
    whole = path.read_bytes()
    if name.startswith("cache"):  # else no fold reads it again
        shutil.rmtree(home / FOLD)
    damage(path, how)
    told = {}
    for command in FILES[name]:
        status, output = tell(type_(command, samples), home, capsys)
        assert "This is a fault of mer" not in output, output
        told[command] = status
        if status == 2 and "audit" not in command:
            assert path.name in output or path.parent.name in output, output
    if how == "changed" and set(told.values()) <= {0, 4}:
        assert predictions(home) == predictions(finished)  # nobody was misled
    if path.exists() and name in ONLY:
        path.write_bytes(whole)
    elif path.exists() and path.read_bytes() != whole:
        if path.parent.parent.name in ("folds", "macro"):
            shutil.rmtree(path.parent)
        else:
            path.unlink()
    status, output = tell(type_("train", samples), home, capsys)
    assert status == 0, output
    assert predictions(home) == predictions(finished)


def test_a_subject_with_a_long_name_is_named_before_anything_is_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_samples(tmp_path / "micro.npz", "smic", 0, "012", "012", "012")
    content = dict(np.load(tmp_path / "micro.npz"))
    content["subject"] = np.where(content["subject"] == "smic01", "s" * 300, content["subject"])
    np.savez(tmp_path / "micro.npz", **content)
    command = ["train", *words(tmp_path, pretrained=False), "protocol=loso"]
    status, output = tell([w for w in command if "n_splits" not in w], tmp_path, capsys)
    assert status == 2
    assert re.search(r"smic/s{35}\.\.\. has 305 bytes", output)
    assert not (tmp_path / "run" / "config.yaml").exists()
    assert not (tmp_path / "cache").exists()
