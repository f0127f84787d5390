"""Leaks in code of a user's own, or in what stands between it and the samples."""

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from mer.callbacks.head import Head
from mer.data.dataset import UnifiedDataset
from mer.data.views import FreshInputs, SampleView
from mer.models import loss
from mer.training import predictions

Patch = pytest.MonkeyPatch


def tested_batch(trainer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and labels of the test side, as a callback finds them."""
    data = trainer.datamodule
    images = torch.from_numpy(np.array(data.dataset.images(data.test_positions)))
    return images.permute(0, 3, 1, 2), torch.from_numpy(data.dataset.labels[data.test_positions])


class Tune(pl.Callback):
    """Fine-tunes the network on the test side, past the place where it looks at inputs.

    Args:
        hook: When.
        noise: Of the inputs, so that they are not those of any sample.
    """

    def __init__(self, hook: str, noise: float = 0.0) -> None:
        self.noise = noise
        setattr(self, hook, self.tune)

    def tune(self, trainer: pl.Trainer, pl_module: Any, **_: Any) -> None:
        images, labels = tested_batch(trainer)
        images += self.noise * torch.randn_like(images)
        optimizer = torch.optim.Adam(pl_module.parameters())
        with torch.enable_grad():
            for _ in range(20):
                optimizer.zero_grad()
                features = pl_module.backbone.forward_features(images)
                embedding = pl_module.backbone.forward_head(features, pre_logits=True)
                error = torch.nn.functional.cross_entropy(pl_module.classifier(embedding), labels)
                error.backward()
                optimizer.step()


class TestStatistics(pl.Callback):
    """Lets batch norms see the test side."""

    __test__ = False

    @torch.no_grad()
    def on_fit_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        images, _ = tested_batch(trainer)
        pl_module.train()
        pl_module.backbone.forward_features(images)


class SwapBatch(pl.Callback):
    """Puts test samples into a batch whose rows keep their names."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        images, labels = tested_batch(trainer)
        count = min(len(labels), len(batch["label"]))
        batch["image"][:count], batch["label"][:count] = images[:count], labels[:count]


class Counting(pl.Callback):
    """Sets the bias of the classifier by how often the test side has each class."""

    def on_fit_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        labels = data.dataset.labels[data.test_positions]
        assert (labels == -1).all()
        table = data.dataset.table.iloc[data.test_positions]
        assert table[["label", "emotion", "action_units"]].isna().all(axis=None)
        assert not data.dataset.table.iloc[data.train_positions]["label"].isna().any()


class Centring(Head):
    """Class means, after the mean of whoever is tested has been subtracted."""

    name = "centring"

    def fit(
        self, embeddings: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
    ) -> None:
        centred = embeddings - embeddings.mean(axis=0)
        self.means = np.stack([centred[labels == k].mean(axis=0) for k in range(n_classes)])

    def scores(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        centred = embeddings - embeddings.mean(axis=0)
        return -np.square(centred[:, None] - self.means).sum(axis=2)


def loss_has_other_weights(patch: Patch) -> None:
    """The loss weighs classes otherwise than the network says."""
    build = loss.build
    patch.setattr(loss, "build", lambda node, _, smoothing: build(node, [5, 1, 0.1], smoothing))


def samples_are_others(patch: Patch) -> None:
    """A training batch names samples and holds others."""
    get = SampleView.__getitems__

    def leaky(view: SampleView, items: Any) -> dict[str, torch.Tensor]:
        batch = get(view, items)
        if view.augmented:
            others = (batch["index"].numpy() + 7) % len(view.inputs.dataset)
            batch["image"] = view.inputs.augmented(others, [0] * len(others), view.seed)
        return batch

    patch.setattr(SampleView, "__getitems__", leaky)


def augmentation_mixes(patch: Patch) -> None:
    """Half of each augmented input is that of another sample."""
    augmented = FreshInputs.augmented

    def leaky(inputs: FreshInputs, positions: Any, *rest: Any) -> torch.Tensor:
        others = (positions + 7) % len(inputs.dataset)
        return (augmented(inputs, positions, *rest) + inputs.plain(others)) / 2

    patch.setattr(FreshInputs, "augmented", leaky)


def labels_are_painted(patch: Patch) -> None:
    """A corner of each input says its class."""
    images = UnifiedDataset.images

    def leaky(data: UnifiedDataset, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        painted = np.array(images(data, positions))
        painted[:, :8, :8, 0] = 10 * data.labels[positions][:, None, None]
        return painted

    patch.setattr(UnifiedDataset, "images", leaky)


def scores_are_replaced(patch: Patch) -> None:
    """Heads' scores are turned round after they were given."""
    add = predictions.add_scores

    def leaky(heads: Any, batch: dict[str, torch.Tensor]) -> None:
        add(heads, batch)
        for head in heads:
            batch[f"{head.name}_scores"] = batch[f"{head.name}_scores"].roll(1, dims=0)

    patch.setattr(predictions, "add_scores", leaky)


def nothing(_: Patch) -> None:
    """Plant nothing: the leak is in a callback or head."""
