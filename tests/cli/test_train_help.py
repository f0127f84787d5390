"""`mer train --help` and TAB completion, both from the files of the configuration."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mer.cli import completion, main, train_help
from mer.config.composition import conf_dir

BREAKS = " \t\n\"'><=;|&(:"  # of bash


def test_help_is_short_and_has_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 50 and lines[0].startswith("usage: mer train ")
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    assert {line.split()[0] for line in lines if line.startswith("  ")} >= groups
    line = next(line for line in lines if line.startswith("  trainer "))
    assert line.split(None, 1)[1] == "devices, precision, speed: auto, gpu"


def test_help_of_a_key_has_the_comments_of_conf(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help", "model.optimizer", "trial.number"]) == 0
    out = capsys.readouterr().out
    assert (
        "Keys of model.optimizer, in conf/model/finetune.yaml:\n\n  optimizer:\n    name: " in out
    )
    assert "    warmup_epochs: 2         # epochs of linear rise to lr; fractions allowed" in out
    assert "label_smoothing" not in out and "transfer:" not in out
    assert "  number: null             # number of a trial of a search" in out
    assert main(["train", "--help", "modle.optimzer"]) == 2
    assert "closest: model.optimizer" in capsys.readouterr().err


def test_help_of_searches_has_the_keys_that_they_share(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help", "search", "search.n_trials", "hydra.sweeper.storage"]) == 0
    of_group, _, of_key = capsys.readouterr().out.partition("Keys of search.n_trials")
    assert "search=svm_head" in of_group and "  seeds: 1 " in of_group
    assert "in conf/search/optuna.yaml:\n\n  n_trials: 20 " in of_key and "seeds" not in of_key
    assert "  storage: null          # study.db in search.dir" in of_key
    assert main(["train", "--help", "search.ntrials"]) == 2
    assert "closest: search.n_trials" in capsys.readouterr().err
    assert completion.answers("mer train search.n_t", BREAKS) == ["search.n_trials="]


def test_help_of_a_group_has_own_files_too(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "mine.yaml").write_text("# My own input. More.\nname: apex\n")
    said = train_help.explain("input", [conf_dir(), tmp_path])
    assert "  input=mine        My own input\n" in said and "Keys of input, in conf/input/" in said


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("mer tra", ["train "]),
        ("mer train backb", ["backbone.", "backbone="]),
        ("mer train backbone=mobilevit_x", ["mobilevit_xs ", "mobilevit_xxs "]),
        ("mer train seed=1 model.optimizer.s", ["model.optimizer.schedule="]),
        ("mer prepare data.na", ["data.name="]),
        ("mer train --t", ["--test ", "--trust "]),
        ("mer list hea", ["heads "]),
        ("mer compare run", []),  # files, which the shell knows
    ],
)
def test_what_may_follow(line: str, found: list[str]) -> None:
    assert completion.answers(line, BREAKS) == found


def test_choices_of_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone" / "mine.yaml").touch()
    line = f"mer train --config-dir {tmp_path} backbone=mi"
    assert completion.answers(line, "") == ["backbone=mine "]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_a_choice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--shell-completion", "install=bash"]) == 0
    script = f"""
        mer() {{ {sys.executable} -m mer.cli "$@"; }}
        {capsys.readouterr().out}
        COMP_LINE="mer train backbone=tin"; COMP_POINT=${{#COMP_LINE}}
        _mer; printf '[%s]' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[tiny ]"
    assert main(["--shell-completion", "install=csh"]) == 2
