"""The SVM head: scikit-learn's scores, safe to store, without a trace on the network."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC
from torch.utils.data import DataLoader

from mer.callbacks.svm_head import SVMHead
from mer.errors import MerError
from mer.models.modules import MicroFinetuneModule
from mer.training.predictions import predict, to_frame

CLASSES = ["negative", "positive", "surprise", "others"]


pytestmark = pytest.mark.usefixtures("one_thread")


class Points(pl.LightningModule):
    """A module whose embedding is its input."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.classes = CLASSES[:n_classes]

    def embed(self, image: torch.Tensor) -> torch.Tensor:
        return image


def clouds(labels: list[int], seed: int = 0, width: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping clouds, one per class, with dimensions of very different scale."""
    rng = np.random.default_rng(seed)
    y = np.array(labels)
    x = rng.standard_normal((len(y), width)) + y[:, None] * np.linspace(-1, 1, width)
    return torch.tensor(x * np.logspace(-1, 2, width), dtype=torch.float32), torch.tensor(y)


def batches(x: torch.Tensor, y: torch.Tensor, size: int = 7) -> list[dict[str, torch.Tensor]]:
    return [
        {"image": x[i : i + size], "label": y[i : i + size], "index": torch.arange(i, i + size)}
        for i in range(0, len(x), size)
    ]


def fitted(labels: list[int], n_classes: int, **options: Any) -> SVMHead:
    head = SVMHead(**options)
    head.fit_head(Points(n_classes), batches(*clouds(labels)))
    return head


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": "linear", "C": 0.3, "class_weight": None},
        {"kernel": "poly", "degree": 2, "coef0": 1.0, "gamma": "auto"},
        {"C": 10.0, "gamma": 0.05, "normalise": True},
        {"kernel": "rbf", "standardise": False, "gamma": 0.01},
    ],
)
@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_scores_are_scikit_learns(n_classes: int, options: dict[str, Any]) -> None:
    labels = [i % n_classes for i in range(30)] + [0] * 15
    head = fitted(labels, n_classes, **options)
    x, y = clouds(labels)
    plain = {k: v for k, v in options.items() if k not in ("standardise", "normalise")}
    steps = [StandardScaler()] if options.get("standardise", True) else []
    steps += [Normalizer()] if options.get("normalise") else []
    svc = SVC(**{"class_weight": "balanced", **plain}, break_ties=True)
    pipeline = make_pipeline(*steps, svc).fit(x.double().numpy(), y.numpy())
    new, _ = clouds([i % n_classes for i in range(300)], seed=9)
    expected = pipeline.decision_function(new.double().numpy())
    scores = head.scores(new)
    assert scores.shape == (300, n_classes)
    if n_classes == 2:  # scikit-learn gives one column, positive for the second class
        expected = np.stack([-expected, expected], axis=1)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)
    assert (scores.argmax(1).numpy() == pipeline.predict(new.double().numpy())).all()
    assert len(set(scores.argmax(1).tolist())) == n_classes


def test_an_absent_class_is_never_predicted() -> None:
    labels = [0, 3] * 10
    head = fitted(labels, 4)
    scores = head.scores(clouds([0] * 50, seed=3)[0])
    assert torch.isneginf(scores[:, [1, 2]]).all()
    assert torch.isfinite(scores[:, [0, 3]]).all()
    assert set(scores.argmax(1).tolist()) <= {0, 3}


def test_one_class_leaves_no_choice() -> None:
    head = fitted([2] * 5, 3)
    scores = head.scores(clouds([0] * 4)[0])
    assert scores.argmax(1).tolist() == [2] * 4
    with pytest.raises(MerError, match="width 5; this model's have width 4"):
        head.scores(torch.zeros(1, 4))


def test_state_is_safe_to_store(tmp_path: Path) -> None:
    for labels in ([0, 1, 2] * 8, [1] * 4):
        head = fitted(labels, 3)
        torch.save(head.state_dict(), tmp_path / "head.pt")
        again = SVMHead(kernel="linear")
        again.load_state_dict(torch.load(tmp_path / "head.pt", weights_only=True))
        x = clouds([0] * 20, seed=5)[0]
        assert torch.equal(again.scores(x), head.scores(x))
    assert SVMHead().state_dict() == {}


def test_widths_are_named() -> None:
    with pytest.raises(MerError, match="width 5; this model's have width 8"):
        fitted([0, 1] * 5, 2).scores(torch.zeros(3, 8))


def test_what_cannot_be_fitted() -> None:
    x, y = clouds([0, 1, 2, 0])
    with pytest.raises(MerError, match="not fitted"):
        SVMHead().scores(x)
    with pytest.raises(MerError, match="there is no training sample"):
        SVMHead().fit_head(Points(3), [])
    unlabelled = batches(x, torch.tensor([0, -1, 1, -1]))
    with pytest.raises(MerError, match="2 samples have no label"):
        SVMHead().fit_head(Points(3), unlabelled)
    with pytest.raises(MerError, match="not finite"):
        SVMHead().fit_head(Points(3), batches(x * float("nan"), y))


def test_wrong_arguments_are_listed_together() -> None:
    with pytest.raises(MerError) as caught:
        SVMHead(kernel="sigmoid", C=0, gamma=-1.0, class_weight="equal")
    for part in ("kernel=sigmoid", "C=0", "gamma=-1.0", "class_weight=equal"):
        assert part in str(caught.value)


class Fold(pl.LightningDataModule):
    """Twelve training samples and five without label."""

    def __init__(self) -> None:
        super().__init__()
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
        return DataLoader(self.samples[:12], batch_size=5)

    def predict_dataloader(self) -> DataLoader:
        return DataLoader(self.samples[12:], batch_size=4)


def module() -> MicroFinetuneModule:
    return MicroFinetuneModule(
        backbone={"name": "test_efficientnet"},
        in_chans=3,
        classes=CLASSES[:3],
        input_mean=[0.0] * 3,
        input_std=[1.0] * 3,
        dropout=0.5,
    )


def trainer(folder: Path, head: SVMHead) -> pl.Trainer:
    return pl.Trainer(
        default_root_dir=folder,
        max_epochs=1,
        accelerator="cpu",
        callbacks=[head],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def test_fitting_leaves_no_trace() -> None:
    model = module()
    model.backbone.bn1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    SVMHead().fit_head(model, Fold().embedding_dataloader())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [part.training for part in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]


def test_from_training_to_a_table(tmp_path: Path) -> None:
    head, data, model = SVMHead(), Fold(), module()
    run = trainer(tmp_path, head)
    run.fit(model, data)
    outputs = predict(model, data.predict_dataloader(), [head])
    assert [batch["index"].tolist() for batch in outputs] == [[12, 13, 14, 15], [16]]
    for batch in outputs:
        assert torch.equal(batch["svm_scores"], head.scores(batch["embedding"]))
    # Without training: fitted on the same samples by the same weights, the head is the same.
    other = SVMHead()
    other.fit_head(model, data.embedding_dataloader())
    again = predict(model, data.predict_dataloader(), [other])
    torch.testing.assert_close(again[0]["svm_scores"], outputs[0]["svm_scores"])
    names = [f"s{i}" for i in range(17)]
    table = pd.DataFrame({"sample_id": names, "dataset": "d", "subject": "u", "person": "p"})
    frame = to_frame(list(reversed(outputs)), table, CLASSES[:3], expected=range(12, 17))
    assert frame["sample_id"].tolist() == names[12:]
    assert list(frame.columns) == [
        *("sample_id", "dataset", "subject", "person"),
        *("softmax_negative", "softmax_positive", "softmax_surprise", "softmax"),
        *("svm_negative", "svm_positive", "svm_surprise", "svm"),
    ]
    shown = torch.cat([batch["svm_scores"] for batch in outputs]).argmax(1)
    assert frame["svm"].tolist() == [CLASSES[i] for i in shown]
    np.testing.assert_allclose(frame.filter(regex="softmax_").sum(axis=1), 1)


def outputs_of(*positions: int, **changes: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """One batch whose sample at position i prefers class i modulo 2 with odds 3 to 1."""
    index = torch.tensor(positions)
    logits = torch.nn.functional.one_hot(index % 2, 2) * np.log(3.0)
    return [{"index": index, "logits": logits.float(), **changes}]


def test_rows_join_by_position() -> None:
    table = pd.DataFrame(
        {"sample_id": list("abcd"), "dataset": "x", "subject": list("stuv"), "person": list("STUV")}
    )
    frame = to_frame(outputs_of(3, 0, 2), table, ["no", "yes"])
    assert frame["sample_id"].tolist() == ["a", "c", "d"]
    assert frame["person"].tolist() == ["S", "U", "V"]
    assert frame["softmax"].tolist() == ["no", "no", "yes"]
    assert frame["softmax_yes"].tolist() == pytest.approx([0.25, 0.25, 0.75])


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ((0, 1, 1), "1 samples predicted more than once, at positions 1"),
        ((0, 2), "1 samples not predicted, at positions 1"),
        ((0, 1, 2, 3), "1 samples predicted but not asked for, at positions 3"),
        ((0, 1, 2, 7), "1 samples outside the table, at positions 7"),
    ],
)
def test_positions_that_do_not_match(positions: tuple[int, ...], message: str) -> None:
    table = pd.DataFrame(
        {name: list("abcd") for name in ("sample_id", "dataset", "subject", "person")}
    )
    with pytest.raises(MerError, match=message):
        to_frame(outputs_of(*positions), table, ["no", "yes"], expected=[0, 1, 2])


def test_scores_that_are_no_numbers() -> None:
    table = pd.DataFrame(
        {name: list("ab") for name in ("sample_id", "dataset", "subject", "person")}
    )
    bad = outputs_of(0, 1, svm_scores=torch.tensor([[0.0, float("nan")], [1.0, -torch.inf]]))
    with pytest.raises(MerError, match="1 samples have a SVM score that is not a number"):
        to_frame(bad, table, ["no", "yes"])
