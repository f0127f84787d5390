"""Mixup and the moving average of the weights: values by hand, draws from the seed alone."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from mer.data.datamodule import MERDataModule
from mer.models.mixup import Mix, MixupDraws
from mer.models.weight_average import WeightAverage
from tests.builders import flow_dataset, network, trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_sample_and_its_loss_are_mixed_with_those_of_its_partner() -> None:
    mix = Mix(torch.tensor([1, 0, 2]), torch.tensor(0.75))
    images = torch.tensor([0.0, 4.0, 8.0]).view(3, 1, 1, 1)
    assert mix.images(images).flatten().tolist() == [1.0, 3.0, 8.0]
    # Losses are 10 for the partners' labels 1, 0, 2 and 20 for the samples' own.
    loss = mix.loss(lambda one: torch.tensor(10.0 if one[0] == 1 else 20.0), torch.arange(3))
    assert loss.item() == 17.5


def test_mixes_depend_on_seed_epoch_and_step() -> None:
    def draws(seed: int, epoch: int) -> list[tuple[list[int], float]]:
        made = MixupDraws(0.4, seed)
        made.start(epoch)
        mixes = [made.draw(8) for _ in range(3)]
        return [(mix.partners.tolist(), mix.share.item()) for mix in mixes if mix is not None]

    first = draws(0, 0)
    assert first == draws(0, 0)
    assert first[0] != first[1]
    assert draws(1, 0) != first != draws(0, 1)
    assert all(sorted(partners) == list(range(8)) for partners, _ in first)
    assert all(0.5 <= share <= 1 for _, share in first)
    assert MixupDraws(0.0, 0).draw(8) is None


def test_training_batches_are_mixed_and_validation_batches_are_not(tmp_path: Path) -> None:
    dataset = flow_dataset()
    positions = torch.arange(24).numpy()
    data = MERDataModule(dataset, positions[:16], positions[16:], positions[:0], batch_size=16)
    module = network(mixup=1.0)
    shown: list[torch.Tensor] = []
    module.backbone.forward_features = lambda image: _keep(module, shown, image)
    trainer(tmp_path, num_sanity_val_steps=0).fit(module, data)
    constants = module.input_mean, module.input_std
    training, validation = (one * constants[1] + constants[0] for one in shown[:2])
    draws = MixupDraws(1.0, 0)
    mix = draws.draw(16)
    assert mix is not None
    own = dataset.images(positions[:16])
    known = [torch.from_numpy(image).permute(2, 0, 1) for image in own]
    pairs = [
        (a, b)
        for image in training
        for a in range(16)
        for b in range(16)
        if torch.allclose(image, torch.lerp(known[b], known[a], mix.share), atol=1e-5)
    ]
    assert sorted(a for a, _ in pairs) == list(range(16))  # each training sample, once
    assert sorted(b for _, b in pairs) == list(range(16))  # and once as a partner
    plain = torch.from_numpy(dataset.images(positions[16:])).permute(0, 3, 1, 2)
    torch.testing.assert_close(validation, plain)
    assert module.seen.positions("train").tolist() == list(range(16))


def _keep(module: Any, shown: list[torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    shown.append(image.detach().clone())
    features: torch.Tensor = type(module.backbone).forward_features(module.backbone, image)
    return features


def test_averages_by_hand() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = WeightAverage(0.5)
    for value in (1.0, 3.0, 11.0):
        layer.weight.data.fill_(value)
        average.update(layer)
    # Decays are .1, 2/11 and .25: the first average is 1, the next one 1 * 2/11 + 3 * 9/11.
    expected = 0.25 * (2 + 27) / 11 + 0.75 * 11
    average.put_in(layer)
    average.put_in(layer)  # it is in
    assert layer.weight.item() == pytest.approx(expected)
    average.take_out(layer)
    assert layer.weight.item() == 11.0
    nothing = WeightAverage(0.0)
    nothing.update(layer)
    nothing.put_in(layer)
    assert layer.weight.item() == 11.0


class Weights(pl.Callback):
    """Notes a weight after each step, and what validation sees."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []
        self.validated: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        self.steps.append(module.classifier.weight.detach().clone())

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        self.validated.append(module.classifier.weight.detach().clone())


def test_validation_and_the_trained_network_have_the_average(tmp_path: Path) -> None:
    positions = torch.arange(24).numpy()
    data = MERDataModule(
        flow_dataset(), positions[:16], positions[16:], positions[:0], batch_size=8
    )
    module, weights = network(ema=0.9), Weights()
    trainer(tmp_path, weights, max_epochs=3, num_sanity_val_steps=0).fit(module, data)
    assert len(weights.steps) == 6
    average = weights.steps[0]
    for step, weight in enumerate(weights.steps):
        average = torch.lerp(average, weight, 1 - (1 + step) / (10 + step))
        if step % 2:
            torch.testing.assert_close(weights.validated[step // 2], average)
    torch.testing.assert_close(module.classifier.weight, average)
    assert not torch.equal(module.classifier.weight, weights.steps[-1])
