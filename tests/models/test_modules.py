"""The modules: what they normalise, log, freeze, refuse, and that their checkpoints load safely."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.utils.data import DataLoader

from mer.errors import MerError
from mer.models import optim
from mer.models.epoch_counts import EpochTally
from mer.models.modules import MacroPretrainModule, MERModule, MicroFinetuneModule
from mer.models.plain import plain
from tests.builders import CLASSES, network, trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def make(kind: type[MERModule] = MicroFinetuneModule, **changes: Any) -> MERModule:
    constants = {"input_mean": [0.5, 0.0, 0.1], "input_std": [0.5, 2.0, 0.1]}
    return network(kind=kind, **{**constants, **changes})


def loader(n: int = 12, labels: list[int] | None = None, in_chans: int = 3) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    samples = [
        {
            "image": torch.rand(in_chans, 32, 32, generator=generator),
            "label": torch.tensor(i % 3 if labels is None else labels[i]),
            "index": torch.tensor(100 + i),
        }
        for i in range(n)
    ]
    return DataLoader(samples, batch_size=6)


class Answers(MicroFinetuneModule):
    """Answers with the class that a pixel of the image names, whatever its weights are."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(image[:, 0, 0, 0].long(), 3).float()


def test_images_are_normalised_inside() -> None:
    model = make().eval()
    image = torch.rand(2, 3, 32, 32)
    mean = torch.tensor([0.5, 0.0, 0.1]).view(1, 3, 1, 1)
    std = torch.tensor([0.5, 2.0, 0.1]).view(1, 3, 1, 1)
    with torch.no_grad():
        features = model.backbone.forward_features((image - mean) / std)
        expected = model.backbone.forward_head(features, pre_logits=True)
        assert torch.equal(model.embed(image), expected)
        assert torch.equal(model(image), model.classifier(expected))
        shown = model.predict_step({"image": image, "index": torch.tensor([7, 3])})
    assert shown["index"].tolist() == [7, 3]
    assert torch.equal(shown["logits"], model.classifier(expected))
    assert torch.equal(shown["embedding"], expected)


def test_normalisation_travels_in_the_state() -> None:
    state = make().state_dict()
    assert state["input_mean"].flatten().tolist() == pytest.approx([0.5, 0.0, 0.1])
    assert state["input_std"].flatten().tolist() == pytest.approx([0.5, 2.0, 0.1])


def test_an_endless_training_has_no_cosine(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"end of the training.*optimizer\.schedule=constant"):
        trainer(tmp_path, max_epochs=-1, max_time="00:00:00:01").fit(make(), loader())


def test_warm_up_is_counted_in_epochs(tmp_path: Path) -> None:
    # Two batches an epoch, two epochs of warm-up: steps 1 to 4 have 1/5 to 4/5 of the rate, the
    # fifth all of it. After three steps the fourth is due.
    model = make(optimizer={"schedule": "constant", "warmup_epochs": 2, "lr": 0.25})
    run = trainer(tmp_path, max_epochs=-1, max_steps=3)
    run.fit(model, loader())
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.25 * 4 / 5)


def test_a_wrong_number_of_channels_is_refused() -> None:
    # One channel would broadcast against the three constants without an error.
    with pytest.raises(MerError, match="takes inputs of 3 channels, found 1"):
        make()(torch.rand(2, 1, 32, 32))


def test_validation_scores_are_pooled(tmp_path: Path) -> None:
    # Batches of 6. True 0 0 0 0 0 0 | 1 1 1 2 2 2, predicted 0 0 0 0 1 1 | 1 1 0 2 2 0.
    # F1 of 0: TP 4, FP 2, FN 2, 8/12; of 1: TP 2, FP 2, FN 1, 4/7; of 2: TP 2, FP 0, FN 1, 4/5.
    # Recalls 4/6, 2/3, 2/3. Means over the batches' own scores would be other numbers.
    true = [0] * 6 + [1] * 3 + [2] * 3
    predicted = [0, 0, 0, 0, 1, 1, 1, 1, 0, 2, 2, 0]
    data = loader(labels=true)
    for sample, answer in zip(data.dataset, predicted, strict=True):
        sample["image"][0, 0, 0] = answer
    found = trainer(tmp_path).validate(make(Answers), data, verbose=False)[0]
    assert found["val/uf1"] == pytest.approx((2 / 3 + 4 / 7 + 4 / 5) / 3)
    assert found["val/uar"] == pytest.approx(2 / 3)
    assert found["val/accuracy"] == pytest.approx(8 / 12)
    # Cross-entropy of one-hot logits: log(e + 2) - 1 where right (8), log(e + 2) where wrong (4).
    assert found["val/loss"] == pytest.approx(math.log(math.e + 2) - 8 / 12, rel=1e-5)


def test_counts_of_devices_are_summed() -> None:
    # Device 1: one right of class 0. Device 2: one 0 taken for 1, one right 1.
    # Sums: true 0 twice (1 right), true 1 once (right): recalls 1/2 and 1, accuracy 2/3. Losses of
    # one sample at 1.0 and two at 4.0 have mean 3.
    here, there = (EpochTally(2, torch.device("cpu")) for _ in range(2))
    here.add(torch.tensor(1.0), torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    there.add(torch.tensor(4.0), torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    other = {id(here.counts): there.counts, id(here.loss): there.loss}
    found = here.compute(lambda tensor, reduce_op: tensor + other[id(tensor)])
    assert found["uar"] == pytest.approx(0.75)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["loss"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("labels", "shown"), [([0, 1, 2, -1, -1, 0], "-1"), ([0, 1, 2, 3, 0, 1], "3")]
)
def test_missing_and_foreign_labels_are_refused(
    tmp_path: Path, labels: list[int], shown: str
) -> None:
    data = loader(6, labels)
    with pytest.raises(
        MerError, match=rf"train batch have no label among 0 to 2; found \[{shown}\]"
    ):
        trainer(tmp_path).fit(make(), data)
    with pytest.raises(MerError, match=rf"val batch have no label among 0 to 2; found \[{shown}\]"):
        trainer(tmp_path).validate(make(), data, verbose=False)


def test_unlabelled_samples_are_predicted(tmp_path: Path) -> None:
    outputs = trainer(tmp_path).predict(make(), loader(8, [-1] * 8))
    assert [batch["index"].tolist() for batch in outputs] == [
        [100, 101, 102, 103, 104, 105],
        [106, 107],
    ]


def test_checkpoint_loads_weights_only(tmp_path: Path) -> None:
    cfg = OmegaConf.create(
        {"backbone": {"name": "test_efficientnet", "kwargs": {}}, "optimizer": {"lr": 1e-3}}
    )
    model = make(
        MacroPretrainModule,
        backbone=cfg.backbone,
        optimizer=cfg.optimizer,
        classes=tuple(CLASSES),
        class_weights=np.array([1.0, 2.0, 3.0]),
        image_size=32,
    )
    model.provenance = {
        "persons": {"casme2/b", "casme2/a"},
        "input": OmegaConf.create({"name": "apex", "size": 32}),
        "data_hash": "12ab",
        "fold": np.int64(3),
        "folder": Path("runs"),
    }
    keeper = pl.callbacks.ModelCheckpoint(
        tmp_path, filename="best", monitor=model.monitor, mode=model.mode
    )
    trainer(tmp_path, keeper, enable_checkpointing=True, num_sanity_val_steps=0).fit(
        model, loader(), loader()
    )
    raw = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert raw["mer"]["persons"] == ["casme2/a", "casme2/b"]
    assert raw["mer"]["classes"] == CLASSES
    assert raw["mer"]["input"] == {"name": "apex", "size": 32}
    assert raw["mer"]["version"]
    again = MacroPretrainModule.load_from_checkpoint(tmp_path / "best.ckpt")
    assert again.provenance["data_hash"] == "12ab"
    assert again.hparams["class_weights"] == [1.0, 2.0, 3.0]
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again.eval()(image), model.eval()(image))
    # A killed training goes on from its last epoch.
    more = trainer(tmp_path, max_epochs=2)
    more.fit(again, loader(), ckpt_path=tmp_path / "best.ckpt")
    assert more.current_epoch == 2


def test_a_model_that_was_evaluated_trains_in_training_mode(tmp_path: Path) -> None:
    model = make().eval()
    trainer(tmp_path).fit(model, loader())
    assert int(model.backbone.bn1.num_batches_tracked) == 2


def test_loading_does_not_look_for_the_first_weights_again(tmp_path: Path) -> None:
    first = tmp_path / "first.pth"
    torch.save(make().backbone.state_dict(), first)
    model = make(backbone={"name": "test_efficientnet", "weights": str(first)})
    fit = trainer(tmp_path)
    fit.fit(model, loader())
    fit.save_checkpoint(tmp_path / "m.ckpt")
    first.unlink()
    again = MicroFinetuneModule.load_from_checkpoint(tmp_path / "m.ckpt")
    assert again.provenance["backbone"]["weights"] == str(first)
    assert torch.equal(again.classifier.weight, model.classifier.weight)


def test_frozen_blocks_stand_still(tmp_path: Path) -> None:
    model = make(freeze=["mobilenetv2"], optimizer={"lr": 0.01})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer(tmp_path).fit(model, loader())
    moved = {
        name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert not [n for n in moved if n.startswith(("backbone.conv_stem", "backbone.blocks.3"))]
    assert "backbone.conv_head.weight" in moved
    assert "backbone.bn1.running_mean" not in moved
    assert "backbone.bn2.running_mean" in moved


def test_monitor() -> None:
    assert (MacroPretrainModule.monitor, MacroPretrainModule.mode) == ("val/accuracy", "max")
    assert (MicroFinetuneModule.monitor, MicroFinetuneModule.mode) == ("val/uf1", "max")


def test_class_weights_enter_the_loss() -> None:
    # With L = log(e + 2), logits (1, 0, 0) cost L - 1 if class 0 is right and L if class 1 is. The
    # mean with weights 1 and 3 is ((L - 1) + 3 L) / 4 = L - 1/4.
    loss = make(class_weights=[1.0, 3.0, 5.0]).configure_loss()
    logits = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    expected = math.log(math.e + 2) - 1 / 4
    assert float(loss(logits, torch.tensor([0, 1]))) == pytest.approx(expected)


def test_divergence_stops_the_training(tmp_path: Path) -> None:
    class Diverges(MicroFinetuneModule):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return super().forward(image) * float("nan")

    with pytest.raises(MerError, match=r"the loss of epoch 0 is nan. Lower model.optimizer.lr"):
        trainer(tmp_path).fit(make(Diverges), loader())


def test_contradictions_are_listed_together() -> None:
    with pytest.raises(MerError) as caught:
        make(input_mean=[0.0], input_std=[1.0, 0.0, 1.0], class_weights=[1.0], dropout=1.0)
    for part in ("input_mean has 1 values", "positive", "class_weights has 1", "dropout=1.0"):
        assert part in str(caught.value)


def test_wrong_optimizer_settings_are_listed_together() -> None:
    with pytest.raises(MerError) as caught:
        make(optimizer={"name": "adamx", "schedule": "step", "learning_rate": 1, "lr": -1})
    for part in ("optimizer.name=adamx", "optimizer.schedule=step", "learning_rate", "lr=-1"):
        assert part in str(caught.value)


def test_rate_factor() -> None:
    # Warm-up over 4 of 12 steps: (step + 1) / 5; then half a cosine over 8: 1, 0.5 half way, 0.
    rates = [optim.rate_factor(step, 4, 12, "cosine") for step in (0, 3, 4, 8, 12, 99)]
    assert rates == pytest.approx([0.2, 0.8, 1.0, 0.5, 0.0, 0.0], abs=1e-12)
    assert optim.rate_factor(50, 4, 12, "constant") == 1.0


def test_parameter_groups() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2, bias=False))
    net[2].weight.requires_grad_(False)
    groups = optim.parameter_groups(net.named_parameters(), 0.1, {"0.weight"}, 0.5)
    found = {(g["weight_decay"], g["lr_scale"]): len(g["params"]) for g in groups}
    # Decayed and slow: 0.weight. Neither: 0.bias and both of the norm. 2.weight is frozen.
    assert found == {(0.1, 0.5): 1, (0.0, 1.0): 3}
    built = optim.build_optimizer(groups, optim.complete({"name": "sgd", "lr": 0.2}))
    assert sorted(group["lr"] for group in built.param_groups) == pytest.approx([0.1, 0.2])


def test_only_plain_values_are_stored() -> None:
    value = {"a": (1, np.float32(0.5)), "b": OmegaConf.create({"c": [None, True]})}
    assert plain(value) == {"a": [1, 0.5], "b": {"c": [None, True]}}
    with pytest.raises(TypeError, match="Linear cannot be stored"):
        plain({"a": nn.Linear(1, 1)})
