"""The commands of README and docs/ carried out, page by page, on the smallest synthetic corpora.

What makes them small is appended; a key that a command sets itself stays as it is.
"""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer import datasets
from mer.cli import main
from mer.datasets.frame_files import index_frames
from mer.prepare.sample import read_picture
from mer.synthetic.plan import plan
from tests.deploy.clips import write_video
from tests.docs.pages import PAGES, Typed, commands, titled

pytestmark = pytest.mark.slow

#: Commands that are not carried out here -> why, or what carries them out.
NOT_RUN = {
    r"mer (app|doctor)\b": "serves until it is stopped; asks the machine. tests/deploy, tests/cli",
    r".*\bcamera\b": "no camera",
    r".*=/data/": "a dataset that is not there; tests/spotting has look-alikes",
    r".*launcher=(submitit_slurm|ray)": "a cluster; tests/training/test_launchers.py",
    r".*trainer\.devices=2": "two devices; tests/training/test_devices.py",
    r".*trainer=gpu": "a GPU",
    r".*logger=.*(mlflow|comet|aim)": "packages that the tests do not install",
    r".*--group": "no W&B group among the reader's runs; tests/compare",
    r".*postgresql://": "a server",
    r".*search\.(nested=true|seeds=3)": "minutes; tests/search",
    r".*mode=online": "an account",
    r"mer (train|list) --config-dir conf experiment=mylab": "tests/test_extension.py",
    r".*--trust": "tests/test_extension.py",
    r".*FOLDER": "stands for a folder of the reader",
    r"mer train --(help|cfg)": "prints",
    r"mer wandb": "tests/loggers",
    r".*experiment=(best|baseline|mobilevit)": "minutes; tests/training",
}

#: Keys that make a run small, unless the command sets them or a group above them.
SMALL = {
    "protocol": "group_kfold",
    "protocol.n_splits": "3",
    "model.epochs": "1",
    "macro.epochs": "1",
    "prepare.size": "96",
    "prepare.workers": "1",
    "input.size": "32",
    "trainer.folds_at_once": "1",
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": "false",
    "data.check_counts": "false",
}


@pytest.fixture(scope="module")
def reader(tiny_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages suppose: runs, a clip, pictures, a table of one's own."""
    top = tmp_path_factory.mktemp("reader")
    for page in PAGES:
        for name, text in titled(page).items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text.replace("/data/lab", str(top / "mine")))
    (top / "my_conf" / "backbone").mkdir(parents=True)
    backbone = "name: resnet10t\npretrained: false\nweights: null\nkwargs: {}\n"
    (top / "my_conf" / "backbone" / "mine.yaml").write_text(backbone)
    table = datasets.read("casme2", tiny_corpora / "CASME2").table
    row = table.iloc[0]
    frames = index_frames(Path(row["onset_path"]).parent)
    write_video(top / "clip.mp4", [np.asarray(read_picture(path)) for path in frames.values()])
    demo = plan("demo")[0]
    shown = top / "data/synthetic/demo/CASME2/CASME2_RAW_selected" / demo.subject / demo.clip
    shown.mkdir(parents=True)
    for name, number in (("onset", demo.onset), ("apex", demo.apex)):
        shutil.copy(row[f"{name}_path"], shown / f"img{number}.jpg")
    (top / "mine").mkdir()
    rows = []
    for number, sample in enumerate(table[table["emotion"] != "others"].itertuples()):
        for name in ("onset", "apex"):
            path = Path(getattr(sample, f"{name}_path"))
            shutil.copy(path, top / f"{name}.png")
            shutil.copy(path, top / "mine" / f"{number}-{name}{path.suffix}")
        emotion = ("negative", "positive", "surprise")[number % 3]
        paths = [f"{number}-{name}{path.suffix}" for name in ("onset", "apex")]
        rows.append([sample.subject, emotion, *paths])
    columns = ["subject", "emotion", "onset_path", "apex_path"]
    own = pd.DataFrame(rows, columns=columns)
    own.to_csv(top / "mine" / "mine.csv", index=False)
    own.assign(emotion=own["emotion"].map({"negative": 1, "positive": 2, "surprise": 3})).set_axis(
        ["participant", "code", "start_file", "peak_file"], axis=1
    ).to_csv(top / "mine" / "clips.csv", index=False)
    return top


@pytest.fixture
def at_reader(
    reader: Path, tiny_corpora: Path, session_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Be where the reader is, with the tiny corpora for datasets."""
    monkeypatch.chdir(reader)
    monkeypatch.syspath_prepend(reader)  # the package of docs/extending.md
    monkeypatch.setenv("MER_DATA", str(tiny_corpora))
    monkeypatch.setenv("MER_CACHE", str(session_folder / "cache"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    if not (reader / "runs" / "demo").exists():
        words = small(["train", "backbone=tiny", "model.epochs=2"], tiny_corpora)
        assert main([*words, "run.dir=runs/demo"]) == 0
        scratch = "runs/sweeps/20261125-1200/0"
        assert main([*words, "macro.enabled=false", f"run.dir={scratch}"]) == 0
        for name in ("demo-from-scratch", "b"):
            shutil.copytree(scratch, f"runs/{name}")
        for name in ("a", "judged"):
            shutil.copytree("runs/demo", f"runs/{name}")
        theirs = pd.read_parquet("runs/demo/predictions.parquet")
        theirs["prediction"] = theirs["label"]
        theirs[["sample_id", "person", "label", "prediction"]].to_csv("theirs.csv", index=False)
    return reader


def small(words: list[str], corpora: Path) -> list[str]:
    """Append what makes a run one of seconds."""
    given = {word.lstrip("+~").partition("=")[0] for word in words}
    values = dict(SMALL)
    if "macro=synthetic_motion" in words:
        values |= {"macro.motion.samples": "256"}
    if not any(word.startswith("data=") and word != "data=synthetic" for word in words):
        values |= {"data.preset": "tiny", "data.root": str(corpora)}
    if "protocol.folds=split(4)" in words:
        values["protocol.n_splits"] = "4"
    elif any(word.startswith("protocol") for word in words):
        del values["protocol"], values["protocol.n_splits"]
    if "experiment=pixels" in words or "experiment=ready_weights" in words:
        for key in ("input.size", "macro.epochs"):
            values.pop(key, None)
    if "debug=overfit" in words:  # which has to learn its samples
        del values["model.epochs"]
    if any(word.startswith("search=") for word in words):
        values |= {"search.n_trials": "2"}
    if any(word.startswith("protocol.like=") for word in words):
        values = {"trainer.accelerator": "cpu", "trainer.enable_progress_bar": "false"}
    return [*words, *(f"{key}={value}" for key, value in values.items() if key not in given)]


def carried_out(command: Typed) -> bool:
    """Whether a command is run here: none of `NOT_RUN`, and no bare name of a command."""
    text = str(command)
    named_only = len(command.words) == 2 and command.words[1] not in ("cache", "list", "weights")
    return (
        command.words[0] == "mer"
        and not (named_only or command.words[2:] == ("--null",))
        and not any(re.match(pattern, text) for pattern in NOT_RUN)
    )


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_the_commands_of_a_page_do_what_they_say(
    page: Path, at_reader: Path, tiny_corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = []
    for command in dict.fromkeys(commands(page)):
        if not carried_out(command):
            continue
        words = list(command.words[1:])
        if words[0] == "train":
            words = small(words, tiny_corpora)
        elif words[0] == "prepare":
            kept = ("data", "prepare")
            added = [word for word in small(words, tiny_corpora) if word.startswith(kept)]
            words = [*words, *(word for word in added if word not in words)]
        elif words[0] == "synth":
            words = [*words, "preset=tiny", "out=synthetic"]
        status = main(words)
        if status not in (0, 4):  # 4: an audit could not make a check
            failed.append(f"{command}: {status}\n{capsys.readouterr().err[-600:]}")
    assert not failed, "\n".join(failed)
