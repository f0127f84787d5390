"""Whole runs on the tiny corpora: unlabelled tests, disjoint, resumable, repeatable."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from mer.cache import entries
from mer.config.composition import compose, typed
from mer.data import sources
from mer.data.datamodule import MERDataModule
from mer.data.dataset import UnifiedDataset
from mer.errors import MerError
from mer.models.modules import MicroFinetuneModule
from mer.runs import claims
from mer.training import runner
from mer.training.evaluate import evaluate
from tests.builders import Config, fails_after_one_fold


@pytest.fixture(scope="module")
def finished(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a finished run with validation persons."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    runner.run(tiny_config("protocol.validation=0.3"), run_dir)
    return run_dir


def predictions(run_dir: Path) -> pd.DataFrame:
    return pd.read_parquet(run_dir / "predictions.parquet")


def test_every_sample_is_tested_exactly_once(finished: Path) -> None:
    manifest = pd.read_parquet(finished / "manifest.parquet")
    assert predictions(finished)["sample_id"].is_unique
    assert set(predictions(finished)["sample_id"]) == set(manifest["sample_id"])


def test_run_directory_holds_what_it_promises(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["status"] == "complete"
    assert set(metrics["heads"]) == {"svm", "softmax", "baseline", "majority"}
    assert set(metrics["heads"]["svm"]) == {"pooled", "casme2", "samm", "smic"}
    pooled = metrics["heads"]["svm"]["pooled"]
    table = predictions(finished)
    assert pooled["samples"] == len(table) == np.sum(pooled["confusion"])
    assert pooled["accuracy"] == pytest.approx((table["svm"] == table["label"]).mean())
    folds = pd.read_csv(finished / "folds.csv")
    assert folds["test_samples"].sum() == len(table)
    environment = json.loads((finished / "environment.json").read_text())
    assert environment[0]["seed"] == 0
    assert environment[0]["packages"]["torch"] == torch.__version__.split("+")[0]


def test_persons_of_weights_and_test_are_disjoint(finished: Path) -> None:
    """From the artefacts alone: who trained or chose the weights, macro or micro, is not tested."""
    table = predictions(finished)
    for fold, part in table.groupby("fold"):
        path = finished / "folds" / fold / "model.ckpt"
        provenance = torch.load(path, weights_only=True)["mer"]
        known = set(provenance["persons"])
        assert not known & set(part["person"])
        datasets = {person.split("/")[0] for person in known}
        assert {"ckplus", "oulu_casia", "mug"} < datasets  # the pool, and micro persons


def test_a_macro_person_who_is_tested_leaves_the_pool(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny_config("protocol.n_splits=2", "callbacks=none", "macro.epochs=1", "model.epochs=1")
    load = sources.load
    shared = {}

    def with_shared_person(cfg: DictConfig, role: str, *rest: object) -> sources.Corpus:
        corpus = load(cfg, role, *rest)
        if role == "macro":
            first = corpus.table["person"] == corpus.table["person"].iloc[0]
            shared["subject"] = corpus.table.loc[first, "person"].iloc[0]
            shared["human"] = load(cfg, "micro").table["person"].iloc[0]
            corpus.table.loc[first, "person"] = shared["human"]
        return corpus

    monkeypatch.setattr("mer.data.sources.load", with_shared_person)
    runner.run(cfg, tmp_path / "run")
    for path in (tmp_path / "run" / "folds").glob("*/model.ckpt"):
        persons = torch.load(path, weights_only=True)["mer"]["persons"]
        assert shared["subject"] not in persons


def test_test_labels_are_withheld_and_training_loaders_hold_no_test_person(
    tiny_config: Config,
) -> None:
    cfg = tiny_config()
    corpus = sources.load(typed(cfg), "micro")
    dataset = UnifiedDataset(corpus.table, corpus.stores, corpus.classes, typed(cfg).input)
    person = corpus.table["person"]
    tested = person == person.iloc[0]
    train, test = np.flatnonzero(~tested), np.flatnonzero(tested)
    data = MERDataModule(dataset, train, np.empty(0, np.int64), test, batch_size=4)
    for batch in data.predict_dataloader():
        assert (batch["label"] == -1).all()
        assert set(person.iloc[batch["index"].numpy()]) == {person.iloc[0]}
    for loader in (data.train_dataloader(), data.embedding_dataloader()):
        for batch in loader:
            assert (batch["label"] >= 0).all()
            assert person.iloc[0] not in set(person.iloc[batch["index"].numpy()])
    assert data.val_dataloader() == []


def test_one_seed_gives_one_result_and_resuming_equals_not_stopping(
    tiny_config: Config, finished: Path, tmp_path: Path
) -> None:
    cfg = tiny_config("protocol.validation=0.3")
    with fails_after_one_fold(KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        runner.run(cfg, tmp_path)
    assert not (tmp_path / "predictions.parquet").exists()
    kept = next((tmp_path / "folds").glob("*/predictions.parquet"))
    written = kept.stat().st_mtime_ns
    torch.manual_seed(99)  # what ran before must not matter
    runner.run(cfg, tmp_path)
    assert kept.stat().st_mtime_ns == written
    pd.testing.assert_frame_equal(predictions(tmp_path), predictions(finished))


def test_another_seed_gives_another_result(
    tiny_config: Config, finished: Path, tmp_path: Path
) -> None:
    runner.run(tiny_config("protocol.validation=0.3", "seed=1", "macro.enabled=false"), tmp_path)
    scores = [c for c in predictions(finished) if c.startswith("softmax_")]
    other = predictions(tmp_path)[scores].to_numpy()
    assert not np.allclose(predictions(finished)[scores].to_numpy(), other)


def test_macro_weights_are_reused(
    tiny_config: Config, finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = tiny_config("protocol.validation=0.3", "model.epochs=1")
    weights = list(Path(cfg.paths.cache, "macro").glob("*/best.ckpt"))
    times = {path: path.stat().st_mtime_ns for path in weights}
    runner.run(cfg, tmp_path)
    after = {p: p.stat().st_mtime_ns for p in Path(cfg.paths.cache, "macro").glob("*/best.ckpt")}
    assert {path: after[path] for path in times} == times
    assert "macro-pretraining of" not in caplog.text


def test_a_shortened_pretraining_does_not_stand_in_for_a_whole_one(
    tiny_config: Config, finished: Path, tmp_path: Path
) -> None:
    cfg = tiny_config("model.epochs=1", "callbacks=none", "+trainer.limit_train_batches=1")
    before = {entry.path for entry in entries(cfg.paths.cache, "macro")}
    runner.run(cfg, tmp_path)
    made = {entry.path for entry in entries(cfg.paths.cache, "macro")} - before
    records = [json.loads((path / "settings.json").read_text()) for path in made]
    shortened = [one for one in records if "'limit_train_batches': 1" in str(one)]
    assert len(shortened) == 1  # tests in other processes may fill the same cache


def test_selection_by_validation_keeps_the_best_epoch(tiny_config: Config, tmp_path: Path) -> None:
    cfg = tiny_config(
        "protocol.validation=0.3", "selection=validation", "model.epochs=4", "macro.enabled=false"
    )
    runner.run(cfg, tmp_path)
    for row in pd.read_csv(tmp_path / "folds.csv").itertuples():
        folder = tmp_path / "folds" / row.fold
        history = pd.read_csv(folder / "metrics.csv").dropna(subset=["val/uf1"])
        assert row.best_epoch == history["epoch"].iloc[history["val/uf1"].argmax()]


def test_a_directory_belongs_to_one_configuration(
    tiny_config: Config, finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(MerError) as error:
        changed = ("model.epochs=7", "seed=5", "trainer.precision=bf16-mixed", "trainer.devices=2")
        runner.run(tiny_config("protocol.validation=0.3", *changed), finished)
    assert "model.epochs: 2 there, 7 now" in str(error.value)
    assert "trainer.precision: 32-true there, bf16-mixed now" in str(error.value)
    assert "devices" not in str(error.value)
    assert "seed: 0 there, 5 now" in str(error.value)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(MerError, match=r"is not empty and holds no run \(found thesis.tex\)"):
        runner.run(tiny_config(), tmp_path)


def test_a_run_whose_place_another_has_taken_trains_nothing(
    tiny_config: Config, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny_config("macro.enabled=false")

    def write(folder: Path, *_: object) -> None:
        claims.claim(folder, replace(typed(cfg), seed=9))  # by another process

    monkeypatch.setattr("mer.runs.environment.write", write)
    with pytest.raises(MerError, match="seed: 9 there, 0 now"):
        runner.run(cfg, tmp_path / "run")
    assert not (tmp_path / "run" / "folds").exists()


def test_a_table_without_apex_is_resumed_and_a_changed_label_is_noticed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = rng.integers(0, 255, (12, 28, 28, 3), dtype=np.uint8)
    subjects = np.repeat([f"p{i}" for i in range(4)], 3)
    columns = {"subject": subjects, "clip": [f"c{i}" for i in range(12)], "flow_bgr": arrays}
    words = [
        "data=htnet_flow",
        f"data.root={tmp_path}",
        f"paths.cache={tmp_path / 'cache'}",
        "data.check_counts=false",
        "+data.micro.flow.name=mylab",
        "protocol=group_kfold",
        "protocol.n_splits=2",
        "backbone=tiny",
        "input.size=32",
        "model.epochs=1",
        "macro.enabled=false",
        "trainer.accelerator=cpu",
        "trainer.folds_at_once=1",
    ]
    np.savez(tmp_path / "megc2019_flow.npz", label=np.tile([0, 1, 2], 4), **columns)
    for _ in range(2):  # the second start finds the first's manifest
        assert runner.run(compose(words), tmp_path / "run")["status"] == "complete"
    np.savez(tmp_path / "megc2019_flow.npz", label=np.tile([0, 2, 1], 4), **columns)
    with pytest.raises(MerError, match=r"The samples have changed since .*run was started"):
        runner.run(compose(words), tmp_path / "run")


def test_no_headline_while_a_fold_is_missing(
    tiny_config: Config, finished: Path, tmp_path: Path
) -> None:
    from mer.runs import results

    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    fold = next((copy / "folds").iterdir())
    (fold / "predictions.parquet").unlink()
    result = results.pool(copy, OmegaConf.load(copy / "config.yaml"))
    assert result["status"] == "incomplete"
    assert result["missing_folds"] == [fold.name]
    assert "heads" not in result


def test_lost_doubled_and_strange_samples_are_refused(finished: Path) -> None:
    from mer.runs import results

    manifest = pd.read_parquet(finished / "manifest.parquet")
    whole = predictions(finished)
    first = whole["sample_id"].iloc[0]
    with pytest.raises(MerError, match=f"1 samples not predicted: {first}"):
        results.join(whole.iloc[1:], manifest)
    with pytest.raises(MerError, match=f"1 samples predicted more than once: {first}"):
        results.join(pd.concat([whole, whole.iloc[:1]]), manifest)
    renamed = whole.assign(sample_id=whole["sample_id"].replace(first, "casme2/sub99/EP01"))
    with pytest.raises(MerError, match="1 samples predicted but not in the manifest: casme2/sub99"):
        results.join(renamed, manifest)


def test_rows_meet_labels_by_id_not_by_order(finished: Path) -> None:
    from mer.runs import results

    manifest = pd.read_parquet(finished / "manifest.parquet")
    whole = predictions(finished)
    shuffled = whole.drop(columns="label").sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(results.join(shuffled, manifest), results.join(whole, manifest))


def test_evaluation_repeats_the_stored_predictions(finished: Path) -> None:
    result = evaluate(finished)
    assert result["different_labels"] == {"svm": 0, "softmax": 0}
    stored = json.loads((finished / "metrics.json").read_text())
    assert result["heads"] == {k: v for k, v in stored["heads"].items() if k != "baseline"}


def test_evaluation_with_another_head_leaves_the_scores_as_they_were(finished: Path) -> None:
    before = json.loads((finished / "metrics.json").read_text())
    predicted = (finished / "predictions.parquet").read_bytes()
    result = evaluate(finished, ["callbacks.svm_head.kernel=linear"])
    assert Path(result["written"]).exists()
    after = json.loads((finished / "metrics.json").read_text())
    assert {
        **after,
        "looks": 1,
        "warnings": [],
        "remarks": [],
    } == before  # but it says that somebody looked
    assert (finished / "predictions.parquet").read_bytes() == predicted
    with pytest.raises(MerError, match=r"`model.epochs=9` cannot change in an evaluation"):
        evaluate(finished, ["model.epochs=9"])
    with pytest.raises(
        MerError, match=r"`callbacks.svm_head.c` is not in .*config.yaml; there are"
    ):
        evaluate(finished, ["callbacks.svm_head.c=9"])


def test_a_run_that_names_foreign_code_is_not_evaluated(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    cfg = OmegaConf.load(copy / "config.yaml")
    cfg.callbacks.svm_head = {"_target_": "os.system", "command": f"touch {tmp_path / 'called'}"}
    OmegaConf.save(cfg, copy / "config.yaml")  # not by the user who made the run
    with pytest.raises(MerError, match=r"callbacks.svm_head._target_=os.system"):
        evaluate(copy)
    copy = Path(shutil.copytree(finished, tmp_path / "other"))
    checkpoint = next((copy / "folds").glob("*/model.ckpt"))
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["backbone"]["_target_"] = "os.system"
    torch.save(content, checkpoint)
    with pytest.raises(MerError, match=r"model.ckpt names code.*\n  - backbone._target_=os.system"):
        evaluate(copy)
    assert not (tmp_path / "called").exists()


def test_weights_are_refused_on_their_own_persons(finished: Path) -> None:
    from mer.models.transfer import refuse_known_persons

    fold = next((finished / "folds").iterdir())
    module = MicroFinetuneModule.load_from_checkpoint(fold / "model.ckpt")
    with pytest.raises(MerError, match=module.provenance["persons"][0]):
        refuse_known_persons(module.provenance, set(module.provenance["persons"][:1]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("selection=best", "selection is best; set last, validation or oracle"),
        ("selection=validation", "set protocol.validation to a share"),
        ("prepare.flow.method=null", "input=flow needs flow, but prepare.flow.method is null"),
        ("model.transfer.blocks=null", "model.transfer.blocks is null"),
        ("model.batch_size=1", "model.batch_size is 1; set 2 or more"),
        ("protocol.n_splits=99", "protocol.n_splits is 99; with"),
        ("labels=casme2-5", "no sample has a class in the label scheme"),
    ],
)
def test_contradictions_are_found_before_anything_runs(
    tiny_config: Config, tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(MerError, match=message):
        runner.run(tiny_config(override), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_all_missing_datasets_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(MerError) as error:
        runner.run(compose(["data=megc2019", f"data.root={tmp_path}"]), tmp_path / "run")
    for name in ("micro.casme2", "micro.samm", "micro.smic", "macro.ckplus", "macro.oulu_casia"):
        assert f"data.{name}" in str(error.value)
    assert not (tmp_path / "run").exists()
