"""The page docs/extending.md, carried out: a package and configuration files outside of mer.

Its examples are written to a folder as their titles say, and one run uses all of them.
"""

import importlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from mer import datasets
from mer.cli import main
from mer.config.catalogue import entries
from mer.protocols import check_folds

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"

#: Whom a command that reads the run has to trust.
TRUST = ["--trust", "mylab"]


def clips_of_our_lab(corpora: Path, root: Path) -> None:
    """Lay the clips of a synthetic SMIC out as the page's reader expects them."""
    table = datasets.read("smic", corpora / "SMIC").table
    for row in table.itertuples():
        person = row.subject.partition("/")[2]
        folder = root / "mylab" / "s1" / person / f"{row.clip.replace('-', '_')}-{row.emotion}"
        folder.mkdir(parents=True)
        for name in ("onset", "apex"):
            shutil.copy(getattr(row, f"{name}_path"), folder / f"{name}.png")
    (root / "mylab" / "s1" / "p99" / "c1-surprise").mkdir(parents=True)


@pytest.fixture(scope="module")
def lab(tiny_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the page shows, on the import path, and with data of its own."""
    folder = tmp_path_factory.mktemp("lab")
    blocks = re.findall(r'```\w+ title="([^"]+)"\n(.*?)```\n', PAGE.read_text(), re.DOTALL)
    assert len(blocks) >= 15
    for name, text in blocks:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    clips_of_our_lab(tiny_corpora, folder / "data")
    (folder / "data" / "CK+").symlink_to(tiny_corpora / "CK+")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        del sys.modules[name]


def train(lab: Path, name: str, *more: str) -> Path:
    words = [
        "--config-dir",
        str(lab / "conf"),
        "experiment=mylab",
        f"data.root={lab / 'data'}",
        f"paths.cache={lab / 'cache'}",
        f"run.dir={lab / name}",
        "prepare.size=96",
        "protocol=group_kfold",
        "protocol.n_splits=2",
        "model.epochs=2",
        "macro.epochs=1",
        "trainer.accelerator=cpu",
        "trainer.folds_at_once=1",
        "trainer.enable_progress_bar=false",
        *more,
    ]
    assert main(["train", *words]) == 0
    return lab / name


@pytest.fixture(scope="module")
def run_dir(lab: Path) -> Path:
    return train(lab, "run")


def test_everything_of_the_page_takes_part_in_one_run(lab: Path, run_dir: Path) -> None:
    predictions = pd.read_parquet(run_dir / "predictions.parquet")
    assert set(predictions["dataset"]) == {"mylab"}
    assert set(predictions["label"]) == {"other", "surprise"}
    assert {"svm", "nearest", "nearest_surprise", "softmax"} <= set(predictions)
    assert "no apex.png" in (run_dir / "dropped.csv").read_text()
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert {"svm", "nearest", "softmax"} <= set(metrics["heads"])
    fold = next((run_dir / "folds").iterdir())
    content = torch.load(fold / "model.ckpt", weights_only=True)
    given = content["hyper_parameters"]
    assert given["in_chans"] == 3
    assert given["loss"] == {"_target_": "mylab.training.Focal", "gamma": 1.5}
    assert given["optimizer"]["_target_"] == "mylab.training.Lion"
    assert content["state_dict"]["backbone.features.0.weight"].shape == (16, 3, 3, 3)
    assert content["mer"]["transfer"]["blocks"] == "all"
    assert "train/largest_gradient" in pd.read_csv(fold / "metrics.csv")
    assert (run_dir / "diary.txt").read_text().splitlines()[-2:] == ["group-01: 2 of 2", "complete"]
    assert "test/nearest/uf1" in pd.read_csv(run_dir / "table" / "metrics.csv")
    (store,) = (lab / "cache" / "prepared").glob("mylab-*")
    flow = json.loads((store / "settings.json").read_text())
    assert "mylab.flow.quick" in json.dumps(flow)


def test_its_things_are_listed(lab: Path) -> None:
    for kind, name, summary in (
        ("datasets", "mylab", "Clips of our lab"),
        ("labels", "surprise", "Surprise against everything else"),
        ("inputs", "grey_flow", "The apex in grey and the flow, three channels"),
        ("backbones", "small_net", "Two convolutions, embedding 16"),
        ("experiments", "mylab", "Everything of ours at once"),
    ):
        own = {entry.name: entry.summary for entry in entries(kind, lab / "conf") if entry.own}
        assert own[name] == summary


def test_its_protocol_gives_sound_folds(lab: Path) -> None:
    halves = importlib.import_module("mylab.protocol").halves
    table = datasets.read("ckplus", lab / "data" / "CK+").table.assign(label="positive")
    table["person"] = table["subject"]
    first, second = halves(table)
    check_folds([first, second], table)
    assert first.train == second.test
    assert set(first.test) | set(second.test) == set(table["sample_id"])


def test_another_reader_of_the_run_names_whom_it_trusts(
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["evaluate", str(run_dir)]) == 0  # whoever made it has typed the names
    with monkeypatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path))  # somebody else's secret
        for command in ("evaluate", "export"):
            assert main([command, str(run_dir)]) == 2
            shown = capsys.readouterr().err
            assert "backbone._target_=mylab.backbone.SmallNet" in shown
            assert "--trust" in shown
        data = [f"data.root={run_dir.parent / 'data'}", f"paths.cache={run_dir.parent / 'cache'}"]
        assert main(["evaluate", str(run_dir), *TRUST, "--trust", "torch", *data]) == 0


@pytest.mark.usefixtures("no_figures")
def test_it_is_reported_compared_audited_and_exported(
    lab: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = train(lab, "other", "seed=1", "macro.enabled=false", "model.epochs=1")
    trust = [*TRUST, "--trust", "torch"]
    assert main(["compare", str(run_dir), str(other), "--head", "nearest"]) == 0
    assert main(["report", str(run_dir), *trust]) == 0
    assert "nearest" in (run_dir / "report.html").read_text()
    assert main(["export", str(run_dir), *trust, "--heads", "svm,softmax"]) == 0
    capsys.readouterr()
    status = main(["audit", str(run_dir), "--json"])
    audit = json.loads(capsys.readouterr().out)["runs"][0]
    assert status in (0, 4), audit  # 4: a check could not be made


def test_an_old_run_goes_on_with_the_same_words(lab: Path, run_dir: Path) -> None:
    shutil.rmtree(next((run_dir / "folds").iterdir()))
    (run_dir / "metrics.json").unlink()
    train(lab, "run")
    assert (run_dir / "metrics.json").exists()


def test_what_is_wrong_is_said_before_anything_is_read(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--config-dir", str(lab / "conf"), "experiment=mylab"]
    words += [f"data.root={lab / 'data'}"]
    assert main([*words, "input.size=0"]) == 2
    assert "input.size is 0; set 1 or more" in capsys.readouterr().err
    wrong = {
        "data.micro.mylab._target_": "mylab.reader.read",
        "input._target_": "mylab.heads.Nearest",
        "prepare.flow._target_": "mylab.flow.slow",
        "callbacks.nearest.depth": "1",
        "logger.diary._target_": "mylab.loggers.Diary",
    }
    assert (
        main([*words, f"run.dir={lab / 'wrong'}", *(f"++{key}={wrong[key]}" for key in wrong)]) == 2
    )
    shown = capsys.readouterr().err
    assert "data.micro.mylab._target_=mylab.reader.read: mylab.reader has no read" in shown
    assert "mylab.heads.Nearest is no subclass of mer.data.inputs.SampleInput" in shown
    assert "prepare.flow._target_=mylab.flow.slow: mylab.flow has no slow" in shown
    assert "takes no depth" in shown


def test_network_loss_and_optimizer_are_made_before_anything_is_read(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--config-dir", str(lab / "conf"), "experiment=mylab"]
    words += [f"data.root={lab / 'data'}"]
    wrong = {
        "model.loss.gama": "1",
        "macro.optimizer.kwargs.speed": "1",
        "model.transfer.blocks": "[feature]",
    }
    assert (
        main([*words, f"run.dir={lab / 'wrong'}", *(f"++{key}={wrong[key]}" for key in wrong)]) == 2
    )
    shown = capsys.readouterr().err
    assert "model: loss._target_=mylab.training.Focal takes no" in shown
    assert "macro: optimizer._target_=torch.optim.RMSprop takes no" in shown
    assert "the parts are features" in shown
