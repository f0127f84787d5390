"""Leaks planted in the code, not in the records: training refuses each, and names the cause."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from mer.config.composition import typed
from mer.data import sources
from mer.data.datamodule import EpochOrder, MERDataModule
from mer.data.dataset import UnifiedDataset
from mer.errors import MerError
from mer.runs import evidence
from mer.training import fold, pretrain, runner
from mer.training.engines import cuda_graph, frozen, parallel
from tests.audit.tampering import failures

Config = Callable[..., DictConfig]

pytestmark = pytest.mark.usefixtures("one_thread")

#: Two folds without pretraining, trained one by one.
PLAIN = ("macro.enabled=false", "protocol.n_splits=2", "model.epochs=1")

FROZEN = (
    "protocol.n_splits=2",
    "model.augment=null",
    "model.transfer.freeze=[all]",
    "model.transfer.input_stats=macro",
    "trainer.folds_at_once=2",
)


def refused(config: DictConfig, run_dir: Path) -> str:
    """Why a run is refused; it has no score."""
    with pytest.raises(MerError) as error:
        runner.run(config, run_dir)
    assert not (run_dir / "metrics.json").exists()
    return str(error.value)


def test_test_rows_in_the_training_loader(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = MERDataModule.train_dataloader

    def leaky(data: MERDataModule) -> DataLoader:
        data.train_positions = np.concatenate([data.train_positions, data.test_positions])
        return load(data)

    monkeypatch.setattr(MERDataModule, "train_dataloader", leaky)
    assert "test persons trained this model" in refused(tiny_config(*PLAIN), tmp_path / "run")


def test_test_rows_in_the_training_loader_of_a_split_by_sample(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Persons are on both sides by design there, samples must not be."""
    places = EpochOrder.places

    def leaky(order: EpochOrder) -> NDArray[np.int64]:
        return np.concatenate([places(order), places(order)])

    load = MERDataModule.train_dataloader

    def loader(data: MERDataModule) -> DataLoader:
        data.train_positions = np.concatenate([data.test_positions[:3], data.train_positions])
        return load(data)

    monkeypatch.setattr(MERDataModule, "train_dataloader", loader)
    monkeypatch.setattr(EpochOrder, "places", leaky)
    words = ("macro.enabled=false", "protocol=random_samples", "protocol.n_splits=3")
    text = refused(tiny_config(*words), tmp_path / "run")
    assert "3 samples of the test side trained the network: " in text


def test_test_rows_in_the_fit_of_a_head(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaky(data: MERDataModule) -> DataLoader:
        return data._plain(np.concatenate([data.train_positions, data.test_positions]))

    monkeypatch.setattr(MERDataModule, "embedding_dataloader", leaky)
    text = refused(tiny_config(*PLAIN), tmp_path / "run")
    assert "samples of the test side fitted the head svm: " in text


def test_test_rows_in_the_statistics(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = UnifiedDataset.statistics

    def leaky(dataset: UnifiedDataset, positions: NDArray[np.int64], stats: Any) -> Any:
        return fit(dataset, np.arange(len(dataset)), stats)

    monkeypatch.setattr(UnifiedDataset, "statistics", leaky)
    text = refused(tiny_config(*PLAIN), tmp_path / "run")
    assert "not normalised by the statistics of the training side" in text


def test_a_test_person_in_the_macro_pool(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One person has recordings in both; the pool leaves those out unless somebody forgets to."""
    config = tiny_config("protocol.n_splits=2", "model.epochs=1", "macro.epochs=1")
    person = sources.load(typed(config), "micro").table["person"].iloc[0]
    subject = (
        sources.load(typed(config), "macro").table.query("dataset == 'mug'")["subject"].iloc[0]
    )
    people = tmp_path / "people.csv"
    people.write_text(f"subject,person\n{subject.partition('/')[2]},{person}\n")
    config.data.macro.mug = {**config.data.macro.mug, "persons": str(people)}
    runner.run(config, tmp_path / "clean")
    make = pretrain.macro_weights

    def leaky(settings: Any, macro: Any, tested: Any) -> Path:
        return make(settings, macro, tested=())

    monkeypatch.setattr(runner, "macro_weights", leaky)
    text = refused(config, tmp_path / "leaky")
    assert f"test persons trained this model: {person}" in text


def test_validation_rows_of_the_macro_pool_in_its_training(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = MERDataModule.train_dataloader

    def leaky(data: MERDataModule) -> DataLoader:
        data.train_positions = np.concatenate([data.train_positions, data.validation_positions])
        return load(data)

    monkeypatch.setattr(MERDataModule, "train_dataloader", leaky)
    config = tiny_config("macro.epochs=1", f"paths.cache={tmp_path / 'cache'}")
    assert "on another side than theirs" in refused(config, tmp_path / "run")
    assert not list((tmp_path / "cache" / "macro").glob("*/best.ckpt"))


def test_swapped_rows_between_network_and_predictions(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(*given: Any) -> pd.DataFrame:
        frame = to_frame(*given)
        return frame.assign(sample_id=np.roll(frame["sample_id"], 1))

    to_frame = fold.to_frame
    monkeypatch.setattr(fold, "to_frame", swapped)
    text = refused(tiny_config(*PLAIN), tmp_path / "run")
    assert "rows of the predictions are not what the network gave for these samples" in text


def test_an_inner_network_that_trains_on_the_outer_test_side(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = MERDataModule.train_dataloader

    def leaky(data: MERDataModule) -> DataLoader:
        data.train_positions = np.arange(len(data.dataset))
        return load(data)

    monkeypatch.setattr(MERDataModule, "train_dataloader", leaky)
    words = (*PLAIN, "protocol.inner.n_splits=2", "protocol.inner.choose=[epochs]")
    assert "An inner network of fold group-0" in refused(tiny_config(*words), tmp_path / "run")


def test_test_rows_in_the_classifiers_on_a_frozen_network(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.run(tiny_config(*FROZEN), tmp_path / "clean")
    assert failures(tmp_path / "clean") == {}
    begin = fold.begin

    def leaky(*given: Any) -> fold.Job:
        job = begin(*given)
        train = np.concatenate([job.sides.train, job.sides.test[:1]])
        return job._replace(sides=job.sides._replace(train=train))

    monkeypatch.setattr(frozen.fold, "begin", leaky)
    text = refused(tiny_config(*FROZEN), tmp_path / "leaky")
    assert "test persons trained this model" in text


def test_test_rows_in_parallel_folds(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_on_gpu", lambda cfg: True)
    words = (*PLAIN, "trainer.folds_at_once=2")
    runner.run(tiny_config(*words), tmp_path / "clean")
    assert failures(tmp_path / "clean") == {}
    start = cuda_graph._Slot.start

    def leaky(slot: Any, epoch: int) -> None:
        start(slot, epoch)
        slot._order[0] = slot.data.test_positions[0]

    monkeypatch.setattr(cuda_graph._Slot, "start", leaky)
    text = refused(tiny_config(*words), tmp_path / "leaky")
    assert "test persons trained this model" in text


def test_workers_give_the_evidence_of_a_run_in_one_process(
    tiny_config: Config, tmp_path: Path
) -> None:
    runner.run(tiny_config(*PLAIN), tmp_path / "one")
    runner.run(tiny_config(*PLAIN, "trainer.folds_at_once=2"), tmp_path / "two")
    for path in sorted((tmp_path / "one").glob(f"folds/*/{evidence.FILE}")):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert json.loads(other.read_text()) == json.loads(path.read_text())
    assert failures(tmp_path / "two") == {}


def test_a_kept_network_keeps_the_evidence_of_its_training(
    tiny_config: Config, tmp_path: Path
) -> None:
    words = (*PLAIN, "reuse_networks=true", f"paths.cache={tmp_path / 'cache'}")
    runner.run(tiny_config(*words), tmp_path / "trained")
    runner.run(tiny_config(*words, "callbacks.svm_head.C=10"), tmp_path / "kept")
    for path in sorted((tmp_path / "trained").glob(f"folds/*/{evidence.FILE}")):
        other = tmp_path / "kept" / path.relative_to(tmp_path / "trained")
        assert json.loads(other.read_text()) == json.loads(path.read_text())
    assert failures(tmp_path / "kept") == {}
