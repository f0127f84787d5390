"""Choices inside a fold: made on its training persons alone, written down, and not made twice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from mer import protocols
from mer.callbacks.epochs import RecordEpochs
from mer.config.composition import typed
from mer.config.conversion import updated
from mer.config.settings import Settings
from mer.errors import MerError
from mer.protocols import Fold
from mer.training import decisions, inner
from mer.training.decisions import Part, Train, Trials
from tests.builders import Config


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
    places = np.arange(len(labels))
    return Part(np.array(labels), np.array(labels), logits, several, several, places, places)


def trials(settings: Settings, train: Train = lambda split, recorder: None) -> Trials:
    return Trials(settings, train)


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
    with pytest.raises(MerError, match=r"n_splits is 40; with 14 persons in the training side"):
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
    found = decisions.decide(trials(cfg), parts, 2)["epochs"]
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
    found = decisions.decide(trials(cfg), [split, split], 2)
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
    found = decisions.decide(trials(cfg), [split], 2)["thresholds"]["softmax"]
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
    found = inner.problems(typed(cfg))
    for said in (
        "selection=validation and protocol.inner both choose the epoch",
        "names svm, and no SVM head is named svm",
        "reuse_networks=true",
    ):
        assert any(said in sentence for sentence in found)


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

        return inner.choose({"": trials(typed(cfg), train)}, samples, classes, outer, folder)

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
