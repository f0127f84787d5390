"""Fixed augmentations and cached features: training on features equals training on images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from mer.callbacks.svm_head import SVMHead
from mer.data.datamodule import MERDataModule
from mer.data.feature_cache import FeatureCache
from mer.data.fixed_augmentations import FixedAugmentations, FixedInputs
from mer.data.views import SampleView
from mer.errors import MerError
from mer.files import UNFINISHED
from mer.models.frozen_blocks import FrozenBlocks, split_off
from mer.models.modules import MicroFinetuneModule
from mer.training.predictions import predict
from tests.builders import AUGMENT, disturb, flow_dataset, network, trainer

pytestmark = pytest.mark.usefixtures("one_thread")

FREEZE = ["conv_stem", "bn1", "blocks.0", "blocks.1"]


def augmented(count: int = 2, seed: int = 0, **changes: Any) -> FixedAugmentations:
    return FixedAugmentations(flow_dataset(), {**AUGMENT, **changes}, count, seed)


def one(source: FixedInputs, position: int, number: int | None) -> torch.Tensor:
    """One augmentation of one sample, or the plain sample."""
    return source.tensors(np.array([position]), None if number is None else np.array([number]))[0]


def both(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return batch["index"], batch["image"]


@pytest.fixture
def blocks() -> FrozenBlocks:
    torch.manual_seed(0)
    found = split_off(network(freeze=FREEZE))
    assert found is not None
    return found


def test_an_augmentation_depends_on_seed_sample_and_number_alone() -> None:
    images, again = augmented(), augmented()
    order = [(position, draw) for position in range(6) for draw in (0, 1)]
    first = {key: one(images, *key) for key in order}
    torch.manual_seed(5)
    assert all(torch.equal(one(again, *key), first[key]) for key in reversed(order))
    flat = torch.stack([*first.values(), one(augmented(seed=1), 0, 0), one(images, 0, None)])
    assert len(torch.unique(flat.flatten(1), dim=0)) == len(order) + 2
    plain = torch.from_numpy(images.dataset.image(3)).permute(2, 0, 1)
    assert torch.equal(one(images, 3, None), plain)


def test_each_sample_has_augmentations_of_its_own() -> None:
    still = {"shift": 0.0, "scale": 0.0, "rotate": 0.0, "gain": 0.0, "offset": 0.0, "noise": 0.0}
    images = augmented(**still)
    # Of 24 samples, about half are mirrored in augmentation 0.
    plain = [torch.equal(one(images, p, 0), one(images, p, None)) for p in range(24)]
    assert 5 < sum(plain) < 19


def test_loader_processes_give_the_same_augmentations() -> None:
    images = augmented(count=1)
    empty = np.empty(0, np.int64)
    data = MERDataModule(
        images.dataset, np.arange(6), empty, empty, 2, num_workers=2, inputs=images
    )
    batches = list(data.train_dataloader())
    shown = {int(p): image for batch in batches for p, image in zip(*both(batch), strict=True)}
    assert sorted(shown) == list(range(6))
    assert all(torch.equal(image, one(images, p, 0)) for p, image in shown.items())


def test_mirroring_does_not_tell_the_strength_of_motion() -> None:
    still = {"shift": 0.0, "scale": 0.0, "rotate": 0.0, "noise": 0.0}
    images = augmented(count=300, gain=0.5, **still)
    plain = one(images, 0, None)[2]
    flipped, gain = [], []
    for draw in range(300):
        strain = one(images, 0, draw)[2]
        gains = [float((s * plain).sum() / (plain * plain).sum()) for s in (strain, strain.flip(1))]
        flipped.append(gains[1] > gains[0])
        gain.append(max(gains))
    assert 120 < sum(flipped) < 180
    assert min(gain) < 0.55 and max(gain) > 1.45
    # 300 independent pairs: the correlation has a standard deviation of 0.06.
    assert abs(np.corrcoef(flipped, gain)[0, 1]) < 0.2


def test_a_view_chooses_augmentations_by_seed_and_epoch_and_withholds_labels() -> None:
    images = augmented(count=3)
    view = SampleView(images, np.array([4, 7]), augmented=True, seed=5)
    choices = torch.stack([one(images, 7, draw) for draw in range(3)])
    shown = []
    for epoch in range(12):
        item = view[1, epoch]
        [number] = [d for d in range(3) if torch.equal(item["image"], choices[d])]
        shown.append(number)
        assert torch.equal(view[1, epoch]["image"], item["image"])
    assert set(shown) == {0, 1, 2}
    assert (item["label"], item["index"]) == (1, 7)
    other = SampleView(images, np.array([4, 7]), augmented=True, seed=6)
    assert not all(torch.equal(other[1, e]["image"], choices[shown[e]]) for e in range(12))
    assert SampleView(images, np.array([4]), labelled=False)[0]["label"] == -1
    assert torch.equal(SampleView(images, np.array([4]))[0]["image"], one(images, 4, None))


def test_augmentation_without_a_number_is_refused() -> None:
    for draws in (None, 0):
        with pytest.raises(MerError, match=rf"model.augment_draws is {draws}; set a number"):
            FixedAugmentations(flow_dataset(), AUGMENT, draws, 0)
    assert FixedAugmentations(flow_dataset(), None, None, 0).count == 0


def test_a_cache_holds_what_the_frozen_blocks_give(blocks: FrozenBlocks, tmp_path: Path) -> None:
    images = augmented()
    cache = FeatureCache.open_or_compute(blocks, images, tmp_path, "d")
    assert cache.count == 2
    assert {path.name for path in cache.folder.glob("*.npy")} == {
        "plain.npy",
        "augmented-0000.npy",
        "augmented-0001.npy",
    }
    for position, draw in ((0, None), (23, 0), (5, 1)):
        expected = blocks(one(images, position, draw)[None])[0]
        found = one(cache, position, draw)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_cache_is_reused_resumed_and_extended(blocks: FrozenBlocks, tmp_path: Path) -> None:
    first = FeatureCache.open_or_compute(blocks, augmented(), tmp_path, "d")
    lost = first.folder / "augmented-0000.npy"
    content = lost.read_bytes()
    lost.unlink()
    times = {path: path.stat().st_mtime_ns for path in first.folder.glob("*.npy")}
    leftover = first.folder / f"{UNFINISHED}0-augmented-0001.npy"
    leftover.write_bytes(b"half")  # by a killed process
    second = FeatureCache.open_or_compute(blocks, augmented(count=3), tmp_path, "d")
    assert second.folder == first.folder
    assert second.count == 3
    assert lost.read_bytes() == content and not leftover.exists()
    assert {path: path.stat().st_mtime_ns for path in times} == times
    again = FeatureCache.open_or_compute(blocks, augmented(count=1), tmp_path, "d")
    assert again.count == 1


def test_whatever_changes_a_feature_changes_the_folder(tmp_path: Path) -> None:
    def folder(
        images: FixedAugmentations, data: str = "d", shift: float = 0.0, freeze: Any = FREEZE
    ) -> str:
        torch.manual_seed(0)
        model = network(freeze=freeze)
        model.input_mean += shift
        cache = FeatureCache.open_or_compute(split_off(model), images, tmp_path, data)
        return cache.folder.name

    other_input = FixedAugmentations(flow_dataset(center="median"), AUGMENT, 2, 0)
    uncached = FixedAugmentations(flow_dataset(cache_gb=0), AUGMENT, 2, 0)
    own = folder(augmented())
    assert own == folder(augmented()) == folder(uncached)
    others = [
        folder(augmented(seed=1)),
        folder(augmented(flip=0.0)),
        folder(other_input),
        folder(augmented(), data="e"),
        folder(augmented(), shift=0.5),
        folder(augmented(), freeze=FREEZE[:3]),
    ]
    assert len({own, *others}) == 7


def test_disk_use_is_bounded_over_all_caches(blocks: FrozenBlocks, tmp_path: Path) -> None:
    # 24 samples of 24 x 8 x 8 float32 are 147,456 bytes, and a header of 128; 3 arrays 0.000443 GB.
    FeatureCache.open_or_compute(blocks, augmented(), tmp_path, "d", limit_gb=0.00045)
    with pytest.raises(MerError, match=r"would take 0.00 GB beside 0.00 GB of others"):
        FeatureCache.open_or_compute(blocks, augmented(), tmp_path, "e", limit_gb=0.00045)
    FeatureCache.open_or_compute(blocks, augmented(), tmp_path, "e", limit_gb=0.0009)


def test_a_damaged_file_is_made_anew(
    blocks: FrozenBlocks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FeatureCache.open_or_compute(blocks, augmented(), tmp_path, "d")
    file = cache.folder / "augmented-0001.npy"
    whole = file.read_bytes()
    for content in (b"no array", whole[:2000] + bytes(50) + whole[2050:]):
        file.write_bytes(content)
        FeatureCache.open_or_compute(blocks, augmented(), tmp_path, "d")
        assert file.read_bytes() == whole
        assert "no longer holds what was written (augmented-0001.npy)" in caplog.text
        caplog.clear()


def module_of(inputs: FixedInputs) -> MERDataModule:
    sides = np.arange(16), np.arange(16, 20), np.arange(20, 24)
    return MERDataModule(inputs.dataset, *sides, batch_size=8, inputs=inputs)


def run_fold(folder: Path, shortcut: bool, augment: bool = True, seed: int = 0) -> dict[str, Any]:
    """What a run does with a fold, with or without cached features."""
    pl.seed_everything(3, verbose=False)
    model = network(freeze=FREEZE, dropout=0.2, optimizer={"lr": 3e-3, "warmup_epochs": 0})
    disturb(model)
    images = FixedAugmentations(flow_dataset(), AUGMENT if augment else None, 2, seed)
    source: FixedInputs = images
    if shortcut:
        source = FeatureCache.open_or_compute(split_off(model), images, folder / "features", "d")
    data = module_of(source)
    head = SVMHead()
    fit = trainer(folder, head, max_epochs=5)
    fit.fit(model, data)
    validation = fit.callback_metrics["val/loss"]
    [found] = predict(model, data.unlabelled_dataloader(np.arange(20, 24)), [head])
    model.later_blocks = None
    return {**found, "state": model.state_dict(), "validation": validation}


@pytest.mark.parametrize("augment", [True, False])
def test_training_on_cached_features_equals_training_on_images(
    tmp_path: Path, augment: bool
) -> None:
    short, whole = (run_fold(tmp_path, shortcut, augment) for shortcut in (True, False))
    assert short["index"].tolist() == whole["index"].tolist() == [20, 21, 22, 23]
    for name in ("logits", "embedding", "svm_scores", "validation"):
        torch.testing.assert_close(short[name], whole[name], atol=1e-4, rtol=1e-4)
    for name, tensor in whole["state"].items():
        torch.testing.assert_close(short["state"][name], tensor, atol=1e-4, rtol=1e-4)
    if augment:  # so small a difference says something: others give a much larger one
        other = run_fold(tmp_path, shortcut=True, seed=1)
        assert (other["logits"] - whole["logits"]).abs().max() > 0.01


def test_splitting_off_leaves_state_and_checkpoints_as_they_are(tmp_path: Path) -> None:
    model = network(freeze=FREEZE)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    blocks = split_off(model)
    assert list(model.state_dict()) == list(before)
    with pytest.raises(MerError, match="takes features of 24 channels, found 3"):
        model(torch.rand(2, 3, 32, 32))
    images = augmented()
    cache = FeatureCache.open_or_compute(blocks, images, tmp_path, "d")
    fit = trainer(tmp_path)
    fit.fit(model, module_of(cache))
    model.later_blocks = None
    fit.save_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    again = MicroFinetuneModule.load_from_checkpoint(tmp_path / "model.ckpt").eval()
    assert list(again.state_dict()) == list(before)
    assert torch.equal(again.backbone.conv_stem.weight, before["backbone.conv_stem.weight"])
    assert not torch.equal(again.backbone.conv_head.weight, before["backbone.conv_head.weight"])
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(image), model.eval()(image))
