"""Wrong words of commands are a sentence, status 2, and nothing on the disk."""

from pathlib import Path

import pytest

from mer import cli


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["compare"], "mer compare: name at least one RUN, or a --group; `mer compare --help` ex"),
        (["export"], "mer: error: type mer export MODEL; `mer export --help` explains it"),
        (["export", "m", "--fol", "a", "--flod", "a"], "arguments: --flod a (closest: --fold)"),
        (["export", "sweeep"], "sweeep does not exist (closest: sweep). Weights of the package"),
        (["evaluate", "sweeep"], "sweeep does not exist (closest: sweep)"),
        (["report", "sweeep"], "sweeep does not exist (closest: sweep)"),
        (["app", "./sweeep"], "sweeep does not exist (closest: sweep). A model is"),
        (["weights", "mer:foo"], "mer weights mer:foo: without --make NAME it lists all weights"),
        (["wandb"], "type mer wandb report; `mer wandb --help`"),
        (["wandb", "raport"], "'raport' (choose from 'report'); `mer wandb --help` explains it"),
        (["wandb", "report", "sweeep"], "sweeep does not exist (closest: sweep)"),
        (["app", "nosuch"], "there are no weights nosuch. A model is a run directory"),
        (["app", "--port", "99999999"], "99999999 is not 1 to 65535"),
        (["evaluate", "run", "run", "a=1"], "takes one RUN and KEY=VALUE; found also run"),
        (["bench", "latency", "nope=1"], "there is no key nope"),
        (["bench", "latency", "--json", "/dev/null"], "is a device, which would be replaced"),
        (["weights", "--make", "motion-xxs", "--to", "file"], "--to file is a file; name a folder"),
        (["synth", "out=file/new"], "file is a file, and no folder"),
        (
            ["train", "protocol=all", "protocol.like=sweep"],
            "in it are 0. Name one, such as sweep/0",
        ),
        (["train", "backbone.name=tinyy"], "timm has no backbone.name=tinyy"),
        (
            ["train", "data=megc2019", "+backbone._target_=nolab.Net", "logger=many"],
            "backbone._target_=nolab.Net: there is no package nolab",
        ),
        (["train", "--cfg=job", "-m", "seed=1,2"], "--cfg shows one configuration: leave out -m"),
        (["train", "run.dir=file"], "run.dir=file is a file; name a folder"),
        (["train", "help"], "help: type mer train --help"),
        (["train", "experiment"], "experiment: type experiment=NAME"),
        (["train", "demo"], "demo: type experiment=demo"),
        (["train", "seed", "--test"], "seed: type seed=VALUE"),
        (["train", "--epochs", "3"], "type model.epochs=3 (`mer train --help`)"),
        (["train", "--lr=0.1", "model.epochs=3"], "type model.optimizer.lr=0.1 (`mer"),
        (["train", "--hlep"], "there is no such option; type --help"),
        (["train", "-m"], "-m goes through several values: type some, such as seed=0,1,2"),
        (
            ["train", "-m", "--config-dir", "my", "search=own"],
            "let my/search/own.yaml begin with the line `# @package _global_`",
        ),
        (["prepare", "paths.cache=file"], "paths.cache=file is a file; name a folder"),
        (["audit", "sweep", "data.root=x"], "Name one, such as sweep/0"),
    ],
)
def test_wrong_words_are_told_at_once(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "sweep" / "0").mkdir(parents=True)
    (tmp_path / "sweep" / "0" / "config.yaml").touch()
    (tmp_path / "my" / "search").mkdir(parents=True)
    (tmp_path / "my" / "search" / "own.yaml").write_text("n_trials: 3")
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(words) == 2
    assert sentence.lower() in capsys.readouterr().err.lower()
    assert sorted(tmp_path.rglob("*")) == before
