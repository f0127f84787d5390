"""Every command, broken off in the midst of its work: it says what is kept, and goes on later."""

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mer.synthetic import generate
from tests.faults.commands import FullDisk, Signals, fill, run, unfinished
from tests.faults.stages import STAGES, Stage, train

pytestmark = pytest.mark.slow

SIGNALS = {
    "kill": (Signals(signal.SIGKILL), -9),
    "term": (Signals(signal.SIGTERM), 143),
    "term-twice": (Signals(signal.SIGTERM, signal.SIGTERM), 143),
    "interrupt": (Signals(signal.SIGINT), 130),
    "interrupt-twice": (Signals(signal.SIGINT, signal.SIGINT), 130),
}

by_stage = pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])


@pytest.fixture(scope="session")
def data(samples: Path) -> Path:
    """Samples of all stages, the tiny corpora among them."""
    generate("tiny", samples / "corpora", seed=0, workers=2)
    return samples


@pytest.fixture(scope="session")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a finished run and the cache that it has used."""
    folder = tmp_path_factory.mktemp("finished")
    ended = run(train(data), folder)
    assert ended.status == 0, ended.output
    return folder


@pytest.fixture(scope="session")
def expected(
    data: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Stage], str]:
    """The result of a stage that nothing has interrupted."""
    results: dict[str, str] = {}

    def get(stage: Stage) -> str:
        if stage.name not in results:
            folder = tmp_path_factory.mktemp(stage.name)
            begin(stage, folder, finished)
            ended = run(stage.words(data), folder)
            assert ended.status in (0, 4), ended.output
            results[stage.name] = stage.result(folder)
        return results[stage.name]

    return get


def begin(stage: Stage, folder: Path, finished: Path) -> None:
    """Put what a stage needs into its folder."""
    if stage.needs_run:
        shutil.copytree(finished, folder, dirs_exist_ok=True)
    elif stage.name != "macro":
        shutil.copytree(finished / "cache", folder / "cache", dirs_exist_ok=True)


@by_stage
@pytest.mark.parametrize("sent", SIGNALS)
def test_a_signal_loses_nothing(
    stage: Stage,
    sent: str,
    data: Path,
    finished: Path,
    expected: Callable[[Stage], str],
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    begin(stage, home, finished)
    fault, status = SIGNALS[sent]
    ended = run(stage.words(data), home, stage.moment, fault)
    # A second signal may end what is left of the process after its sentence.
    allowed = {status, -15} if sent == "term-twice" else {status}
    assert ended.status in allowed, ended.output
    assert "Traceback" not in ended.output
    assert ended.left == ()
    if status in (130, 143) and "twice" not in sent:
        word = "terminated" if status == 143 else "stopped"
        assert ended.sentence.startswith(f"mer: {word}. "), ended.output
        assert stage.kept in ended.sentence
    again = run(stage.words(data), home)
    assert again.status in (0, 4), again.output
    assert stage.result(home) == expected(stage)
    assert unfinished(home) == []


@by_stage
def test_a_full_disk_is_a_sentence(
    stage: Stage, data: Path, finished: Path, expected: Callable[[Stage], str], disk: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,size=300m", str(disk)], check=True)
    begin(stage, disk, finished)
    ended = run(stage.words(data), disk, stage.moment, FullDisk(disk))
    assert "Traceback" not in ended.output
    assert ended.left == ()
    if stage.writes:
        assert ended.status == 2, ended.output
        assert "mer: error: " in ended.output
        said = ("the disk is full", "No space left on device", " free and ")
        assert any(text in ended.output for text in said), ended.output
    assert [name for name in unfinished(disk) if ".partial" not in name] == []
    (disk / "filler").unlink()
    again = run(stage.words(data), disk)
    assert again.status in (0, 4), again.output
    assert stage.result(disk) == expected(stage)
    assert unfinished(disk) == []


@by_stage
@pytest.mark.parametrize("full", [False, True], ids=["read-only", "full"])
def test_a_disk_that_takes_nothing_from_the_start_is_a_sentence(
    stage: Stage, full: bool, data: Path, finished: Path, disk: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,size=300m", str(disk)], check=True)
    begin(stage, disk, finished)
    if full:
        fill(disk)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    ended = run(stage.words(data), disk)
    assert "Traceback" not in ended.output
    assert ended.left == ()
    if stage.writes:
        assert ended.status == 2, ended.output
        assert ended.sentence.startswith("mer: error: "), ended.output
    else:
        assert ended.status in (0, 2, 4), ended.output
