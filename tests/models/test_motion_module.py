"""The loss of synthetic motion, and checkpoints of its module."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from mer.models.checkpoints import load_module, save_network
from mer.models.epoch_counts import EpochTally
from mer.models.motion_module import MotionPretrainModule
from mer.synthetic.unit_motion import UNITS
from tests.builders import CLASSES, network

WIDTH = 2 * len(UNITS)


def module(**more: object) -> MotionPretrainModule:
    made = network(kind=MotionPretrainModule, units_weight=3.0, seed=5, **more)
    made._epochs = {stage: EpochTally(3, made.device) for stage in ("train", "val")}
    return made.eval()


def batch() -> dict[str, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    units = torch.rand(5, WIDTH, generator=source)
    units[3:] = -1  # two real samples
    return {
        "image": torch.randn(5, 3, 32, 32, generator=source),
        "label": torch.tensor([0, -1, 2, 1, 1]),
        "units": units,
        "index": torch.tensor([-1, -1, -1, 7, 9]),
    }


def test_the_loss_is_that_on_classes_and_that_on_units() -> None:
    net, given = module(), batch()
    embedding = net.embed(given["image"])
    labelled = torch.tensor([0, 2, 3, 4])
    classes = functional.cross_entropy(
        net.classifier(embedding[labelled]), given["label"][labelled]
    )
    units = functional.binary_cross_entropy_with_logits(
        net.units(embedding[:3]), given["units"][:3]
    )
    loss = net.training_step(given, 0)
    torch.testing.assert_close(loss, classes + 3 * units)
    tally = net._epochs["train"].compute(lambda values, reduce_op: values)
    assert tally["loss"] == pytest.approx(classes.item(), rel=1e-5)  # of the 4 that have a class
    assert int(net._epochs["train"].counts.sum()) == 4
    assert net.seen.positions("train").tolist() == [7, 9]


def test_what_is_missing_in_a_batch_is_left_out() -> None:
    net, given = module(), batch()
    real = {name: values[3:] for name, values in given.items() if name != "units"}
    expected = functional.cross_entropy(net(real["image"]), real["label"])
    torch.testing.assert_close(net.validation_step(real, 0), expected)
    free = {name: values[1:2] for name, values in given.items()}
    units = functional.binary_cross_entropy_with_logits(
        net.units(net.embed(free["image"])), free["units"]
    )
    torch.testing.assert_close(net.training_step(free, 0), 3 * units)
    neither = {**free, "units": torch.full((1, WIDTH), -1.0)}
    loss = net.training_step(neither, 0)
    assert loss == 0 and loss.requires_grad


def test_a_checkpoint_holds_the_units(tmp_path: Path) -> None:
    net = module()
    net.provenance = {"persons": []}
    save_network(net, tmp_path / "net.ckpt", 1, 1)
    again = load_module(MotionPretrainModule, tmp_path / "net.ckpt")
    assert again.classes == CLASSES and again.hparams["units_weight"] == 3.0
    for name, values in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], values)


def test_members_learn_each_by_itself_and_their_mean_is_the_output() -> None:
    node = {
        "name": "motion_mlps",
        "_target_": "mer.models.motion_mlps.MotionMLPs",
        "kwargs": {"members": 3, "side": 4, "widths": [6, 5]},
    }
    net, given = module(backbone=node), batch()
    rows = net.embed(given["image"]).view(5, 3, 5)
    weight, bias = net.classifier.weight.view(3, 3, 5), net.classifier.bias
    own = [3 * rows[:, k] @ weight[:, k].T + bias for k in range(3)]
    torch.testing.assert_close(net(given["image"]), sum(own) / 3)
    given |= {"units": torch.full((5, WIDTH), -1.0), "label": torch.tensor([0, 1, 2, 1, 1])}
    losses = [functional.cross_entropy(logits, given["label"]) for logits in own]
    torch.testing.assert_close(net.training_step(given, 0), sum(losses) / 3)
    losses[1].backward()
    moved = [
        values.grad.flatten(1).any(dim=1)
        for values in net.backbone.parameters()
        if values.ndim == 3
    ]
    assert [one.tolist() for one in moved] == 2 * [[False, True, False]]
