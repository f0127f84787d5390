"""Losses and optimizers of one's own: what they are given, and what is said of unfit ones."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mer.errors import MerError
from mer.models import loss as losses
from mer.models import optim
from tests.builders import flow_dataset, network, trainer

HERE = __name__


class Focal(nn.Module):
    """Focal loss (Lin et al. 2017) without smoothing."""

    def __init__(self, weight: torch.Tensor | None = None, gamma: float = 2.0) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.gamma = gamma

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        entropy = nn.functional.cross_entropy(logits, label, self.weight, reduction="none")
        return ((1 - torch.exp(-entropy)) ** self.gamma * entropy).mean()


class PerSample(nn.Module):
    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits, label, reduction="none")


class SignDescent(torch.optim.Optimizer):
    """Steps of one size against the sign of the gradient."""

    def __init__(self, params: Any, lr: float, floor: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "floor": floor, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        with torch.enable_grad():
            closure()
        for group in self.param_groups:
            for one in group["params"]:
                if one.grad is not None:
                    moved = one.grad.abs() > group["floor"]
                    one -= group["lr"] * one.grad.sign() * moved


def test_an_own_loss_is_given_weights_and_its_arguments() -> None:
    loss = losses.build({"_target_": f"{HERE}.Focal", "gamma": 0.0}, [1.0, 2.0, 1.0], 0.0)
    even = torch.zeros(2, 3)
    # ln 3 for each sample; the second one is of class 1 and counts twice: (1 + 2) / 2 ln 3.
    assert loss(even, torch.tensor([0, 1])).item() == pytest.approx(1.5 * math.log(3))
    losses.check(loss, 3)
    theirs = losses.build({"_target_": "torch.nn.CrossEntropyLoss"}, [1.0, 2.0, 1.0], 0.1)
    assert theirs.label_smoothing == 0.1


def test_weights_and_smoothing_are_not_lost_in_silence() -> None:
    with pytest.raises(MerError) as refused:
        losses.build({"_target_": f"{HERE}.PerSample"}, [1.0, 2.0], 0.1)
    assert "PerSample takes no `weight`; set class_weights=null" in str(refused.value)
    assert "PerSample takes no `label_smoothing`; set label_smoothing=0" in str(refused.value)
    loss = losses.build({"_target_": f"{HERE}.PerSample"}, None, 0.0)
    with pytest.raises(MerError, match=r"PerSample gave \(2,\) for logits \(2, 3\)"):
        losses.check(loss, 3)


def parameters() -> list[dict[str, Any]]:
    net = nn.Linear(2, 2)
    return optim.parameter_groups(net.named_parameters(), 0.1, {"weight"}, 0.5)


def test_an_own_optimizer_is_given_groups_with_their_rates() -> None:
    node = {"_target_": f"{HERE}.SignDescent", "lr": 0.2, "kwargs": {"floor": 0.5}}
    built = optim.build_optimizer(parameters(), optim.complete(node), recorded=True)
    found = [(group["lr"], group["weight_decay"], group["floor"]) for group in built.param_groups]
    assert found == [(0.1, 0.1, 0.5), (0.2, 0.0, 0.5)]
    theirs = {"_target_": "torch.optim.RMSprop", "kwargs": {"momentum": 0.5}, "weight_decay": 0.1}
    built = optim.build_optimizer(parameters(), optim.complete(theirs))
    assert isinstance(built, torch.optim.RMSprop)
    assert [group["momentum"] for group in built.param_groups] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": f"{HERE}.Focal"}, "Focal is no subclass of torch.optim.Optimizer"),
        (
            {"_target_": "torch.optim.RMSprop", "kwargs": {"speed": 1}},
            "takes no speed; it takes params, lr",
        ),
        ({"kwargs": {"momentum": 1}}, "optimizer.kwargs are options of a class of your own"),
        ({"_target_": "torch.optim.RMSprop", "momentum": 1}, "optimizer.momentum is not a key"),
    ],
)
def test_unfit_optimizers_are_refused(node: dict[str, Any], message: str) -> None:
    with pytest.raises(MerError, match=message):
        optim.build_optimizer(parameters(), optim.complete(node))


def test_a_network_trains_with_both_and_comes_back_from_its_checkpoint(tmp_path: Path) -> None:
    from mer.data.datamodule import MERDataModule
    from mer.models.checkpoints import load_module
    from mer.models.modules import MicroFinetuneModule

    data = flow_dataset()
    sides = data.positions(data.table["sample_id"])
    module = network(
        loss={"_target_": f"{HERE}.Focal", "gamma": 1.0},
        class_weights=[1.0, 2.0, 3.0],
        optimizer={"_target_": f"{HERE}.SignDescent", "lr": 0.01},
    )
    before = module.classifier.weight.detach().clone()
    module.provenance = {"persons": []}
    loaders = MERDataModule(data, sides, sides[:0], sides[:0], batch_size=24)
    training = trainer(tmp_path)
    training.fit(module, loaders)
    # One step of one batch; the schedule begins at its full rate.
    moved = (module.classifier.weight.detach() - before).abs()
    assert moved.max().item() == pytest.approx(0.01, rel=1e-3)
    training.save_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    with pytest.raises(MerError, match=rf"loss._target_={HERE}.Focal"):
        load_module(MicroFinetuneModule, tmp_path / "model.ckpt")
    again = load_module(MicroFinetuneModule, tmp_path / "model.ckpt", [HERE.partition(".")[0]])
    assert (again.loss.gamma, again.loss.weight.tolist()) == (1.0, [1.0, 2.0, 3.0])
