"""A start that computes nothing leaves nothing."""

import sys
from pathlib import Path

import pytest

from mer.cli import main, train
from mer.config.settings import Settings
from mer.runs import claims

#: Refused when the datasets are read: no sample of these has a class.
REFUSED = ["labels=samm-5", "~data.micro.samm"]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_that_is_refused_leaves_no_folder(
    outside: Path, tiny_words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (outside / "kept").mkdir()
    for words in (["run.dir=kept"], []):  # by default two folders are made
        assert main(["train", *tiny_words, *REFUSED, *words]) == 2
        assert "no sample has a class" in capsys.readouterr().err
        assert list(outside.rglob("*")) == [outside / "kept"]


def test_the_jobs_of_a_sweep_and_the_sweep_leave_none_either(
    outside: Path, tiny_words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*tiny_words, *REFUSED, "protocol.validation=0.3"]
    assert main(["train", "-m", *words, "hydra.sweep.dir=sweeps/a"]) == 2
    assert "no sample has a class" in capsys.readouterr().err
    assert not list(outside.iterdir())


def test_a_start_that_another_run_refuses_writes_nothing_into_it(
    outside: Path, tiny_words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = outside / "run"
    claims.claim(run_dir, Settings())
    (run_dir / "folds" / "a").mkdir(parents=True)
    (run_dir / ".hydra").mkdir()
    (run_dir / ".hydra" / "overrides.yaml").write_text("- seed=0")
    before = sorted(run_dir.rglob("*"))
    assert main(["train", *tiny_words, f"run.dir={run_dir}"]) == 2
    assert "holds a run with another configuration" in capsys.readouterr().err
    assert sorted(run_dir.rglob("*")) == before
    assert (run_dir / ".hydra" / "overrides.yaml").read_text() == "- seed=0"


def test_a_run_says_at_once_that_torch_is_loaded(
    outside: Path,
    tiny_words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(train, "_entry", lambda: None)  # where torch is imported
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for words, lines in (
        (["--help"], 0),
        (["--cfg", "job"], 0),
        (tiny_words, 1),
        (["-m", "seed=1,2"], 1),
    ):
        assert main(["train", *words]) == 0
        assert len([text for text in caplog.messages if "Loading torch" in text]) == lines
        caplog.clear()
    assert main(["train", "seed=x"]) == 2  # the error comes first
    assert caplog.messages == []
