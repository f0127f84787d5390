"""The base of heads: one pass over the samples, names, states, and no trace on the network."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from mer.callbacks.head import Head, add_scores, fit_heads, fit_on_samples, name_problems
from mer.callbacks.svm_head import SVMHead
from mer.errors import MerError
from mer.training.heads import make_callbacks, problems, write_states
from mer.training.predictions import predict, to_frame
from tests.builders import CLASSES, network, trainer

pytestmark = pytest.mark.usefixtures("one_thread")


class Nearest(Head):
    """Minus the distance to the mean of each class."""

    def __init__(self, name: str = "nearest") -> None:
        self.name = name

    def fit(
        self, embeddings: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
    ) -> None:
        assert embeddings.dtype == np.float64 and labels.dtype == np.int64
        self.means = np.stack([embeddings[labels == k].mean(axis=0) for k in range(n_classes)])

    def scores(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.linalg.norm(embeddings[:, None] - self.means, axis=2)


class Samples(pl.LightningDataModule):
    """Twelve training samples and five without label."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0
        generator = torch.Generator().manual_seed(0)
        self.samples = [
            {
                "image": torch.rand(3, 32, 32, generator=generator) + (i % 3),
                "label": torch.tensor(i % 3 if i < 12 else -1),
                "index": torch.tensor(i),
            }
            for i in range(17)
        ]

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.samples[:12], batch_size=6, shuffle=True)

    def embedding_dataloader(self) -> DataLoader:
        self.passes += 1
        return DataLoader(self.samples[:12], batch_size=5)

    def predict_dataloader(self) -> DataLoader:
        return DataLoader(self.samples[12:], batch_size=4)


def test_fitting_leaves_no_trace() -> None:
    model = network(dropout=0.5)
    model.backbone.bn1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    fit_on_samples([SVMHead()], model, Samples().embedding_dataloader())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [part.training for part in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[2] == states[1][2]
    assert (np.random.get_state()[1] == states[1][1]).all()
    assert random.getstate() == states[2]


def test_from_training_to_a_table_with_several_heads(tmp_path: Path) -> None:
    heads: list[Head] = [Nearest(), SVMHead(), SVMHead(kernel="linear", name="svm_linear")]
    data, model = Samples(), network(dropout=0.5)
    trainer(tmp_path, *heads).fit(model, data)
    assert data.passes == 1  # for all heads
    outputs = predict(model, data.predict_dataloader(), heads)
    assert [batch["index"].tolist() for batch in outputs] == [[12, 13, 14, 15], [16]]
    for batch in outputs:
        for head in heads:
            expected = head.scores(batch["embedding"].double().numpy())
            assert np.array_equal(batch[f"{head.name}_scores"].numpy(), expected)
    # Without training: fitted on the same samples by the same weights, the heads are the same.
    others: list[Head] = [SVMHead(), Nearest()]
    fit_on_samples(others, model, data.embedding_dataloader())
    again = predict(model, data.predict_dataloader(), others)
    for key in ("svm_scores", "nearest_scores"):
        torch.testing.assert_close(again[0][key], outputs[0][key])
    names = [f"s{i}" for i in range(17)]
    table = pd.DataFrame({"sample_id": names, "dataset": "d", "subject": "u", "person": "p"})
    frame = to_frame(list(reversed(outputs)), table, CLASSES, expected=range(12, 17))
    assert frame["sample_id"].tolist() == names[12:]
    columns = [
        column
        for name in ("softmax", "nearest", "svm", "svm_linear")
        for column in (*(f"{name}_{one}" for one in CLASSES), name)
    ]
    assert list(frame.columns) == ["sample_id", "dataset", "subject", "person", *columns]
    shown = torch.cat([batch["nearest_scores"] for batch in outputs]).argmax(1)
    assert frame["nearest"].tolist() == [CLASSES[i] for i in shown]
    np.testing.assert_allclose(frame.filter(regex="softmax_").sum(axis=1), 1)


def test_heads_are_fitted_on_the_weights_that_are_kept(tmp_path: Path) -> None:
    class Spoil(pl.Callback):
        """Leaves other weights, as a callback that averages them does."""

        def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            pl_module.backbone.conv_stem.weight.data.zero_()

    head, data, model = Nearest(), Samples(), network()
    trainer(tmp_path, Spoil(), head).fit(model, data)
    assert np.ptp(head.means, axis=0).max() == pytest.approx(0, abs=1e-6)  # all samples are alike


def test_two_heads_of_one_class_have_states_of_their_own_in_a_checkpoint(tmp_path: Path) -> None:
    heads = [SVMHead(), SVMHead(kernel="linear", name="svm_linear")]
    run = trainer(tmp_path, *heads)
    run.fit(network(), Samples())
    run.save_checkpoint(tmp_path / "whole.ckpt")
    states = torch.load(tmp_path / "whole.ckpt", weights_only=True)["callbacks"]
    kernels = {key: state["settings"]["kernel"] for key, state in states.items()}
    assert kernels == {"SVMHead{'name': 'svm'}": "rbf", "SVMHead{'name': 'svm_linear'}": "linear"}


def test_states_that_would_not_load_safely_are_refused(tmp_path: Path) -> None:
    class Careless(Nearest):
        def state_dict(self) -> dict[str, Any]:
            return {"means": np.zeros(3)}

    head = SVMHead()
    fit_heads([head], np.arange(12.0).reshape(6, 2), np.array([0, 1, 2] * 2), 3)
    write_states([head, Nearest()], tmp_path / "heads.pt")
    states = torch.load(tmp_path / "heads.pt", weights_only=True)
    assert list(states) == ["svm", "nearest"]
    assert states["nearest"] == {}
    assert set(states["svm"]) == {"settings", "tensors"}
    with pytest.raises(MerError, match="state_dict of the head nearest holds more than tensors"):
        write_states([Careless()], tmp_path / "other.pt")
    assert not (tmp_path / "other.pt").exists()


def test_samples_that_no_head_can_be_fitted_on() -> None:
    x, y = np.ones((4, 2)), np.array([0, -1, 1, -1])
    with pytest.raises(MerError, match="there is no training sample"):
        fit_on_samples([Nearest()], network(), [])
    with pytest.raises(MerError, match=r"(?s)2 samples have no label.*not finite"):
        fit_heads([Nearest()], x * float("nan"), y, 2)


def test_scores_of_another_shape_are_refused() -> None:
    class Short(Nearest):
        def scores(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
            return embeddings[:, 0]

    batch = {"embedding": torch.zeros(2, 5), "logits": torch.zeros(2, 3)}
    message = r"head nearest \(Short\) have the shape \(2,\); .*sample and class, \(2, 3\)"
    with pytest.raises(MerError, match=message):
        add_scores([Short()], batch)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["svm", "svm"], "callbacks.k1.name is svm, a column of callbacks.k0.name; set another"),
        (["softmax"], "callbacks.k0.name is softmax; set a name that starts with another word"),
        (["majority"], "callbacks.k0.name is majority, the name of other scores"),
        (["baseline"], "callbacks.k0.name is baseline, the name of other scores"),
        (["label"], "callbacks.k0.name is label, a column of every table of predictions"),
        (["apex"], "callbacks.k0.name is apex, a column of every table of predictions"),
        (["my head"], "callbacks.k0.name is 'my head'; set a name of letters, digits and"),
        ([""], "callbacks.k0.name is ''; set a name of letters"),
        (
            ["svm", "svm_negative"],
            "callbacks.k1.name is svm_negative, a column of callbacks.k0.name",
        ),
        (
            ["svm_negative", "svm"],
            "callbacks.k1.name is svm, which gives the column svm_negative, a column of "
            "callbacks.k0.name",
        ),
    ],
)
def test_names_that_would_mix_up_columns(names: list[str], sentence: str) -> None:
    found = name_problems({f"k{i}": Nearest(name) for i, name in enumerate(names)}, CLASSES)
    assert len(found) == 1
    assert found[0].startswith(sentence)


def test_names_that_are_their_own_raise_no_problem() -> None:
    heads = {"a": SVMHead(), "b": SVMHead(name="svm_linear"), "c": Nearest()}
    assert name_problems(heads, CLASSES) == []


def test_callbacks_that_cannot_be_made_are_told_together() -> None:
    nodes = {
        "a": {"_target_": "mer.callbacks.svm_head.SVMHead", "C": -1},
        "b": {"_target_": "collections.OrderedDict"},
        "c": {"_target_": "mer.callbacks.svm_head.SVMHead"},
        "d": {"_target_": "mer.callbacks.svm_head.SVMHead"},
        "e": None,
    }
    first, second, third = problems(nodes, CLASSES)
    assert "C=-1; set a positive number" in first
    assert second.startswith("callbacks.b is no callback but OrderedDict")
    assert third.startswith("callbacks.d.name is svm, a column of callbacks.c.name")


def test_settings_that_were_chosen_reach_the_head_named_svm_alone() -> None:
    target = "mer.callbacks.svm_head.SVMHead"
    nodes = {"one": {"_target_": target, "name": "svm_linear"}, "two": {"_target_": target}}
    made = make_callbacks(nodes, {"C": 7.0})
    assert {key: head.C for key, head in made.items()} == {"one": 1.0, "two": 7.0}
