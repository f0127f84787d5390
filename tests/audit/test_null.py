"""`mer audit --null`: leaks planted in the code are found, and a clean run passes."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader

from mer.audit import audit
from mer.audit.null import NullTest, null_test
from mer.cli import main
from mer.data.datamodule import MERDataModule
from mer.datasets import labels
from mer.errors import MerError
from mer.runs import evidence, label_access, rundir
from mer.training import fold_evidence, runner
from tests.audit.planting import all_samples_are_open
from tests.builders import save_config

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def short(tiny_config: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one epoch, without macro-pretraining."""
    words = ["macro.enabled=false", "model.epochs=1", "model.augment=null", "model.batch_size=16"]
    run_dir = tmp_path_factory.mktemp("short") / "run"
    runner.run(tiny_config(*words), run_dir)
    return run_dir


@pytest.fixture
def run_dir(short: Path, tmp_path: Path) -> Path:
    """A copy of it, to train repetitions in."""
    return Path(shutil.copytree(short, tmp_path / "run"))


def verdicts(test: NullTest) -> dict[str, bool]:
    """Head -> whether its UF1 leaks."""
    return {score.head: score.leaks for score in test.scores if score.name == "uf1"}


def test_a_clean_run_passes_and_its_repetitions_are_marked_runs(
    run_dir: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert main(["audit", "--null", str(run_dir), "--permutations", "2"]) == 0
    assert "2 permutations of 3 folds, 6 still to train: about " in caplog.text
    assert "No head scores more on permuted labels" in capsys.readouterr().out
    stored = json.loads((run_dir / "null.json").read_text())
    assert stored["verdict"] == "pass"
    assert [len(score["values"]) for score in stored["scores"]] == [2, 2, 2, 2]

    folder = run_dir / "null" / "permutation-1"
    true = pd.read_parquet(run_dir / "manifest.parquet").set_index("sample_id")
    permuted = pd.read_parquet(folder / "manifest.parquet").set_index("sample_id")
    assert (permuted["fold"] == true["fold"]).all()
    assert (permuted["label"] != true["label"]).any()
    assert (permuted["emotion"] == true["emotion"]).all()
    first = pd.read_parquet(run_dir / "null" / "permutation-0" / "manifest.parquet")
    assert (permuted["label"].to_numpy() != first["label"].to_numpy()).any()

    for name in ("predictions-NULL.parquet", "metrics-NULL.json"):
        assert (folder / name).exists()
    assert label_access.warnings(folder) == [
        "labels.permutation=1: the labels of each person are permuted"
    ]
    failed = {check.name for check in audit(folder).checks if check.verdict == "fail"}
    assert failed == {"samples"}

    caplog.clear()
    path = next((folder / "folds").glob("*/predictions-NULL.parquet"))
    path.unlink()  # as if the repetition had been killed
    untouched = run_dir / "null" / "permutation-0" / "folds" / path.parent.name / path.name
    before = untouched.stat().st_mtime_ns
    again = null_test(run_dir, permutations=2)
    assert "1 still to train" in caplog.text
    assert path.exists() and untouched.stat().st_mtime_ns == before
    assert again.as_json() == stored


def test_a_head_that_is_fitted_on_test_samples_is_found(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def leaky(data: MERDataModule) -> DataLoader:
        return data._plain(np.concatenate([data.train_positions, data.test_positions]))

    all_samples_are_open(monkeypatch)
    monkeypatch.setattr(MERDataModule, "embedding_dataloader", leaky)
    monkeypatch.setattr(evidence, "problems", lambda *_: [])  # which would refuse the fold
    config = OmegaConf.load(run_dir / "config.yaml")
    config.callbacks.svm_head.C = 100.0
    save_config(config, run_dir)
    assert main(["audit", "--null", "--json", str(run_dir)]) == 1
    (told,) = json.loads(capsys.readouterr().out)
    assert told == json.loads((run_dir / "null.json").read_text())
    assert told["verdict"] == "fail"
    assert told["sentences"][0].startswith("Something leaks: labels of tested samples reach")
    assert {score["head"] for score in told["scores"] if score["leaks"]} == {"svm"}


@pytest.mark.slow
def test_a_network_that_is_trained_on_test_samples_is_found(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = null_test(run_dir, permutations=1, epochs=20)
    assert verdicts(clean) == {"svm": False, "softmax": False}
    load = MERDataModule.train_dataloader

    def leaky(data: MERDataModule) -> DataLoader:
        rows = np.union1d(data.train_positions, data.test_positions)
        monkeypatch.setattr(data, "train_positions", rows)
        return load(data)

    all_samples_are_open(monkeypatch)
    monkeypatch.setattr(MERDataModule, "train_dataloader", leaky)
    monkeypatch.setattr(evidence, "problems", lambda *_: [])
    monkeypatch.setattr(fold_evidence, "refuse_known_persons", lambda *_: None)
    for folder in (run_dir / "null").glob("*/folds/*"):
        (folder / "predictions-NULL.parquet").unlink()
    assert verdicts(null_test(run_dir, permutations=1, epochs=20))["softmax"]
    assert (run_dir / "null" / "permutation-0-epochs-20").is_dir()


@pytest.mark.slow
def test_workers_train_on_the_same_permuted_labels(run_dir: Path) -> None:
    one = null_test(run_dir, permutations=1)
    config = OmegaConf.load(run_dir / "config.yaml")
    config.trainer.folds_at_once = 2
    save_config(config, run_dir)
    for folder in (run_dir / "null").glob("*/folds/*"):
        (folder / "predictions-NULL.parquet").unlink()
    assert null_test(run_dir, permutations=1) == one


def test_few_samples_cannot_show_a_leak() -> None:
    test = NullTest("run", [], can_show=False, remarks=[])
    assert test.verdict == "unknown"
    assert "too few" in test.sentences[0]


def test_what_cannot_be_trained_is_an_error_of_the_user(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MerError, match="is no run directory"):
        null_test(run_dir / "folds")
    assert main(["audit", str(run_dir), "--epochs", "3"]) == 2
    assert "go with --null" in capsys.readouterr().err
    (run_dir / "manifest.parquet").unlink()
    with pytest.raises(MerError, match="its training has not begun"):
        null_test(run_dir)
    config = OmegaConf.load(run_dir / "config.yaml")
    config.callbacks.svm_head._target_ = "os.system"
    OmegaConf.save(config, run_dir / "config.yaml")  # by another hand
    with pytest.raises(MerError, match=r"names code .*\n.*_target_=os\.system"):
        null_test(run_dir)


def test_labels_are_permuted_inside_each_person_of_each_dataset() -> None:
    rows = [
        (f"{dataset}/{person}/{number}", dataset, person, label)
        for dataset, person, own in (
            ("x", "x/ann", "aaabbbccc"),
            ("x", "x/ben", "aaa"),
            ("y", "x/ann", "abcabcabc"),
        )
        for number, label in enumerate(own)
    ]
    table = pd.DataFrame(rows, columns=["sample_id", "dataset", "person", "label"])
    permuted = labels.permute(table, 0)
    for names, part in table.groupby(["dataset", "person"]):
        after = permuted.loc[part.index, "label"]
        assert sorted(after) == sorted(part["label"])
        assert (after != part["label"]).any() == (names != ("x", "x/ben"))
    assert (permuted["sample_id"] == table["sample_id"]).all()
    backwards = labels.permute(table.iloc[::-1], 0).sort_index()
    assert backwards.equals(permuted)
    assert not labels.permute(table, 1).equals(permuted)


def test_a_seed_of_the_permutation_is_0_or_more() -> None:
    scheme = {"name": "own", "version": 1, "classes": ["a", "b"], "map": {}}
    assert labels.load_scheme({**scheme, "permutation": 0})["permutation"] == 0
    for wrong in (-1, 0.5, "1"):
        with pytest.raises(MerError, match=r"`permutation` is .+; set a seed, 0 or more"):
            labels.load_scheme({**scheme, "permutation": wrong})


def test_null_is_one_of_the_marks_of_files() -> None:
    config = {"selection": "oracle", "labels": {"permutation": 0}}
    assert rundir.marked("metrics.json", config) == "metrics-ORACLE-NULL.json"
    assert rundir.mark(config) in rundir.MARKS
