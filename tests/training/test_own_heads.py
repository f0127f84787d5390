"""A head and a Lightning callback from outside of the package, named in a folder of one's own."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mer.cli import main
from mer.runs import results
from mer.training import fold as training_fold
from tests.loggers.written_logs import home as home
from tests.loggers.written_logs import read_logs, scalars

MODULE = '''
import pathlib

import numpy as np
import pytorch_lightning as pl
from mer.callbacks.head import Head


class Nearest(Head):
    """Minus the distance to the mean of each class."""

    name = "nearest"

    def fit(self, embeddings, labels, n_classes):
        self.means = np.stack([embeddings[labels == k].mean(axis=0) for k in range(n_classes)])

    def scores(self, embeddings):
        return -np.linalg.norm(embeddings[:, None] - self.means, axis=2)


class Unready(Head):
    def fit(self, embeddings, labels, n_classes):
        pass


class Watcher(pl.Callback):
    """Writes a line for every epoch."""

    def __init__(self, file):
        self.file = pathlib.Path(file)

    def on_train_epoch_end(self, trainer, pl_module):
        with self.file.open("a") as stream:
            stream.write(f"{trainer.current_epoch}\\n")
'''

YAML = """
defaults:
  - _self_
  - svm_head

nearest:
  _target_: own_heads.Nearest
watcher:
  _target_: own_heads.Watcher
  file: {file}
"""


@pytest.fixture(scope="module")
def words(tiny_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What a user types, with a module and a folder of configuration files of the user's own."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "own_heads.py").write_text(MODULE)
    (folder / "conf" / "callbacks").mkdir(parents=True)
    (folder / "conf" / "callbacks" / "mine.yaml").write_text(YAML.format(file=folder / "epochs"))
    own = ["--config-dir", str(folder / "conf"), "callbacks=mine", "protocol.validation=0.3"]
    short = ["protocol.n_splits=2", "model.epochs=1", "macro.enabled=false", "reuse_networks=true"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield [*own, *tiny_words, *short, "trainer.enable_progress_bar=false"]


@pytest.fixture(scope="module")
def watched(words: list[str]) -> Path:
    """The file that the plain callback writes."""
    return Path(words[words.index("--config-dir") + 1]).parent / "epochs"


@pytest.fixture(scope="module")
def run_dir(words: list[str], home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("wandb")
    folder = tmp_path_factory.mktemp("runs") / "own"
    loggers = [
        "logger=wandb",
        "logger.wandb.examples=0",
        "logger.wandb.weights=none",
        "+logger.board={_target_: mer.loggers.lightning.LightningLogger, examples: 0, logger: "
        "{_target_: pytorch_lightning.loggers.TensorBoardLogger, save_dir: null, name: tensorboard,"
        " version: '', default_hp_metric: false}}",
    ]
    assert main(["train", *words, *loggers, f"run.dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def metrics(run_dir: Path) -> dict:
    return json.loads((run_dir / "metrics.json").read_text())


def test_scores_of_an_own_head_stand_beside_the_others_in_the_order_of_the_configuration(
    run_dir: Path, metrics: dict
) -> None:
    frame = pd.read_parquet(run_dir / "predictions.parquet")
    assert list(metrics["heads"]) == ["nearest", "svm", "softmax", "baseline", "majority"]
    assert list(metrics["fold_diagnostics"]) == ["nearest", "svm", "softmax"]
    assert list(metrics["validation"]) == ["nearest", "svm", "softmax", "majority"]
    scores = frame[[f"nearest_{name}" for name in metrics["classes"]]].to_numpy()
    assert (scores <= 0).all()
    assert frame["nearest"].tolist() == [metrics["classes"][n] for n in scores.argmax(axis=1)]
    right = (frame["nearest"] == frame["label"]).mean()
    assert metrics["heads"]["nearest"]["pooled"]["accuracy"] == pytest.approx(right)
    for folder in (run_dir / "folds").iterdir():
        assert list(torch.load(folder / "heads.pt", weights_only=True)) == ["nearest", "svm"]


def test_a_search_goes_by_the_first_head(metrics: dict) -> None:
    validation = {head: parts["pooled"] for head, parts in metrics["validation"].items()}
    assert results.objective(validation, {}, ["uf1"]) == [validation["nearest"]["uf1"]]
    assert results.objective({"softmax": {"uf1": 0.25}}, {}, ["uf1"]) == [0.25]


def test_a_plain_callback_sees_the_training_alone(
    run_dir: Path, watched: Path, words: list[str], capfd: pytest.CaptureFixture
) -> None:
    assert watched.read_text() == "0\n0\n"  # one epoch in each of two folds
    assert main(["evaluate", str(run_dir)]) == 0
    out = capfd.readouterr().out
    samples = len(pd.read_parquet(run_dir / "predictions.parquet"))
    assert f"{samples} of {samples} predictions equal the stored ones" in out
    assert "nearest" in out
    assert watched.read_text() == "0\n0\n"


@pytest.mark.slow
def test_networks_are_reused_with_another_head_but_not_with_another_callback(
    run_dir: Path, watched: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, trained = training_fold._train, []

    def counted(job: training_fold.Job) -> object:
        trained.append(job.fold.name)
        return train(job)

    monkeypatch.setattr(training_fold, "_train", counted)
    first = tmp_path / "first"
    assert main(["train", *words, "callbacks.svm_head.C=5", f"run.dir={first}"]) == 0
    assert trained == []
    assert watched.read_text() == "0\n0\n"
    before, after = (pd.read_parquet(d / "predictions.parquet") for d in (run_dir, first))
    same = [name for name in before if not name.startswith("svm")]
    pd.testing.assert_frame_equal(before[same], after[same])
    other = f"callbacks.watcher.file={tmp_path / 'epochs'}"
    assert main(["train", *words, other, f"run.dir={tmp_path / 'second'}"]) == 0
    assert trained == ["group-00", "group-01"]


def test_loggers_show_every_head(run_dir: Path, metrics: dict) -> None:
    history = pd.read_csv(run_dir / "history.csv")
    heads = ("nearest", "svm", "softmax")
    assert list(history)[3:] == [f"{h}_{s}" for h in heads for s in ("uf1", "uar", "accuracy")]
    written = scalars(run_dir)
    (log,) = read_logs(run_dir)
    for head in heads:
        expected = metrics["heads"][head]["pooled"]["uf1"]
        assert log.summary[f"test/{head}/uf1"] == pytest.approx(expected)
        assert written[f"test/{head}/uf1"][-1][1] == pytest.approx(expected, abs=1e-6)
        running = metrics["validation"][head]["pooled"]["uf1"]
        assert history[f"{head}_uf1"].iloc[-1] == pytest.approx(running)
        assert written[f"val/{head}/uf1"][-1][1] == pytest.approx(running, abs=1e-6)
    table = log.media("tables/predictions")["columns"]
    assert {"nearest", "nearest_correct", "svm_correct", "softmax_correct"} <= set(table)


def test_comparison_takes_the_first_head_or_the_one_that_is_named(
    run_dir: Path, metrics: dict, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    file = tmp_path / "table.csv"
    for words, head in (([], "nearest"), (["--head", "svm"], "svm")):
        assert main(["compare", str(run_dir), *words, "--csv", str(file)]) == 0
        row = pd.read_csv(file).iloc[0]
        assert row["head"] == head
        assert row["uf1"] == pytest.approx(metrics["heads"][head]["pooled"]["uf1"])
        assert row["validation"] == pytest.approx(metrics["validation"][head]["pooled"]["uf1"])
    assert main(["compare", str(run_dir), "--head", "other"]) == 2
    assert "heads nearest, svm, softmax, baseline, majority" in capfd.readouterr().err


def test_the_audit_checks_an_own_head_as_any_other(run_dir: Path, tmp_path: Path) -> None:
    from mer.audit import Artefacts
    from mer.audit.check_predictions import check_predictions

    finding = check_predictions(Artefacts(run_dir))
    assert finding.verdict == "pass"
    assert "(nearest and svm and softmax and baseline)" in finding.evidence
    artefacts = Artefacts(run_dir)
    row = artefacts.predictions.index[0]
    said = artefacts.predictions.loc[row, "nearest"]
    other = next(name for name in artefacts.config["labels"]["classes"] if name != said)
    artefacts.predictions.loc[row, "nearest"] = other
    finding = check_predictions(artefacts)
    assert finding.verdict == "fail"
    assert "1 samples have a nearest class without the highest score" in finding.evidence
    artefacts = Artefacts(run_dir)
    del artefacts.predictions["nearest"]
    evidence = check_predictions(artefacts).evidence
    assert "1 heads with a score have no predictions: nearest" in evidence


def test_export_refuses_a_head_without_a_graph_and_takes_the_others(
    run_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    pytest.importorskip("onnxruntime")
    from mer.deploy import model_files

    command = ["export", str(run_dir), "--trust", "own_heads"]
    assert main(command) == 2
    error = capfd.readouterr().err
    assert "- nearest (Nearest)" in error and "mer export --heads svm,softmax" in error
    file = tmp_path / "model.onnx"
    assert main([*command, "--heads", "svm,softmax", "--out", str(file)]) == 0
    assert model_files.read_facts(file)["heads"] == ["svm", "softmax"]


@pytest.mark.usefixtures("no_figures")
def test_the_report_shows_an_own_head_first(run_dir: Path, metrics: dict) -> None:
    assert main(["report", str(run_dir), "--quick", "--trust", "own_heads"]) == 0
    page = (run_dir / "report.html").read_text()
    uf1 = metrics["heads"]["nearest"]["pooled"]["uf1"]
    first, *others = (page.index(word) for word in ("nearest", "SVM on embeddings", "majority"))
    assert first < min(others)
    assert f"{uf1:.3f}" in page


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("callbacks.svm_head.name=nearest", "callbacks.svm_head.name is nearest, a column of"),
        ("callbacks.svm_head.name=label", "callbacks.svm_head.name is label, a column of every"),
        ("callbacks.watcher._target_=own_heads.Typo", "own_heads has no Typo"),
        ("callbacks.nearest._target_=own_heads.Unready", "incomplete: define its methods scores"),
        ("callbacks.watcher._target_=collections.Counter", "callbacks.watcher is no callback"),
    ],
)
def test_wrong_names_are_told_before_anything_is_computed(
    words: list[str], word: str, sentence: str, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    assert main(["train", *words, word, f"run.dir={tmp_path / 'run'}"]) == 2
    assert sentence in capfd.readouterr().err
    assert not (tmp_path / "run" / "manifest.parquet").exists()


def test_scores_are_not_the_same_for_all_heads(run_dir: Path) -> None:
    frame = pd.read_parquet(run_dir / "predictions.parquet")
    classes = [name.removeprefix("svm_") for name in frame if name.startswith("svm_")]
    nearest, svm = (frame[[f"{h}_{c}" for c in classes]].to_numpy() for h in ("nearest", "svm"))
    assert not np.allclose(nearest, svm)
