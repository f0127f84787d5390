"""UnifiedDataset and the data module: fitted values by hand, from the training side alone."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from mer.config.settings import Input
from mer.data.augmentation import augmentation
from mer.data.datamodule import MERDataModule
from mer.data.dataset import UnifiedDataset
from mer.data.views import FreshInputs, SampleView
from mer.errors import MerError
from tests.builders import AUGMENT, CLASSES


def make(
    settings: dict | None = None, frames: bool = True, flow: bool = True, has_onset: bool = True
) -> UnifiedDataset:
    """Six samples in one store. In sample i, u is 2i at the left half and -2i at the right one."""
    u = np.zeros((6, 8, 8), np.float32)
    u[:, :, :4], u[:, :, 4:] = 2 * np.arange(6)[:, None, None], -2 * np.arange(6)[:, None, None]
    strain = np.zeros_like(u)
    strain[:, :4] = 1
    store = SimpleNamespace(
        frames=np.full((6, 2, 8, 8, 3), 51, np.uint8) if frames else None,
        flow=np.stack([u, 0.5 * u, strain], axis=1) if flow else None,
    )
    table = pd.DataFrame(
        {
            "sample_id": [f"smic/s0{i}/clip" for i in range(6)],
            "dataset": "smic",
            "person": [f"smic/s0{i}" for i in range(6)],
            "label": ["negative", "negative", "negative", "positive", "surprise", "negative"],
            "store": 0,
            "row": range(6),
            "has_onset": has_onset,
        }
    )
    settings = settings or {"name": "flow", "size": 4, "center": "none", "cache_gb": 1}
    return UnifiedDataset(table, [store], CLASSES, Input(**settings))


def test_class_weights_come_from_the_training_side() -> None:
    data = make()
    # Positions 0 to 4: 3 negative, 1 positive, 1 surprise; N / (K n): 5/9, 5/3, 5/3.
    assert data.class_weights(np.arange(5)) == pytest.approx([5 / 9, 5 / 3, 5 / 3])
    assert data.class_weights(np.arange(3)) == pytest.approx([3 / 9, 0, 0])


def test_statistics_come_from_the_training_side() -> None:
    data = make()
    mean, std = data.statistics(np.array([1, 2]), ([0, 0, 0], [1, 1, 1]))
    # At 4 px, u is +-1 in sample 1 and +-2 in sample 2: root mean square sqrt((1 + 4) / 2).
    assert mean == pytest.approx([0, 0, 0.5])
    assert std == pytest.approx([np.sqrt(2.5), np.sqrt(2.5) / 2, 0.5])
    assert data.statistics(np.array([5]), ([0], [1]))[1][0] == pytest.approx(5)


def test_grey_levels_take_the_statistics_of_the_backbone() -> None:
    data = make({"name": "apex_flow", "size": 4, "center": "none"})
    mean, std = data.statistics(np.array([1]), ([0.5, 0.4, 0.3], [0.2, 0.2, 0.1]))
    assert mean == pytest.approx([0.5, 0.4, 0.3, 0, 0, 0.5])
    assert std[:4] == pytest.approx([0.2, 0.2, 0.1, 1])


def test_no_motion_at_all_is_an_error() -> None:
    with pytest.raises(MerError, match=r"Channels \[0, 1\] of input `flow` are constant"):
        make().statistics(np.array([0]), ([0], [1]))


def test_inputs_are_the_same_with_and_without_cache() -> None:
    settings = {"name": "apex_flow", "size": 4, "center": "median"}
    cached, built = make({**settings, "cache_gb": 1}), make({**settings, "cache_gb": 0})
    for position in range(6):
        np.testing.assert_array_equal(cached.image(position), built.image(position))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("apex", {"frames": False}, "smic: the store has no pictures; set input=flow"),
        ("flow", {"flow": False}, "smic: the store has no flow"),
        ("difference", {"has_onset": False}, "smic: samples without a neutral frame"),
    ],
)
def test_what_a_store_lacks_is_named(name: str, options: dict, message: str) -> None:
    with pytest.raises(MerError, match=message):
        make({"name": name, "size": 4, "center": "none"}, **options)


def test_positions_follow_ids() -> None:
    assert make().positions(["smic/s03/clip", "smic/s00/clip"]).tolist() == [3, 0]
    with pytest.raises(MerError, match="smic/s09/clip"):
        make().positions(["smic/s03/clip", "smic/s09/clip"])


def test_views_hand_out_labels_or_withhold_them() -> None:
    inputs = FreshInputs(make(), None)
    item = SampleView(inputs, np.array([4]))[0]
    assert item["image"].shape == (3, 4, 4)
    assert item["image"].dtype == torch.float32
    assert (item["label"], item["index"]) == (2, 4)
    assert SampleView(inputs, np.array([4]), labelled=False)[0]["label"] == -1


def test_augmentation_is_for_training_alone_and_follows_seed_sample_and_epoch() -> None:
    data = make()
    module = MERDataModule(data, np.arange(4), np.array([4]), np.array([5]), 2, AUGMENT)
    plain = torch.from_numpy(data.image(4)).permute(2, 0, 1)
    assert torch.equal(next(iter(module.val_dataloader()))["image"][0], plain)
    embedded = next(iter(module.embedding_dataloader()))
    assert embedded["index"].tolist() == [0, 1, 2, 3]
    assert torch.equal(embedded["image"][3], torch.from_numpy(data.image(3)).permute(2, 0, 1))
    inputs = FreshInputs(data, augmentation(AUGMENT, data.kind))
    view = SampleView(inputs, np.array([3, 4]), augmented=True, seed=7)
    first, second = view[1, 0]["image"], view[1, 1]["image"]
    torch.manual_seed(0)
    assert torch.equal(view[1, 0]["image"], first)
    torch.testing.assert_close(view.__getitems__([(0, 2), (1, 0)])["image"][1], first)
    other = SampleView(inputs, np.array([4]), augmented=True, seed=8)
    for found in (second, plain, other[0, 0]["image"]):
        assert not torch.equal(found, first)
