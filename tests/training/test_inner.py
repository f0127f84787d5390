"""Choices inside a fold: made on its training persons alone, written down, and not made twice."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from mer import protocols
from mer.audit import Artefacts
from mer.audit.check_choices import check_selection
from mer.callbacks.epochs import RecordEpochs
from mer.config.composition import typed
from mer.config.settings import Settings, updated
from mer.data import sources
from mer.errors import MerError
from mer.protocols import Fold
from mer.runs import rundir
from mer.runs.observers import RunContext
from mer.training import fold, inner, runner
from mer.training.inner import Part

Config = Callable[..., DictConfig]

WORDS = [
    "protocol.n_splits=2",
    "protocol.inner.n_splits=2",
    "protocol.inner.choose=[epochs,svm,thresholds]",
    "protocol.inner.svm.C=[0.1,10]",
    "protocol.inner.svm.gamma=[scale]",
    "macro.enabled=false",
    "model.epochs=3",
]


def table(persons: int = 12, dataset: str = "a") -> pd.DataFrame:
    """Two samples per person, one of either class."""
    rows = [
        (f"{dataset}/{person:02d}/{clip}", dataset, f"{dataset}/{person:02d}", f"{'xy'[clip]}")
        for person in range(persons)
        for clip in range(2)
    ]
    return pd.DataFrame(rows, columns=["sample_id", "dataset", "person", "label"])


def one_hot(classes: list[int]) -> np.ndarray:
    """Logits whose arg-max are these classes. Shape: (N, 2)."""
    return np.eye(2)[classes] * 4.0


def part(epochs: list[list[int]], labels: list[int], embeddings: np.ndarray | None = None) -> Part:
    """An inner split whose network says these classes after each epoch."""
    if embeddings is None:
        embeddings = np.arange(len(labels), dtype=float)[:, None]
    several = np.stack([embeddings] * len(epochs))
    logits = np.stack([one_hot(said) for said in epochs])
    return Part(np.array(labels), np.array(labels), logits, several, several)


def test_inner_sides_share_no_person_and_leave_out_validation_and_test(
    tiny_config: Config,
) -> None:
    samples = pd.concat([table(12), table(6, "b")], ignore_index=True)
    outer = protocols.make_folds(samples, name="loso", validation=0.2, seed=0)[0]
    person = samples.set_index("sample_id")["person"]
    away = {*person[list(outer.test)], *person[list(outer.validation)]}
    held: list[str] = []
    for split in protocols.inner_folds(samples, outer, 3):
        train, validation = set(person[list(split.train)]), set(person[list(split.validation)])
        assert not train & validation and not (train | validation) & away
        assert not split.test
        assert {name.split("/")[0] for name in validation} == {"a", "b"}
        assert train | validation == set(person[list(outer.train)])
        held += split.validation
    assert sorted(held) == sorted(outer.train)
    with pytest.raises(MerError, match=r"n_splits is 40; with 14 training persons"):
        protocols.inner_folds(samples, outer, 40)


def test_inner_sides_do_not_depend_on_labels_of_the_test_person() -> None:
    samples = table(9)
    outer = protocols.make_folds(samples, name="loso", seed=3)[4]
    before = protocols.inner_folds(samples, outer, 3, seed=3)
    samples.loc[samples["sample_id"].isin(outer.test), "label"] = "y"
    assert protocols.inner_folds(samples, outer, 3, seed=3) == before


def chooser(cfg: DictConfig, **inner: object) -> Settings:
    """Settings with these inner choices."""
    return updated(typed(cfg), {"protocol": {"inner": inner}}, "")


def test_the_epoch_is_the_best_of_the_pooled_predictions_not_of_their_mean(
    tiny_config: Config,
) -> None:
    cfg = chooser(tiny_config(), choose=["epochs"])
    # Pooled UF1 by hand, truth 0 0 1 1: epoch 1 says 0 0 0 0: (2*2/6 + 0) / 2 = 1/3; epoch 2 says
    # 0 0 1 0: (4/5 + 2/3) / 2 = 11/15; epoch 3 says 0 1 1 1, which is worth as much; 4 all ones.
    parts = [
        part([[0, 0], [0, 0], [0, 1], [1, 1]], [0, 0]),
        part([[0, 0], [1, 0], [1, 1], [1, 1]], [1, 1]),
    ]
    found = inner.decide(cfg, parts, 2)["epochs"]
    assert found["candidates"] == [1, 2, 3, 4]
    assert found["uf1"] == pytest.approx([1 / 3, 11 / 15, 11 / 15, 1 / 3])
    assert found["chosen"] == 2  # of equal ones the earlier


def test_the_svm_is_fitted_at_the_chosen_epoch_and_the_best_setting_wins(
    tiny_config: Config,
) -> None:
    # Class 1 lies between two halves of class 0: no line separates them, an rbf kernel does.
    line = np.array([-3.0, -2.9, -0.1, 0.1, 2.9, 3.0])[:, None]
    labels = [0, 0, 1, 1, 0, 0]
    useless = np.zeros_like(line)
    split = part([labels, [1 - k for k in labels]], labels)
    split = split._replace(
        train_embeddings=np.stack([line, useless]), embeddings=np.stack([line, useless])
    )
    lists = {"C": [10.0], "gamma": ["scale", 0.01], "kernel": ["linear", "rbf"]}
    cfg = chooser(tiny_config(), choose=["epochs", "svm"], svm=lists)
    found = inner.decide(cfg, [split, split], 2)
    assert found["epochs"]["chosen"] == 1
    names = [(one["kernel"], one["gamma"]) for one in found["svm"]["candidates"]]
    assert names == [("linear", "scale"), ("rbf", "scale"), ("rbf", 0.01)]
    assert found["svm"]["uf1"][1] == 1.0 > found["svm"]["uf1"][0]
    assert found["svm"]["chosen"] == {"kernel": "rbf", "C": 10.0, "gamma": "scale"}


def test_offsets_mend_a_class_that_is_never_said_and_change_no_probability(
    tiny_config: Config,
) -> None:
    p = np.array([[0.7, 0.3], [0.8, 0.2], [0.6, 0.4], [0.55, 0.45]])
    split = part([[0, 0, 0, 0]], [0, 0, 1, 1])._replace(logits=np.log(p)[None])
    # Log-odds of class 1: -0.85, -1.39, -0.41, -0.20, so +0.5 separates, +1 turns over the first.
    offsets = [-0.5, 0.0, 0.5, 1.0]
    cfg = chooser(tiny_config("callbacks=none"), choose=["thresholds"], offsets=offsets)
    found = inner.decide(cfg, [split], 2)["thresholds"]["softmax"]
    scores = dict(zip(map(tuple, found["candidates"]), found["uf1"], strict=True))
    assert found["candidates"][0] == [0.0, 0.0]
    assert scores[0.0, 0.0] == pytest.approx(1 / 3) and scores[0.0, 0.5] == 1.0
    assert scores[0.0, 1.0] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["chosen"] == [0.0, 0.5]

    frame = pd.DataFrame({"softmax_x": p[:, 0], "softmax_y": p[:, 1], "softmax": "x"})
    decided = inner.apply_thresholds(frame, {"thresholds": {"softmax": [0.0, 0.5]}}, ["x", "y"])
    assert decided["softmax"].tolist() == ["x", "x", "y", "y"]
    assert frame["softmax"].tolist() == ["x"] * 4
    numbers = ["softmax_x", "softmax_y"]
    pd.testing.assert_frame_equal(decided[numbers], frame[numbers])


def test_contradictions_are_refused_together(tiny_config: Config) -> None:
    cfg = tiny_config(
        "protocol.inner.n_splits=2",
        "protocol.inner.choose=[epochs,svm]",
        "protocol.validation=0.2",
        "selection=validation",
        "callbacks=none",
        "reuse_networks=true",
    )
    with pytest.raises(MerError) as caught:
        inner.check(typed(cfg))
    for said in (
        "selection=validation and protocol.inner both choose the epoch",
        "names svm, and no SVM head is named svm",
        "reuse_networks=true",
    ):
        assert said in str(caught.value)


def pretend(samples: pd.DataFrame) -> Callable[[Fold, RecordEpochs], None]:
    """A training whose network says chance after epoch 1, the truth after 2, class 0 after 3."""
    labels = (samples["label"] == "y").to_numpy().astype(int)

    def train(split: Fold, recorder: RecordEpochs) -> None:
        for epoch in range(3):
            said = {}
            for side, positions in recorder.positions.items():
                own = labels[positions]
                guess = [positions % 2, own, own * 0][epoch]
                shown = one_hot(list(guess)).astype(np.float32)
                said[side] = (shown, shown + np.float32(0.01) * positions[:, None])
            recorder.epochs.append(said)
        recorder.index = dict(recorder.positions)

    return train


def test_a_finished_inner_training_is_not_repeated_after_a_kill(
    tiny_config: Config, tmp_path: Path
) -> None:
    samples, classes = table(8), ["x", "y"]
    # Positions tell nothing of the class, so only the second epoch is right.
    samples = samples.sample(frac=1, random_state=0).reset_index(drop=True)
    outer = protocols.make_folds(samples, name="loso")[0]
    cfg = tiny_config("protocol.inner.n_splits=3", "protocol.inner.svm.C=[1.0,10.0]")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    trained = []

    def choose(folder: Path, until: int) -> dict[str, object]:
        folder.mkdir(exist_ok=True)

        def train(split: Fold, recorder: RecordEpochs) -> None:
            if len(trained) == until:
                raise KeyboardInterrupt
            trained.append(split.name)
            pretend(samples)(split, recorder)

        return inner.choose(typed(cfg), samples, classes, outer, folder, train)

    chosen = choose(whole, 99)
    assert chosen["epochs"] == 2
    trained.clear()
    with pytest.raises(KeyboardInterrupt):
        choose(killed, 2)
    assert choose(killed, 99) == chosen
    assert trained == [f"{outer.name}-inner-{number}" for number in range(3)]
    assert choose(killed, 3) == chosen  # nothing is trained any more
    assert (killed / "inner.json").read_text() == (whole / "inner.json").read_text()
    assert [path.name for path in killed.iterdir()] == ["inner.json"]


@pytest.fixture(scope="module")
def finished(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with inner choices."""
    run_dir = tmp_path_factory.mktemp("inner") / "run"
    runner.run(tiny_config(*WORDS), run_dir)
    return run_dir


@pytest.mark.slow
def test_a_run_follows_its_inner_choices(finished: Path) -> None:
    splits = pd.read_parquet(finished / "splits.parquet")
    person = pd.read_parquet(finished / "manifest.parquet").set_index("sample_id")["person"]
    for folder in sorted((finished / "folds").iterdir()):
        content = json.loads((folder / "inner.json").read_text())
        chosen = inner.made(content["choices"])
        sides = splits[splits["fold"] == folder.name].groupby("side")["sample_id"].agg(list)
        for split in content["splits"]:
            assert {*split["train"], *split["validation"]} == set(person[sides["train"]])
        assert json.loads((folder / "fold.json").read_text())["epochs"] == chosen["epochs"]
        assert len(pd.read_csv(folder / "metrics.csv")) <= 2 * chosen["epochs"]
        provenance = torch.load(folder / "model.ckpt", weights_only=True)["mer"]
        assert provenance["inner"] == chosen
        head = torch.load(folder / "heads.pt", weights_only=True)["svm"]
        assert head["settings"]["kernel"] == chosen["svm"]["kernel"]
        assert not list(folder.glob("inner-*"))
        frame = pd.read_parquet(folder / "predictions.parquet")
        scores = frame[[name for name in frame if name.startswith("svm_")]].to_numpy()
        classes = [name.removeprefix("svm_") for name in frame if name.startswith("svm_")]
        said = (scores + chosen["thresholds"]["svm"]).argmax(axis=1)
        assert frame["svm"].tolist() == [classes[at] for at in said]


@pytest.mark.slow
def test_a_killed_inner_choice_goes_on_and_gives_the_same(
    finished: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny_config(*WORDS, "protocol.folds=group-00")
    trained, train = [], inner._train

    def killed(split: Fold, *rest: object) -> None:
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(split.name)
        train(split, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(inner, "_train", killed)
    with pytest.raises(KeyboardInterrupt):
        runner.run(cfg, tmp_path / "run")
    folder = tmp_path / "run" / "folds" / "group-00"
    assert [path.name for path in folder.glob("inner-*")] == ["inner-0.npz"]
    trained.clear()
    monkeypatch.setattr(
        inner, "_train", lambda split, *rest: (trained.append(split.name), train(split, *rest))
    )
    runner.run(cfg, tmp_path / "run")
    assert trained == ["group-00-inner-1"]
    whole = finished / "folds" / "group-00"
    assert (folder / "inner.json").read_text() == (whole / "inner.json").read_text()
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "predictions.parquet"),
        pd.read_parquet(whole / "predictions.parquet"),
    )


@pytest.mark.slow
def test_labels_of_the_test_persons_do_not_reach_the_choice(
    finished: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = pd.read_parquet(finished / "splits.parquet")
    mine = splits["fold"] == "group-00"
    tested = set(splits.loc[mine & (splits["side"] == "test"), "sample_id"])
    sides = {
        side: tuple(part["sample_id"]) for side, part in splits[mine].groupby("side", sort=False)
    }
    outer = Fold("group-00", sides["train"], (), sides["test"])
    load = sources.load

    def permuted(*words: object, **more: object) -> sources.Corpus:
        corpus = load(*words, **more)  # type: ignore[arg-type]
        rows = corpus.table["sample_id"].isin(tested)
        wrong = {"negative": "positive", "positive": "surprise", "surprise": "negative"}
        labels = corpus.table["label"].where(~rows, corpus.table["label"].map(wrong))
        return corpus._replace(table=corpus.table.assign(label=labels))

    monkeypatch.setattr(sources, "load", permuted)
    monkeypatch.setattr(sources, "folds", lambda *_: [outer])
    settings = typed(tiny_config(*WORDS))
    corpus = permuted(settings, "micro")
    context = RunContext(
        settings, tmp_path, corpus, sources.dataset(settings, corpus), [outer], None
    )
    folder = rundir.fold_folder(tmp_path, "group-00")
    folder.mkdir(parents=True)
    fold.run_fold(context, outer)
    before = finished / "folds" / "group-00"
    assert (folder / "inner.json").read_text() == (before / "inner.json").read_text()
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "predictions.parquet"),
        pd.read_parquet(before / "predictions.parquet"),
    )


@pytest.mark.slow
def test_the_audit_reads_inner_choices_and_names_what_is_wrong_with_them(
    finished: Path, tmp_path: Path
) -> None:
    run_dir = Path(shutil.copytree(finished, tmp_path / "run"))
    assert check_selection(Artefacts(run_dir)).verdict == "pass"
    assert "2 folds chose on inner splits" in check_selection(Artefacts(run_dir)).evidence
    path = run_dir / "folds" / "group-00" / "inner.json"
    before = path.read_text()

    def evidence(**changed: object) -> str:
        content = json.loads(before)
        if "person" in changed:
            content["splits"][0]["validation"].append(changed["person"])
        else:
            content["choices"]["epochs"]["uf1"] = changed["uf1"]
        path.write_text(json.dumps(content))
        found = check_selection(Artefacts(run_dir))
        assert found.verdict == "fail"
        return found.evidence

    manifest = pd.read_parquet(run_dir / "manifest.parquet")
    tested = manifest.loc[manifest["fold"] == "group-00", "person"].iloc[0]
    said = evidence(person=tested)
    assert f"1 persons from outside of the fold's training side: {tested}" in said
    chosen = json.loads(before)["choices"]["epochs"]["chosen"]
    other = [float(epoch != chosen) for epoch in (1, 2, 3)]
    assert f"inner choice of epochs is {chosen}, the best is" in evidence(uf1=other)
