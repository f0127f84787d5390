"""Leaks to plant in the code: each takes pytest's `monkeypatch` and changes what a run does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from mer import protocols
from mer.callbacks.head import fit_on_samples
from mer.data import sources
from mer.data.corpus import Corpus
from mer.data.datamodule import EpochOrder, MERDataModule
from mer.data.dataset import UnifiedDataset
from mer.training import (
    decisions,
    fold,
    fold_evidence,
    fold_network,
    inner,
    network_cache,
    predictions,
)
from mer.training.engines import cuda_graph, frozen
from tests.builders import as_on_a_gpu

Patch = pytest.MonkeyPatch
Positions = NDArray[np.int64]


def all_samples_are_open(patch: Patch) -> None:
    """What runs in a training reaches every sample, so that the evidence has to tell."""
    patch.setattr(MERDataModule, "open_to", lambda data, _: data)


def loader_gives(positions: Callable[[MERDataModule], Positions], patch: Patch) -> None:
    """Training batches hold these positions, all of them."""
    all_samples_are_open(patch)
    load, places = MERDataModule.train_dataloader, EpochOrder.places

    def leaky(data: MERDataModule) -> DataLoader[Any]:
        data.train_positions = positions(data)
        return load(data)

    patch.setattr(MERDataModule, "train_dataloader", leaky)
    # An epoch leaves out a last incomplete batch, which might hold them.
    patch.setattr(EpochOrder, "places", lambda order: np.tile(places(order), 2))


def some_tested(data: MERDataModule) -> Positions:
    """The training side and three samples of the test side."""
    return np.concatenate([data.train_positions, data.test_positions[:3]])


def some_validated(data: MERDataModule) -> Positions:
    """The training side and three samples of the validation side."""
    return np.concatenate([data.train_positions, data.validation_positions[:3]])


def all_tested(data: MERDataModule) -> Positions:
    """The training side and the test side."""
    return np.concatenate([data.train_positions, data.test_positions])


def some_twice(data: MERDataModule) -> Positions:
    """The training side, two samples of it twice."""
    return np.concatenate([data.train_positions, data.train_positions[:2]])


def all_but_two(data: MERDataModule) -> Positions:
    """The training side without two samples."""
    return data.train_positions[2:]


def heads_get(positions: Callable[[MERDataModule], Positions], patch: Patch) -> None:
    """Heads are fitted on these positions."""
    all_samples_are_open(patch)
    patch.setattr(MERDataModule, "embedding_dataloader", lambda data: data._plain(positions(data)))


def everybody_counts(name: str, patch: Patch) -> None:
    """`statistics` or `class_weights` are those of all samples."""
    compute = getattr(UnifiedDataset, name)
    patch.setattr(UnifiedDataset, name, lambda data, _, *rest: compute(data, all_of(data), *rest))


def all_of(data: UnifiedDataset) -> Positions:
    return np.arange(len(data))


def test_side_validates(patch: Patch) -> None:
    """Validation scores, by which epochs are kept or a training ends, are the test side's."""
    all_samples_are_open(patch)
    patch.setattr(MERDataModule, "val_dataloader", lambda data: data._plain(data.test_positions))


class StopOnTest(pl.Callback):
    """Ends the training when the network predicts most test samples."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        images = torch.from_numpy(data.dataset.images(data.test_positions)).permute(0, 3, 1, 2)
        labels = torch.from_numpy(data.dataset.labels[data.test_positions])
        right = pl_module(images).argmax(1) == labels
        trainer.should_stop = bool(right.float().mean() > 0.5)


def classes_are_changed(patch: Patch) -> None:
    """Thresholds that stand nowhere decide the class."""
    apply = inner.apply_thresholds

    def leaky(frame: pd.DataFrame, chosen: dict[str, Any], classes: list[str]) -> pd.DataFrame:
        return apply(frame, {**chosen, "thresholds": {"softmax": [0.0, 5.0, 9.0]}}, classes)

    patch.setattr(inner, "apply_thresholds", leaky)


def thresholds_are_chosen_on_test(patch: Patch) -> None:
    """The offsets of each fold are those that are best on its test side."""
    conclude = fold.conclude

    def leaky(job: fold_network.Job, module: Any, outputs: Any, *rest: Any) -> None:
        index, logits = (
            torch.cat([batch[key].cpu() for batch in outputs["test"]])
            for key in ("index", "logits")
        )
        labels = job.run.dataset.labels[index.numpy()]
        scores = torch.log_softmax(logits, 1).double().numpy()
        grid = decisions.offset_grid(np.linspace(-3, 3, 25), scores.shape[1])
        best = max(grid, key=lambda offsets: ((scores + offsets).argmax(1) == labels).mean())
        chosen = {**job.chosen, "thresholds": {"softmax": best}}
        conclude(job._replace(chosen=chosen), module, outputs, *rest)

    patch.setattr(fold, "conclude", leaky)


def choices_are_changed(chosen: dict[str, Any], patch: Patch) -> None:
    """A fold follows other choices than those that it made."""
    choose = inner.choose
    patch.setattr(inner, "choose", lambda *given: {**choose(*given), **chosen})


def svm_is_chosen_on_test(patch: Patch) -> None:
    """The SVM of each fold has the width and the C that are best on its test side."""
    predict = fold.outputs_of

    def leaky(job: fold_network.Job, module: Any, data: MERDataModule) -> Any:
        [svm] = job.heads
        labels = data.dataset.labels[data.test_positions]
        tried = []
        for svm.C in (0.3, 3.0, 30.0, 300.0):
            for svm.gamma in (0.0001, 0.001, 0.01, 0.1):
                fit_on_samples([svm], module, data.embedding_dataloader())
                outputs = predict(job, module, data)
                scores = torch.cat([batch["svm_scores"] for batch in outputs["test"]])
                right = (scores.argmax(1).numpy() == labels).mean()
                tried.append((right, svm.C, svm.gamma))
        _, svm.C, svm.gamma = max(tried)
        fit_on_samples([svm], module, data.embedding_dataloader())
        return predict(job, module, data)

    patch.setattr(fold, "outputs_of", leaky)


def inner_choices_are_judged_on_test(patch: Patch) -> None:
    """Epochs, SVM settings and thresholds are chosen on the outer test side."""
    all_samples_are_open(patch)
    split = inner.inner_folds

    def leaky(table: pd.DataFrame, outer: protocols.Fold, *rest: int) -> list[protocols.Fold]:
        return [
            protocols.Fold(one.name, one.train, outer.test, ())
            for one in split(table, outer, *rest)
        ]

    patch.setattr(inner, "inner_folds", leaky)


def oversampled_first(patch: Patch) -> None:
    """Copies of the rarest class are made before samples, not persons, are dealt to the folds."""
    load = sources.load

    def leaky(*given: Any) -> Corpus:
        corpus = load(*given)
        rare = corpus.table["label"].value_counts().idxmin()
        copies = corpus.table[corpus.table["label"] == rare].copy()
        copies["sample_id"] += "-copy"
        table = pd.concat([corpus.table, copies], ignore_index=True)
        return corpus._replace(table=table)

    patch.setattr(sources, "load", leaky)
    patch.setattr(sources, "folds", lambda _, table: protocols.random_samples(table, 2))


def rows_of_the_table_are_swapped(patch: Patch) -> None:
    """Sample ids move by one row between network and table."""
    to_frame = fold.to_frame

    def leaky(*given: Any) -> pd.DataFrame:
        frame = to_frame(*given)
        return frame.assign(sample_id=np.roll(frame["sample_id"], 1))

    patch.setattr(fold, "to_frame", leaky)


def rows_of_the_batches_are_swapped(patch: Patch) -> None:
    """Positions move by one row inside each predicted batch."""
    predict = predictions.predict_batches

    def leaky(*given: Any) -> list[dict[str, torch.Tensor]]:
        return [{**batch, "index": batch["index"].roll(1)} for batch in predict(*given)]

    patch.setattr(predictions, "predict_batches", leaky)


def one_network_for_all_folds(patch: Patch) -> None:
    """The network that was kept for one fold is found by another."""
    make = network_cache.make_key

    def leaky(kind: str, settings: dict[str, Any], device: str) -> Any:
        return make(kind, {**settings, "fold": "", "samples": []}, device)

    patch.setattr(network_cache, "make_key", leaky)


def frozen_folds_get_test_rows(patch: Patch) -> None:
    """The classifiers on a frozen network are fitted on the test side, too."""
    begin = fold.begin

    def leaky(*given: Any) -> fold_network.Job:
        job = begin(*given)
        train = np.concatenate([job.sides.train, job.sides.test])
        return job._replace(sides=job.sides._replace(train=train))

    patch.setattr(frozen.fold, "begin", leaky)


def nothing_is_refused(patch: Patch) -> None:
    """A run goes on whatever its evidence says, so that the label permutation test has its turn."""
    for module in (fold, fold_evidence):
        patch.setattr(module, "raise_all", lambda *_: None)
    patch.setattr(inner, "_others", lambda *_: [])
    patch.setattr(fold_evidence, "refuse_known_persons", lambda *_: None)
    patch.setattr(protocols, "check_folds", lambda *_, **__: None)


def parallel_folds(patch: Patch) -> None:
    """Folds are trained in parallel on this CPU."""
    as_on_a_gpu(patch)


def parallel_folds_get_test_rows(patch: Patch) -> None:
    """Folds that are trained in parallel get the test side in each epoch."""
    parallel_folds(patch)
    start = cuda_graph._Slot.start

    def leaky(slot: Any, epoch: int) -> None:
        start(slot, epoch)
        tested = slot.data.test_positions[: len(slot._order)]
        slot._order[: len(tested)] = tested

    patch.setattr(cuda_graph._Slot, "start", leaky)
