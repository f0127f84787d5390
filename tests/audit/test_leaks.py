"""Leaks planted in the code or the data, not in the records: training refuses each by its name."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig

from mer import integrity
from mer.config.composition import typed
from mer.data import feature_cache, sources
from mer.errors import MerError
from mer.runs import evidence
from mer.training import pretrain, runner
from tests.audit import planting
from tests.audit.tampering import failures
from tests.builders import PIXELS, Config, OwnCache

pytestmark = pytest.mark.usefixtures("one_thread")

#: Two folds without pretraining, trained one by one.
PLAIN = ("macro.enabled=false", "protocol.n_splits=2", "model.epochs=1")
BEST = (*PLAIN, "protocol.validation=0.3", "selection=validation")
STOPPED = (
    *BEST[:-1],
    "+callbacks.stop={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/uf1}",
)
STOP_ON_TEST = f"+callbacks.stop._target_={planting.__name__}.StopOnTest"
INNER = (*PLAIN, "protocol.inner.n_splits=2", "protocol.inner.choose=[epochs,svm,thresholds]")
PIPELINES = (
    *PIXELS,
    "protocol.n_splits=2",
    "protocol.inner.n_splits=2",
    "protocol.inner.choose=[pipeline]",
    "+protocol.inner.pipelines={C1: {callbacks.svm_head.C: 1}, C2: {callbacks.svm_head.C: 2}, "
    "none: {input.blur: 9, callbacks.svm_head.C: 0.001}}",
)
SAMPLES = ("macro.enabled=false", "protocol=random_samples", "protocol.n_splits=3")
FROZEN = (
    "protocol.n_splits=2",
    "model.augment=null",
    "model.transfer.freeze=[all]",
    "model.transfer.input_stats=macro",
)

#: What is planted -> settings, who plants it, and what the refusal says.
LEAKS: dict[str, tuple[tuple[str, ...], Callable[[pytest.MonkeyPatch], None], str]] = {
    "test rows in the loader": (
        PLAIN,
        partial(planting.loader_gives, planting.some_tested),
        "test persons trained this model: ",
    ),
    "test rows in the loader of a split by sample": (
        SAMPLES,
        partial(planting.loader_gives, planting.some_tested),
        "3 samples of the test side trained the network: ",
    ),
    "validation rows in the loader": (
        BEST,
        partial(planting.loader_gives, planting.some_validated),
        "3 samples of the validation side trained the network: ",
    ),
    "test rows in the head": (
        PLAIN,
        partial(planting.heads_get, planting.all_tested),
        "samples of the test side fitted the head svm: ",
    ),
    "doubled rows in the head": (
        PLAIN,
        partial(planting.heads_get, planting.some_twice),
        "2 samples fitted the head svm more than once: ",
    ),
    "lost rows in the head": (
        PLAIN,
        partial(planting.heads_get, planting.all_but_two),
        "nothing shows that 2 samples fitted the head svm: ",
    ),
    "test rows in the statistics": (
        PLAIN,
        partial(planting.everybody_counts, "statistics"),
        "not normalised by the statistics of the training side",
    ),
    "test rows in the class weights": (
        PLAIN,
        partial(planting.everybody_counts, "class_weights"),
        "the class weights are not those of the training side",
    ),
    "best epoch on test": (
        BEST,
        planting.test_side_validates,
        "samples of the test side judged the epochs of the network: ",
    ),
    "early stopping on test by Lightning's callback": (
        STOPPED,
        planting.test_side_validates,
        "samples of the test side judged the epochs of the network: ",
    ),
    "early stopping on test by an own callback": (
        (*PLAIN, STOP_ON_TEST),
        planting.all_samples_are_open,
        "samples of the test side were shown to the network by a callback while it trained: ",
    ),
    "thresholds chosen on test": (
        PLAIN,
        planting.thresholds_are_chosen_on_test,
        "inside the fold nothing was chosen",
    ),
    "thresholds chosen and not said": (
        PLAIN,
        planting.classes_are_changed,
        "predicted classes of softmax do not follow from its scores: ",
    ),
    "thresholds put in place of those chosen": (
        INNER,
        partial(planting.choices_are_changed, {"thresholds": {"softmax": [0.0, 1.0, 0.5]}}),
        "the choice of thresholds is {'softmax': [0.0, 1.0, 0.5]}; inside the fold {",
    ),
    "SVM setting chosen on test": (
        PLAIN,
        planting.svm_is_chosen_on_test,
        "the head svm has gamma=",
    ),
    "SVM setting put in place of that chosen": (
        PLAIN,
        partial(planting.choices_are_changed, {"svm": {"C": 30.0}}),
        "the choice of svm is {'C': 30.0}; inside the fold nothing was chosen",
    ),
    "inner choices judged on test": (
        INNER,
        planting.inner_choices_are_judged_on_test,
        "the choices inside it rest on samples outside of its training side",
    ),
    "pipelines judged on test": (
        PIPELINES,
        planting.inner_choices_are_judged_on_test,
        "the choices inside it rest on samples outside of its training side",
    ),
    "another pipeline than the chosen one": (
        PIPELINES,
        partial(planting.choices_are_changed, {"pipeline": "none"}),
        "the choice of pipeline is none; inside the fold C",
    ),
    "test rows in the loader of inner networks": (
        INNER,
        partial(planting.loader_gives, lambda data: np.arange(len(data.dataset))),
        "An inner network of fold group-0",
    ),
    "oversampling before the split": (
        PLAIN,
        planting.oversampled_first,
        " in train and in test",
    ),
    "swapped rows of the table": (
        PLAIN,
        planting.rows_of_the_table_are_swapped,
        "rows of the predictions are not what the network gave for these samples: ",
    ),
    "swapped rows of the batches": (
        PLAIN,
        planting.rows_of_the_batches_are_swapped,
        "predictions are not what the network gives for these samples: ",
    ),
    "a network kept for another fold": (
        (*PLAIN, "reuse_networks=true"),
        planting.one_network_for_all_folds,
        "was trained on samples that are not of the training side of fold group-0",
    ),
    "test rows in the classifiers on a frozen network": (
        FROZEN,
        planting.frozen_folds_get_test_rows,
        "test persons trained this model: ",
    ),
    "test rows in parallel folds": (
        (*PLAIN, "trainer.folds_at_once=2"),
        planting.parallel_folds_get_test_rows,
        "test persons trained this model: ",
    ),
}

#: Settings of clean runs, by engine and by what is chosen.
CLEAN = {
    "one by one": PLAIN,
    "selection by validation": BEST,
    "early stopping": STOPPED,
    "inner choices": INNER,
    "pipelines": PIPELINES,
    "split by sample": SAMPLES,
    "frozen": FROZEN,
    "frozen first blocks": (
        *FROZEN[:2],
        "model.transfer.freeze=[conv_stem,bn1,blocks.0]",
        "model.transfer.input_stats=macro",
        "model.epochs=1",
    ),
    "kept networks": (*PLAIN, "reuse_networks=true"),
}


def refused(config: DictConfig, run_dir: Path) -> str:
    """Why a run is refused; it has no score."""
    with pytest.raises(MerError) as error:
        runner.run(config, run_dir)
    assert not (run_dir / "metrics.json").exists()
    return str(error.value)


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_refused_and_named(
    leak: str,
    tiny_config: Config,
    own_cache: OwnCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words, plant, expected = LEAKS[leak]
    cache = [own_cache(tmp_path / "cache")] if "kept" in leak else []
    config = tiny_config(*words, *cache)
    plant(monkeypatch)
    assert expected in refused(config, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("kind", CLEAN)
def test_a_clean_run_raises_no_alarm(kind: str, tiny_config: Config, tmp_path: Path) -> None:
    words = CLEAN[kind]
    runner.run(tiny_config(*words), tmp_path / "run")
    expected = {"persons"} if kind == "split by sample" else set()
    assert set(failures(tmp_path / "run")) == expected


def test_a_clean_run_in_parallel_raises_no_alarm(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planting.parallel_folds(monkeypatch)
    runner.run(tiny_config(*PLAIN, "trainer.folds_at_once=2"), tmp_path / "run")
    assert failures(tmp_path / "run") == {}


def test_a_test_person_in_the_macro_pool(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One person has recordings in both; the pool leaves those out unless somebody forgets to."""
    config = tiny_config("protocol.n_splits=2", "model.epochs=1", "macro.epochs=1")
    person = sources.load(typed(config), "micro").table["person"].iloc[0]
    macro = sources.load(typed(config), "macro").table
    subject = macro.loc[macro["dataset"] == "mug", "subject"].iloc[0].partition("/")[2]
    people = tmp_path / "people.csv"
    people.write_text(f"subject,person\n{subject},{person}\n")
    config.data.macro.mug = {**config.data.macro.mug, "persons": str(people)}
    runner.run(config, tmp_path / "clean")
    make = pretrain.macro_weights

    def leaky(settings: Any, macro: Any, tested: Any, tell: Any) -> Path:
        return make(settings, macro, (), tell)

    monkeypatch.setattr(runner, "macro_weights", leaky)
    text = refused(config, tmp_path / "leaky")
    assert f"test persons trained this model: {person}" in text


def test_validation_rows_of_the_macro_pool_in_its_training(
    tiny_config: Config, own_cache: OwnCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planting.loader_gives(planting.some_validated, monkeypatch)
    config = tiny_config("macro.epochs=1", own_cache(tmp_path / "cache"))
    assert "on another side than theirs" in refused(config, tmp_path / "run")
    assert not list((tmp_path / "cache" / "macro").glob("*/best.ckpt"))


@pytest.fixture(scope="module")
def cached(
    tiny_config: Config, own_cache: OwnCache, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """Settings of a run on a frozen network whose features are cached."""
    folder = tmp_path_factory.mktemp("cached")
    words = [*FROZEN, "macro.epochs=1", own_cache(folder / "cache")]
    runner.run(tiny_config(*words), folder / "run")
    return words


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda rows: np.roll(rows, 1, axis=0), "The features in "),
        (
            lambda rows: rows[[0, 2, 1, *range(3, len(rows))]],
            "predictions are not what the network",
        ),
    ],
    ids=["all rows", "two rows"],
)
def test_cached_activations_of_other_samples(
    edit: Any,
    expected: str,
    cached: list[str],
    tiny_config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = integrity.open_array

    def leaky(path: Path, *shape: Any) -> Any:
        rows = read(path, *shape)
        return edit(rows) if "features" in path.parts else rows

    monkeypatch.setattr(integrity, "open_array", leaky)
    assert expected in refused(tiny_config(*cached), tmp_path / "run")


def test_cached_activations_of_other_weights(
    tiny_config: Config, own_cache: OwnCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = feature_cache.make_key
    monkeypatch.setattr(
        feature_cache, "make_key", lambda kind, _, device: make(kind, {"blocks": ""}, device)
    )
    words = [*FROZEN, own_cache(tmp_path / "cache")]
    runner.run(tiny_config(*words, "macro.epochs=1"), tmp_path / "run")
    text = refused(tiny_config(*words, "macro.epochs=1", "seed=1"), tmp_path / "other")
    assert "are not those of these samples and blocks: 4 of 4" in text


def test_a_kept_network_keeps_the_evidence_of_its_training(
    tiny_config: Config, own_cache: OwnCache, tmp_path: Path
) -> None:
    words = (*PLAIN, "reuse_networks=true", own_cache(tmp_path / "cache"))
    runner.run(tiny_config(*words), tmp_path / "trained")
    runner.run(tiny_config(*words, "callbacks.svm_head.C=10"), tmp_path / "kept")
    files = sorted((tmp_path / "trained").glob(f"folds/*/{evidence.FILE}"))
    assert len(files) == 2
    for path in files:
        other = tmp_path / "kept" / path.relative_to(tmp_path / "trained")
        assert json.loads(other.read_text()) == json.loads(path.read_text())
    assert failures(tmp_path / "kept") == {}
