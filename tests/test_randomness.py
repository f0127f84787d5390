"""Draws depend on names alone: generators, orders of epochs, masks of dropout."""

import numpy as np
import pytest
import torch

from mer.data.datamodule import EpochOrder
from mer.models.dropout import DropoutDraws
from mer.models.modules import MicroFinetuneModule
from mer.randomness import derived_seed, generator

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_generator_depends_on_its_names_alone() -> None:
    first = generator(0, "order", 3).random(4)
    np.random.seed(1)
    torch.manual_seed(1)
    generator(1).random(100)
    np.testing.assert_array_equal(generator(0, "order", 3).random(4), first)
    np.testing.assert_array_equal(generator("0", "order", "3").random(4), first)
    others = [generator(*names).random(4) for names in ((1, "order", 3), (0, "dropout", 3), (0,))]
    assert len({tuple(numbers) for numbers in [first, *others]}) == 4


def test_a_derived_seed_is_the_first_four_bytes_of_the_digest_of_its_names() -> None:
    # sha256(b"0 macro") = eb 52 a2 44 ...
    assert derived_seed(0, "macro") == derived_seed("0 macro") == 0xEB52A244
    assert derived_seed(1, "macro") != derived_seed(0, "macro")


def test_a_generator_gives_evenly_spread_numbers_over_names() -> None:
    numbers = np.array([generator(0, sample, 0).random() for sample in range(2000)])
    counts = np.histogram(numbers, 10, (0, 1))[0]
    assert counts.min() > 140 and counts.max() < 260  # 200 each, with a deviation of 13


def test_an_order_holds_every_place_once_and_changes_with_epoch_and_seed() -> None:
    order = EpochOrder(10, seed=0)
    first = list(order)
    assert sorted(first) == [(place, 0) for place in range(10)]
    order.set_epoch(1)
    second = list(order)
    assert sorted(second) == [(place, 1) for place in range(10)]
    assert [place for place, _ in second] != [place for place, _ in first]
    order.set_epoch(0)
    assert list(order) == list(order) == first
    assert list(EpochOrder(10, seed=1)) != first


def test_masks_drop_a_share_and_keep_the_expectation() -> None:
    draws = DropoutDraws(0.25, seed=0)
    mask = draws.mask(100, 200)
    assert mask.shape == (100, 200)
    assert mask.dtype == torch.float32
    assert torch.unique(mask).tolist() == pytest.approx([0, 4 / 3])
    # The share of 20,000 has a standard deviation of 0.3 %.
    assert float((mask == 0).float().mean()) == pytest.approx(0.25, abs=0.015)
    assert not torch.equal(draws.mask(100, 200), mask)


def test_masks_depend_on_seed_epoch_and_step() -> None:
    draws, again = DropoutDraws(0.5, seed=0), DropoutDraws(0.5, seed=0)
    start = draws.mask(4, 8)
    draws.start(3)
    third = [draws.mask(4, 8) for _ in range(2)]
    torch.manual_seed(9)
    again.start(3)
    assert all(torch.equal(again.mask(4, 8), mask) for mask in third)
    again.start(0)
    assert torch.equal(again.mask(4, 8), start)
    other = DropoutDraws(0.5, seed=1)
    other.start(3)
    for mask in (start, third[1], other.mask(4, 8)):
        assert not torch.equal(mask, third[0])


def test_without_dropout_there_is_no_mask() -> None:
    assert DropoutDraws(0.0, seed=0).mask(4, 8) is None


def test_a_training_step_applies_the_mask_and_a_validation_step_does_not() -> None:
    model = MicroFinetuneModule(
        backbone={"name": "test_efficientnet"},
        in_chans=3,
        classes=["negative", "positive"],
        input_mean=[0.0] * 3,
        input_std=[1.0] * 3,
        dropout=0.5,
        seed=4,
    ).eval()
    batch = {"image": torch.rand(6, 3, 32, 32), "label": torch.tensor([0, 1] * 3)}
    model.on_validation_epoch_start()
    model.on_train_epoch_start()
    draws = DropoutDraws(0.5, 4)
    with torch.no_grad():
        embedding = model.embed(batch["image"])
        mask = draws.mask(6, embedding.shape[1])
        masked = model.loss(model.classifier(embedding * mask), batch["label"])
        plain = model.loss(model.classifier(embedding), batch["label"])
        assert torch.equal(model.training_step(batch, 0), masked)
        model.validation_step(batch, 0)
        found = model._epochs["val"]
    assert float(found.loss[0]) == pytest.approx(6 * float(plain), rel=1e-5)
    assert float(plain) != float(masked)
