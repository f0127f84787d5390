"""Cache: keys that follow code, versions and settings; entries that are listed, used, removed."""

import ast
import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mer
from mer import cache
from mer.cli import main
from mer.cli.cache import quantity, size
from mer.errors import MerError
from mer.files import UNFINISHED, write_json

ROOT = Path(mer.__file__).parent
SETTINGS = {"input": {"name": "flow", "size": 64}, "stores": ["a"]}

#: What may be imported by code that decides a result, and changes none: settings and stores are in
#: the keys themselves, corpora and folds as samples.
BESIDE = (
    "__init__.py",
    "errors.py",
    "files.py",
    "integrity.py",
    "cache.py",
    "processes.py",
    "progress.py",
    "protocols.py",
    "config",
    "datasets",
    "synthetic",
    "runs",
)
#: Fitted anew on a network's embeddings.
HEADS = tuple(f"callbacks/{name}.py" for name in ("head", "svm_head", "svm_scores"))


def digest(kind: str = "inputs", device: str | None = None, **changes: Any) -> str:
    return cache.make_key(kind, {**SETTINGS, **changes}, device).digest


def test_a_key_follows_settings_and_device() -> None:
    assert re.fullmatch("[0-9a-f]{12}", digest())
    assert digest() == digest() == digest(input={"size": 64, "name": "flow"})
    others = [digest(stores=["b"]), digest(device="cpu"), digest(device="cuda"), digest("macro")]
    assert len({digest(), *others}) == 5


def test_a_key_follows_the_versions_that_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"opencv": "5.0.0", "torch": "2.14.1"}
    monkeypatch.setattr(cache, "_version", lambda package: versions.get(package, "1"))
    inputs, macro = digest(), digest("macro")
    versions["torch"] = "2.15.0"
    assert digest() == inputs  # inputs are built without torch
    assert digest("macro") != macro
    versions["opencv"] = "5.1.0"
    assert digest() != inputs


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder that stands for mer's own source."""
    for name in ("data/inputs.py", "data/dataset.py", "data/datamodule.py"):
        (tmp_path / "mer" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mer" / name).write_text("x = 1\n")
    monkeypatch.setattr(mer, "__file__", str(tmp_path / "mer" / "__init__.py"))
    cache._source.cache_clear()
    yield tmp_path / "mer" / "data"
    cache._source.cache_clear()


def test_a_key_follows_the_code_that_matters(source: Path) -> None:
    before = digest()
    for name, other in (("inputs.py", True), ("dataset.py", True), ("datamodule.py", False)):
        (source / name).write_text("x = 2\n")
        assert digest() == before  # this process runs the code that it began with
        cache._source.cache_clear()
        assert (digest() != before) is other
        (source / name).write_text("x = 1\n")
        cache._source.cache_clear()
        assert digest() == before


@functools.cache
def imported(path: Path) -> set[Path]:
    """Files of mer that a file imports, those for type checkers aside."""
    tree = ast.parse(path.read_text())
    typing = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n)]
    skipped = {inner for node in typing for inner in ast.walk(node)}
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in skipped and node.level == 0:
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import) and node not in skipped:
            names |= {alias.name for alias in node.names}
    paths = [ROOT.parent.joinpath(*name.split(".")) for name in names if name.startswith("mer.")]
    files = [path.with_suffix(".py") for path in paths] + [p / "__init__.py" for p in paths]
    return {file for file in files if file.is_file() and len(ast.parse(file.read_text()).body) > 1}


@pytest.mark.parametrize(
    ("kind", "start", "beside"),
    [
        ("prepared", ["prepare/store.py"], ()),
        ("apexes", ["spotting/apexes.py"], ()),
        ("inputs", ["data/dataset.py"], ("prepare", "data/augmentation.py", "data/corpus.py")),
        (
            "features",
            ["data/feature_cache.py", "models/frozen_blocks.py"],
            ("prepare", "metrics.py"),
        ),
        ("macro", ["training/pretrain.py"], ("prepare", "spotting", "training/devices.py")),
        ("networks", ["training/fold.py"], ("prepare", *HEADS)),
    ],
)
def test_all_code_that_decides_a_result_is_in_its_key(
    kind: str, start: list[str], beside: tuple[str, ...]
) -> None:
    def among(path: Path, names: tuple[str, ...]) -> bool:
        return any(path == ROOT / name or ROOT / name in path.parents for name in names)

    todo, seen, missing = [ROOT / name for name in start], set(), set()
    while todo:
        path = todo.pop()
        if path in seen or among(path, (*BESIDE, *beside)):
            continue
        seen.add(path)
        if not among(path, cache.KINDS[kind].code):
            missing.add(str(path.relative_to(ROOT)))
        todo += imported(path)
    assert len(seen) > 1
    assert not missing, f"name these in mer.cache.KINDS[{kind!r}].code"


def make(folder: Path, kind: str, name: str, count: int = 100, unused_for: float = 0) -> Path:
    """Write an entry as a command would that ended some seconds ago."""
    path = folder / kind / name
    with cache.exclusive(path):
        path.mkdir()
        write_json({"settings": {**SETTINGS, "seed": 0}}, path / "settings.json")
        (path / "data.bin").write_bytes(b"0" * count)
    then = time.time() - unused_for
    os.utime(path.with_name(f".{name}.use"), (then, then))
    return path


def names(entries: list[cache.Entry]) -> list[str]:
    return [entry.path.name for entry in entries]


def test_entries_are_listed_with_settings_size_and_last_use(tmp_path: Path) -> None:
    old = make(tmp_path, "inputs", "flow-1", 1000, unused_for=90)
    make(tmp_path, "inputs", "flow-2", 10)
    (tmp_path / "prepared" / ".made-3.partial").mkdir(parents=True)
    (tmp_path / "inputs" / "flow-0.npy").write_bytes(b"00")  # as versions before wrote them
    (tmp_path / "plans").mkdir()  # not ours
    listed = {entry.path.name: entry for entry in cache.entries(tmp_path)}
    assert next(iter(listed)) == ".made-3.partial"  # kinds in their order
    assert list(listed)[-1] == "flow-1"  # the last used ones first
    assert set(listed) == {".made-3.partial", "flow-0.npy", "flow-1", "flow-2"}
    entry = listed["flow-1"]
    assert entry.settings == "input.size=64"
    assert entry.size == 1000 + (old / "settings.json").stat().st_size
    assert abs(time.time() - entry.used - 90) < 5
    assert (listed["flow-0.npy"].settings, listed["flow-0.npy"].size) == ("", 2)
    assert names(cache.entries(tmp_path, older_than=60)) == ["flow-1"]
    assert names(cache.entries(tmp_path, larger_than=1000)) == ["flow-1"]
    assert names(cache.entries(tmp_path, "prepared")) == [".made-3.partial"]
    assert cache.entries(tmp_path / "nowhere") == []


def test_removed_entries_leave_nothing(tmp_path: Path) -> None:
    make(tmp_path, "inputs", "flow-1")
    (tmp_path / "inputs" / "flow-0.npy").write_bytes(b"00")
    (tmp_path / "inputs" / ".made-3.partial").mkdir()
    (tmp_path / "inputs" / ".flow-9.deleted").mkdir()  # by a command that was killed
    assert len(cache.empty(cache.entries(tmp_path))) == 4
    assert list((tmp_path / "inputs").iterdir()) == []


class Owner:
    pass


def test_what_this_process_uses_is_kept_until_its_owner_is_gone(tmp_path: Path) -> None:
    path = make(tmp_path, "macro", "m-1")
    owner = Owner()
    cache.hold(path, owner)
    with cache.exclusive(path):
        pass  # a second use that ends
    (entry,) = cache.entries(tmp_path)
    assert entry.in_use
    assert cache.empty([entry]) == [] and (path / "data.bin").exists()
    del owner
    (entry,) = cache.entries(tmp_path)
    assert not entry.in_use
    assert names(cache.empty([entry])) == ["m-1"] and not path.exists()


def test_what_another_process_uses_is_kept_until_it_is_killed(tmp_path: Path) -> None:
    path = make(tmp_path, "macro", "m-1")
    words = f"from mer import cache; cache.hold(__import__('pathlib').Path({str(path)!r}))"
    words += "; print('held', flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE) as user:
        assert user.stdout is not None and user.stdout.readline() == b"held\n"
        (entry,) = cache.entries(tmp_path)
        assert entry.in_use and cache.empty([entry]) == []
        user.send_signal(signal.SIGKILL)
        user.wait()
    (entry,) = cache.entries(tmp_path)
    assert not entry.in_use and len(cache.empty([entry])) == 1


def test_who_waits_for_an_entry_that_is_removed_holds_its_successor(tmp_path: Path) -> None:
    path = make(tmp_path, "macro", "m-1")
    lock = path.with_name(".m-1.use")
    removing = cache._lock(path, cache.fcntl.LOCK_EX)
    owner = Owner()
    waiting = threading.Thread(target=cache.hold, args=(path, owner))
    waiting.start()
    time.sleep(0.2)
    assert waiting.is_alive()
    lock.unlink()
    os.close(removing)
    waiting.join(10)
    assert lock.exists()
    assert cache.entries(tmp_path)[0].in_use


def test_unfinished_files_of_a_killed_process_go_with_the_next_one(tmp_path: Path) -> None:
    path = make(tmp_path, "features", "f-1")
    leftover = path / f"{UNFINISHED}0-plain.npy"
    leftover.write_bytes(b"half")
    with cache.exclusive(path):
        assert not leftover.exists() and (path / "data.bin").exists()


def test_the_command_lists_asks_and_removes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"paths.cache={tmp_path}"
    kept, old = make(tmp_path, "macro", "m-1"), make(tmp_path, "macro", "m-2", 10**7, 7200)
    small = make(tmp_path, "inputs", "flow-1", unused_for=7200)
    owner = Owner()
    cache.hold(kept, owner)
    assert main(["cache", where]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^macro +m-1 +0.2 kB  in use now +input.size=64 seed=0$", shown, re.M)
    assert re.search(r"^macro +m-2 +10.0 MB  20\d\d-\d\d-\d\d \d\d:\d\d +input", shown, re.M)
    assert f"2 entries, 10.0 MB, can be removed from {tmp_path}" in shown
    assert main(["cache", where, "--empty"]) == 2
    assert "add --yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["cache", where, "--empty"]) == 0
    assert old.exists() and small.exists()
    assert main(["cache", where, "--empty", "--yes", "--older-than=1h", "--larger-than=1MB"]) == 0
    assert (kept.exists(), old.exists(), small.exists()) == (True, False, True)
    assert main(["cache", where, "--empty", "--yes", "--kind", "inputs"]) == 0
    assert not small.exists()
    assert main(["cache", where, "--empty", "--yes"]) == 0
    assert kept.exists()


def test_quantities_have_units() -> None:
    units = {"h": 3600, "d": 86400}
    assert quantity("1.5d", units, "--x") == 129600
    assert quantity("2 H", units, "--x") == 7200
    assert quantity(None, units, "--x") == 0
    for text in ("30", "d", "3y", "-3d", "1..2h"):
        with pytest.raises(MerError, match=f"--x={text}: expected a number and one of h, d"):
            quantity(text, units, "--x")
    assert [size(n) for n in (0, 1234, 5e6, 2.5e9)] == ["0.0 kB", "1.2 kB", "5.0 MB", "2.5 GB"]
