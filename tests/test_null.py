"""The leak meter: a clean pipeline passes, and every planted leak is named with its stage."""

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from mer import protocols
from mer.audit import null_full, null_run
from mer.audit.null import null_main, sentences
from mer.audit.null_checks import problems_of_split
from mer.audit.null_meter import Check, Null, Samples, band, feed, measure
from mer.audit.null_stages import Feed, Floats, Pipeline, Pooled, Predicted, predict, reference
from mer.datasets import labels
from mer.protocols import Fold
from mer.runs import rundir
from mer.synthetic.plan import MICRO, plan

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ["negative", "positive", "surprise"]


@pytest.fixture(scope="module")
def composite() -> pd.DataFrame:
    """The layout of the MEGC 2019 composite: 442 samples of 68 persons."""
    scheme = labels.load_scheme("megc2019")
    rows = [
        (clip.key, clip.dataset, f"{clip.dataset}/{clip.subject}", label)
        for clip in plan("megc2019")
        if clip.dataset in MICRO
        and clip.key not in scheme["exclude"]
        and (label := scheme["map"][clip.dataset].get(clip.emotion.lower()))
    ]
    table = pd.DataFrame(rows, columns=["sample_id", "dataset", "subject", "label"])
    assert (len(table), table["subject"].nunique()) == (442, 68)
    return table.assign(person=table["subject"])


def config(**changes: object) -> DictConfig:
    """What the pipeline needs of a configuration; five groups of persons unless changed."""
    return OmegaConf.create(
        {
            "protocol": {"name": "group_kfold", "n_splits": 5, "validation": 0.0},
            "callbacks": {"svm_head": {"_target_": "mer.callbacks.svm_head.SVMHead"}},
            "labels": {"classes": CLASSES},
            "selection": "last",
            "seed": 0,
            **changes,
        }
    )


def clean(**changes: object) -> Pipeline:
    return null_run.of_config(config(**changes))


def by_name(nulls: list[Null]) -> dict[str, Null]:
    return {null.name: null for null in nulls}


def problems(checks: list[Check]) -> str:
    return " | ".join(problem for check in checks for problem in check.problems)


# --- planted stages -------------------------------------------------------------------------------


def random_folds(table: pd.DataFrame) -> list[Fold]:
    """Ten folds of samples, whoever is seen in them; what `KFold(shuffle=True)` gives."""
    ids = np.random.default_rng(0).permutation(table["sample_id"].to_numpy())
    return [
        Fold(f"random-{k}", tuple(np.delete(ids, np.s_[k::10])), (), tuple(ids[k::10]))
        for k in range(10)
    ]


def select_features(given: Feed) -> Feed:
    """Keep the fifty features that differ most between the classes, over all samples."""
    from sklearn.feature_selection import f_classif

    scores = f_classif(given.x[0], given.table["label"])[0]
    return given._replace(x=given.x[:, :, np.argsort(scores)[-50:]])


def scale_all(given: Feed) -> Feed:
    """Z-score with constants of all samples."""
    x = given.x
    return given._replace(x=(x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True))


def oversample(given: Feed) -> Feed:
    """Repeat samples of the rarer classes, under ids of their own, until all are as frequent."""
    rng = np.random.default_rng(0)
    label = given.table["label"]
    most = label.value_counts().max()
    rows = [np.arange(len(label))]
    for _, own in label.groupby(label).groups.items():
        rows.append(rng.choice(own.to_numpy(), most - len(own)))
    taken = np.concatenate(rows)
    table = given.table.iloc[taken].reset_index(drop=True)
    names = table["sample_id"] + [f"+{at}" if at >= len(label) else "" for at in range(len(taken))]
    return Feed(table.assign(sample_id=names), given.x[:, taken])


def guesser(seed: int) -> Callable[..., Callable[[Floats], Floats]]:
    """A head that has learnt nothing but how frequent the classes are."""
    rng = np.random.default_rng(seed)

    def fit(x: Floats, y: NDArray[np.int64], k: int) -> Callable[[Floats], Floats]:
        prior = np.bincount(y, minlength=k) / len(y)
        return lambda new: np.eye(k)[rng.choice(k, len(new), p=prior)]

    return fit


def misaligned(predicted: Predicted, classes: list[str]) -> Pooled:
    """Predictions in the order of the folds beside labels in the order of the table."""
    scores = np.concatenate([batch.scores for batch in predicted.batches])
    ordered = [
        batch._replace(positions=np.arange(len(scores))[at : at + len(batch.scores)])
        for batch, at in zip(
            predicted.batches,
            np.cumsum([0, *(len(batch.scores) for batch in predicted.batches)]),
            strict=False,
        )
    ]
    return reference(10).pool(predicted._replace(batches=ordered), classes)


def forgetful(predicted: Predicted, classes: list[str]) -> Pooled:
    """The last batch is lost, and the score is of those that are there."""
    kept = predicted.batches[:-1]
    positions = np.concatenate([batch.positions for batch in kept])
    table = predicted.table.iloc[positions].reset_index(drop=True)
    place = 0
    moved = []
    for batch in kept:
        size = len(batch.scores)
        moved.append(batch._replace(positions=np.arange(place, place + size)))
        place += size
    return reference(10).pool(predicted._replace(table=table, batches=moved), classes)


# --- the band -------------------------------------------------------------------------------------


def test_the_band_of_the_composite_is_that_of_guessing(composite: pd.DataFrame) -> None:
    low, high = band(composite, CLASSES, repeats=1, by_person=False)
    assert low == pytest.approx(2 * 250 / (442 + 250) / 3)  # always negative: .241
    assert high == pytest.approx(0.33 + 2.58 * 0.021, abs=0.01)  # mean .33, sd .021
    assert band(composite, CLASSES, 9, False)[1] == pytest.approx(0.33 + 2.58 * 0.007, abs=0.005)
    assert band(composite, CLASSES, 1, True)[1] > high + 0.01  # one guess a person spreads more


def test_the_band_follows_the_layout() -> None:
    pairs = pd.DataFrame({"label": ["a", "b"] * 50, "person": [str(i) for i in range(100)]})
    low, high = band(pairs, ["a", "b"], repeats=1, by_person=False)
    assert low == pytest.approx(1 / 3)  # always the same class: F1 2/3 and 0
    assert high == pytest.approx(0.5 + 2.58 * 0.05, abs=0.015)


# --- nulls ----------------------------------------------------------------------------------------


def test_nulls_hold_what_they_say(composite: pd.DataFrame) -> None:
    table = composite.assign(content=composite["sample_id"])
    table.loc[[3, 7], "content"] = "same"
    samples = Samples(table, CLASSES, width=20)
    for null in ("labels", "random", "identity"):
        given = feed(samples, null, 0)
        rows = given.table.set_index("sample_id")
        assert sorted(rows.index) == sorted(table["sample_id"])
        assert list(rows.index) != list(table["sample_id"])  # rows in an order of their own
        same = (rows["label"] == table.set_index("sample_id")["label"].loc[rows.index]).mean()
        # 250, 109 and 83 of 442: a permutation leaves sum of squares = 41.6 % as they were.
        assert same == (pytest.approx(0.416, abs=0.08) if null == "labels" else 1.0)
        again = feed(samples, null, 0)
        assert (again.x == given.x).all() and again.table.equals(given.table)
        assert not np.allclose(feed(samples, null, 1).x, given.x)
    given = feed(samples, "random", 0)
    copies = np.flatnonzero(given.table["content"] == "same")
    assert (given.x[0, copies[0]] == given.x[0, copies[1]]).all()
    assert len(np.unique(given.x[0, :, 0])) == 441
    given = feed(samples, "identity", 0)
    spread = pd.DataFrame(given.x[0]).groupby(given.table["person"].to_numpy())
    assert spread.std().mean().mean() == pytest.approx(0.1, abs=0.02)
    assert spread.mean().std().mean() == pytest.approx(1.0, abs=0.1)


def test_a_clean_pipeline_passes_everything(composite: pd.DataFrame) -> None:
    nulls, checks = measure(clean(), Samples(composite, CLASSES, 32), repeats=3)
    assert [null.name for null in nulls if not null.leaks] == ["labels", "random", "identity"]
    assert problems(checks) == ""
    assert sentences(nulls, checks) == ["Nothing leaks as far as these nulls can see."]


def test_the_reference_itself_is_clean_and_finds_labels(composite: pd.DataFrame) -> None:
    nulls, checks = measure(reference(10), Samples(composite, CLASSES, 32), repeats=3)
    assert not any(null.leaks for null in nulls) and problems(checks) == ""


# --- planted leaks --------------------------------------------------------------------------------


def test_the_best_epoch_on_test_persons_is_found_in_the_selection(composite: pd.DataFrame) -> None:
    cfg = {"protocol": {"name": "loso", "validation": 0.0}, "selection": "oracle"}
    leaky = dataclasses.replace(clean(**cfg), fit=guesser(0))
    samples = Samples(composite, CLASSES, width=2, epochs=5, one_person=True)
    nulls, _ = measure(leaky, samples, repeats=1, names=["random"])
    for null in nulls:
        assert null.mean > 0.47  # .522 expected of five fresh epochs
        assert null.suspects == ["select"]
    assert "It leaks in: selection." in " ".join(sentences(nulls, []))


def test_the_best_epoch_on_validation_persons_is_clean(composite: pd.DataFrame) -> None:
    protocol = {"name": "group_kfold", "n_splits": 5, "validation": 0.3}
    fair = dataclasses.replace(clean(protocol=protocol, selection="validation"), fit=guesser(0))
    nulls, _ = measure(fair, Samples(composite, CLASSES, width=2, epochs=5), repeats=2)
    assert not any(null.leaks for null in nulls)


def test_feature_selection_on_all_samples_is_found(composite: pd.DataFrame) -> None:
    leaky = dataclasses.replace(clean(), features=select_features)
    names = ["labels", "random"]
    nulls, checks = measure(leaky, Samples(composite, CLASSES, 320), repeats=1, names=names)
    found = by_name(nulls)["random"]
    assert found.mean > 0.47  # .571 at width 640 with one person per fold
    assert found.suspects == ["features"]
    assert found.replaced["features"] <= found.high
    assert by_name(nulls)["labels"].suspects == ["features"]
    assert problems(checks) == ""


def test_oversampling_before_a_random_split_is_found(composite: pd.DataFrame) -> None:
    leaky = dataclasses.replace(clean(), enlarge=oversample, split=random_folds)
    nulls, checks = measure(leaky, Samples(composite, CLASSES, 32), repeats=1, names=["random"])
    found = by_name(nulls)["random"]
    assert found.mean > 0.7  # .931 at width 640
    # Copies on the training side are the leak: without them, or with whole persons, it is gone.
    assert set(found.suspects) == {"enlarge", "split"}
    assert "clips have a copy on the other side" in problems(checks)


def test_a_scaler_over_all_samples_does_not_show_and_the_report_says_so(
    composite: pd.DataFrame,
) -> None:
    from mer.audit.null import BLIND

    leaky = dataclasses.replace(clean(), features=scale_all)
    nulls, checks = measure(leaky, Samples(composite, CLASSES, 32), repeats=2)
    assert not any(null.leaks for null in nulls) and problems(checks) == ""
    assert "a scaler that is fitted on all samples" in BLIND and "mer audit RUN" in BLIND


def test_random_folds_are_found_by_identity_alone(composite: pd.DataFrame) -> None:
    leaky = dataclasses.replace(clean(), split=random_folds)
    names = ["random", "identity"]
    nulls, checks = measure(leaky, Samples(composite, CLASSES, 32), repeats=1, names=names)
    assert by_name(nulls)["identity"].mean > 0.45  # .495
    assert by_name(nulls)["identity"].suspects == ["split"]
    assert not by_name(nulls)["random"].leaks
    assert "persons on two sides of a fold" in problems(checks)


def test_ids_without_their_dataset_are_persons_that_collapse(composite: pd.DataFrame) -> None:
    bare = composite["subject"].str.extract(r"(\d+)$")[0].astype(int).astype(str)
    protocol = {"name": "loso", "validation": 0.0}
    folds = protocols.make_folds(composite.assign(person=bare), **protocol)
    table = composite.assign(content=composite["sample_id"])
    assert "68 persons collapse to 35" in " ".join(problems_of_split(table, folds, True))
    known = table.assign(person=bare)
    assert "68 subjects collapse to 35 persons" in " ".join(problems_of_split(known, folds, True))
    # Where only the training side goes by them, the same person stands on both sides.
    samm = composite[composite["dataset"] == "samm"]
    rest = composite[composite["dataset"] != "samm"]
    half = [
        Fold("f", (*rest["sample_id"], *samm["sample_id"][1:]), (), (samm["sample_id"].iloc[0],))
    ]
    assert "persons on two sides of a fold: samm/006" in problems_of_split(table, half, True)[0]
    sound = protocols.make_folds(composite, **protocol)
    assert problems_of_split(table, sound, True) == []


def test_weights_that_know_test_persons_are_found_in_the_pretraining(
    composite: pd.DataFrame,
) -> None:
    knowing = null_run.knowing(set(composite["person"]))
    nulls, checks = measure(
        dataclasses.replace(clean(), pretrain=knowing), Samples(composite, CLASSES, 32), repeats=1
    )
    for name in ("random", "identity"):
        assert by_name(nulls)[name].mean > 0.9
        assert by_name(nulls)[name].suspects == ["pretrain"]
    assert problems(checks) == ""  # the folds themselves are sound


def test_weights_that_know_nobody_whom_they_are_tested_on_change_nothing(
    composite: pd.DataFrame,
) -> None:
    given = feed(Samples(composite, CLASSES, 8), "random", 0)
    changed = []
    for fold in clean().split(composite):
        assert null_run.knowing({"ckplus/S005"})(given, fold) is given
        changed.append(null_run.knowing({"smic/s3"})(given, fold) is not given)
    assert sum(changed) == 1  # the fold that tests this person


def test_misaligned_rows_are_found_by_the_control(composite: pd.DataFrame) -> None:
    leaky = dataclasses.replace(clean(), pool=misaligned)
    nulls, checks = measure(leaky, Samples(composite, CLASSES, 32), repeats=1)
    assert "with the labels as features, UF1 is 0.3" in problems(checks)
    assert "not 1.000: rows are misaligned" in problems(checks)
    assert not any(null.leaks for null in nulls)  # nonsense stays nonsense in any order


def test_a_lost_batch_is_found_and_the_runs_own_pooling_refuses_it(
    composite: pd.DataFrame,
) -> None:
    leaky = dataclasses.replace(clean(), pool=forgetful)
    _, checks = measure(leaky, Samples(composite, CLASSES, 8), repeats=1, names=["random"])
    assert "of 442 samples are in the score" in problems(checks)
    assert "a lost batch is not noticed" in problems(checks)

    def lose(predicted: Predicted, classes: list[str]) -> Pooled:
        return null_run.pool(predicted._replace(batches=predicted.batches[1:]), classes)

    nulls, checks = measure(
        dataclasses.replace(clean(), pool=lose), Samples(composite, CLASSES, 8), repeats=1
    )
    assert nulls == []
    assert "not predicted" in problems(checks)


def test_copies_of_clips_under_other_ids_are_found(composite: pd.DataFrame) -> None:
    """Every clip comes twice, the second time as somebody else's."""
    persons = composite["person"].unique()
    other = dict(zip(persons, np.roll(persons, 1), strict=True))
    content = composite.assign(content=composite["sample_id"])
    twice = content.assign(
        sample_id="copy/" + content["sample_id"],
        person=content["person"].map(other),
        subject=content["subject"].map(other),
    )
    both = pd.concat([content, twice], ignore_index=True)
    nulls, checks = measure(clean(), Samples(both, CLASSES, 64), repeats=1, names=["random"])
    found = by_name(nulls)["random"]
    assert found.leaks and "samples" in found.suspects
    assert "clips have a copy on the other side" in problems(checks)


def test_two_leaks_at_once_are_named_together(composite: pd.DataFrame) -> None:
    """Labels reach the embeddings twice: no single clean stage is a cure."""

    def tell(given: Feed, *_: object) -> Feed:
        return null_run.remember(given, np.ones(len(given.table), bool))

    leaky = dataclasses.replace(clean(), features=tell, pretrain=tell)
    nulls, checks = measure(leaky, Samples(composite, CLASSES, 16), repeats=1, names=["random"])
    for null in nulls:
        assert null.together and set(null.suspects) == {"features", "pretrain"}
    assert "It leaks in several stages" in " ".join(sentences(nulls, checks))


# --- a run directory ------------------------------------------------------------------------------


def a_run(folder: Path, table: pd.DataFrame, folds: list[Fold], **changes: object) -> Path:
    """What a run leaves, as far as the meter reads it; no data and no weights."""
    folder.mkdir(parents=True)
    cfg = config(**changes)
    cfg = OmegaConf.merge(cfg, {"paths": {"cache": str(folder)}, "model": {"epochs": 5}})
    OmegaConf.save(cfg, folder / "config.yaml")
    fold_of = {sample: fold.name for fold in folds for sample in fold.test}
    table.assign(fold=table["sample_id"].map(fold_of)).to_parquet(folder / "manifest.parquet")
    sides = [
        (fold.name, sample, side)
        for fold in folds
        for side in ("train", "validation", "test")
        for sample in getattr(fold, side)
    ]
    frame = pd.DataFrame(sides, columns=["fold", "sample_id", "side"])
    frame.to_parquet(folder / "splits.parquet")
    return folder


def ask(json_: bool = False) -> argparse.Namespace:
    return argparse.Namespace(json=json_, repeats=1, full=False)


def test_the_folds_that_a_run_froze_are_measured(
    composite: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    sound = a_run(tmp_path / "sound", composite, clean().split(composite))
    assert null_main(sound, ask()) == 0
    printed = capsys.readouterr().out
    assert "Nothing leaks as far as these nulls can see." in printed
    assert "copies of clips are not looked for" in printed
    stored = json.loads((sound / "null.json").read_text())
    assert (stored["verdict"], len(stored["nulls"])) == ("clean", 3)

    leaky = a_run(tmp_path / "leaky", composite, random_folds(composite))
    assert null_main(leaky, ask(json_=True)) == 1
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((leaky / "null.json").read_text())
    identity = {null["null"]: null for null in told["nulls"]}["identity"]
    assert (identity["verdict"], identity["suspects"]) == ("leaks", ["split"])
    assert identity["uf1"] > identity["band"][1]


def test_weights_of_a_run_tell_whom_they_know_and_its_heads_their_width(
    composite: pd.DataFrame, tmp_path: Path
) -> None:
    folds = clean().split(composite)
    run = a_run(tmp_path / "run", composite, folds)
    person = dict(zip(composite["sample_id"], composite["person"], strict=True))
    for fold in folds:
        folder = rundir.fold_folder(run, fold.name)
        folder.mkdir(parents=True)
        trained = sorted({person[sample] for sample in fold.train})
        transfer = {"persons": sorted({person[sample] for sample in fold.test})}
        torch.save({"mer": {"persons": trained, "transfer": transfer}}, folder / "model.ckpt")
        torch.save({"SVMHead": {"tensors": {"mean": torch.zeros(24)}}}, folder / "heads.pt")
    read = null_run.read(run)
    assert read.samples.width == 24
    given = feed(read.samples, "identity", 0)
    predicted = predict(read.pipeline, given, CLASSES)
    assert read.pipeline.pool(predicted, CLASSES).uf1 > 0.9
    assert not any("no weights" in remark for remark in read.remarks)


@pytest.mark.slow
def test_the_whole_training_is_measured_on_the_runs_own_inputs(
    tiny_config: Callable[..., DictConfig], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from mer.data import sources
    from mer.training import runner

    cfg = tiny_config("macro.enabled=false", "model.epochs=1")
    runner.run(cfg, tmp_path / "run")
    load = sources.load
    read = null_run.read(tmp_path / "run")
    assert read.samples.images is not None and "content" in read.samples.table
    words = ["--full", "--epochs", "1", "--repeats", "1", "--json"]
    null_main(tmp_path / "run", words)
    assert sources.load is load
    told = json.loads(capsys.readouterr().out)
    assert [null["null"] for null in told["nulls"]][3:] == ["full-svm", "full-softmax"]
    with null_full.permuted_labels(0):
        permuted = sources.load(cfg, "micro").table
    true = sources.load(cfg, "micro").table
    assert sorted(permuted["label"]) == sorted(true["label"])
    assert (permuted["label"] != true["label"]).any()
    assert (permuted["sample_id"] == true["sample_id"]).all()
