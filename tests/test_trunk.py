"""Trunk and rest make the whole network; training on kept activations equals training on images."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch import nn

from mer.callbacks.svm_head import SVMHead
from mer.config.composition import conf_dir
from mer.data.dataset import UnifiedDataset
from mer.data.feature_cache import ActivationStore
from mer.data.fixed_augmentations import Drawn, DrawnDataModule, DrawnImages, DrawnView
from mer.errors import MerError
from mer.models.frozen_blocks import Trunk, cut, frozen_prefix, join, trunk_statistics
from mer.models.modules import MacroPretrainModule, MERModule, MicroFinetuneModule

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ["negative", "positive", "surprise"]
AUGMENT = {
    "flip": 0.5,
    "shift": 0.1,
    "scale": 0.1,
    "rotate": 5.0,
    "gain": 0.2,
    "offset": 0.1,
    "noise": 0.02,
}
FREEZE = ["conv_stem", "bn1", "blocks.0", "blocks.1"]

MOBILENETV2 = ["mobilenetv2"]
XXS = ["stem", "stages.0.0", "stages.1.0", "stages.1.1", "stages.1.2", "stages.2.0"]

#: File of conf/backbone -> what is frozen, and the trunk that this makes.
TRUNKS = {
    "efficientvit_b0": (
        MOBILENETV2,
        ["stem.in_conv", "stem.res0"]
        + [f"stages.{stage}.blocks.{block}" for stage in (0, 1) for block in (0, 1)]
        + ["stages.2.blocks.0"],
    ),
    "mobilenetv3_small_100": (
        MOBILENETV2,
        ["conv_stem", "bn1", "blocks.0.0"]
        + [f"blocks.{i}.{j}" for i, n in ((1, 2), (2, 3), (3, 2), (4, 3)) for j in range(n)],
    ),
    "mobilevit_s": (MOBILENETV2, XXS),
    "mobilevit_xs": (MOBILENETV2, XXS),
    "mobilevit_xxs": (MOBILENETV2, XXS),
    "mobilevitv2_050": (MOBILENETV2, [name for name in XXS if name != "stages.1.2"]),
    # The activation and the pooling hold no weights, so they never change.
    "resnet18": (
        ["conv1", "bn1", "layer1", "layer2.0"],
        ["conv1", "bn1", "act1", "maxpool", "layer1.0", "layer1.1", "layer2.0"],
    ),
    "tiny": (MOBILENETV2, ["conv_stem", "bn1"]),
}


class Swapped(nn.Module):
    """A network whose order of modules is not known."""

    num_features = 4

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_chans, 4, 3)

    def forward_features(self, image: torch.Tensor) -> torch.Tensor:
        return self.stem(image)

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return features.mean((2, 3))

    def reset_classifier(self, num_classes: int) -> None: ...


def make(
    backbone: dict[str, Any] | None = None, kind: type[MERModule] = MicroFinetuneModule, **more: Any
) -> MERModule:
    return kind(
        backbone=backbone or {"name": "test_efficientnet"},
        in_chans=3,
        classes=CLASSES,
        input_mean=[0.0, 0.1, 0.2],
        input_std=[0.5, 1.0, 2.0],
        **more,
    )


def disturb(module: nn.Module) -> None:
    """Move biases, norms and their statistics away from 0 and 1, where they would do nothing."""
    generator = torch.Generator().manual_seed(1)
    for tensor in module.state_dict().values():
        if tensor.dtype.is_floating_point and tensor.ndim == 1:
            tensor.add_(0.2 * torch.rand(tensor.shape, generator=generator))


def dataset(**settings: Any) -> UnifiedDataset:
    """24 samples of 32 pixels; the flow of class k points in direction k."""
    rng = np.random.default_rng(0)
    flow = rng.normal(0, 0.3, (24, 3, 32, 32)).astype(np.float32)
    labels = np.arange(24) % 3
    flow[labels == 0, 0, :16] += 1
    flow[labels == 1, 1, 16:] += 1
    table = pd.DataFrame(
        {
            "sample_id": [f"smic/s{i:02d}/clip" for i in range(24)],
            "dataset": "smic",
            "label": [CLASSES[label] for label in labels],
            "store": 0,
            "row": range(24),
            "has_onset": True,
        }
    )
    settings = {"name": "flow", "size": 32, "center": "none", "cache_gb": 1, **settings}
    return UnifiedDataset(table, [SimpleNamespace(frames=None, flow=flow)], CLASSES, settings)


def drawn(draws: int = 2, seed: int = 0, **changes: Any) -> DrawnImages:
    return DrawnImages(dataset(), {**AUGMENT, **changes}, draws, seed)


def one(source: Drawn, position: int, draw: int | None) -> torch.Tensor:
    """One draw of one sample, or the plain sample."""
    return source.tensors(np.array([position]), None if draw is None else np.array([draw]))[0]


def both(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return batch["index"], batch["image"]


def trainer(folder: Path, *callbacks: pl.Callback, epochs: int = 1) -> pl.Trainer:
    return pl.Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.fixture
def trunk() -> Trunk:
    torch.manual_seed(0)
    found = cut(make(freeze=FREEZE))
    assert found is not None
    return found


def test_every_backbone_file_has_its_trunk_here() -> None:
    assert sorted(path.stem for path in (conf_dir() / "backbone").glob("*.yaml")) == sorted(TRUNKS)


@pytest.mark.parametrize("file", sorted(TRUNKS))
def test_trunk_and_rest_are_the_whole_network(file: str) -> None:
    freeze, expected = TRUNKS[file]
    node = OmegaConf.load(conf_dir() / "backbone" / f"{file}.yaml")
    model = make(OmegaConf.to_container(node), freeze=freeze)
    disturb(model)
    assert frozen_prefix(model) == expected
    for name in expected:
        parts = list(model.backbone.get_submodule(name).modules())
        assert not any(p.requires_grad for part in parts for p in part.parameters())
        norms = [part for part in parts if isinstance(part, nn.BatchNorm2d)]
        assert not any(norm.training for norm in norms)
    model.eval()
    image = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        whole = model.embed(image)
        trunk = cut(model)
        activation = trunk(image).contiguous()
        assert torch.equal(model.embed(activation), whole)
        # Both halves matter: other activations, or another rest, give another embedding.
        assert not torch.allclose(model.embed(activation + 1), whole)
        following = model.backbone.get_submodule(model.rest.names[0])
        join(model)
        assert torch.equal(model.embed(image), whole)
    assert any(p.requires_grad for p in following.parameters())


def test_a_wholly_frozen_backbone_leaves_the_head() -> None:
    model = make(freeze="all").eval()
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        whole = model.embed(image)
        activation = cut(model)(image)
        assert activation.shape[1] == 256
        assert model.rest.names == ()
        assert torch.equal(model.embed(activation), whole)


@pytest.mark.parametrize(
    ("freeze", "kwargs", "expected"),
    [
        ([], {}, []),
        (["bn1", "blocks"], {}, []),  # a later block alone is no beginning
        (["conv_stem", "bn1.weight", "bn1.bias"], {}, ["conv_stem"]),  # its statistics move on
        # Stochastic depth rises from 0 in the first block; a block that is left out at random
        # gives something else each time.
        (FREEZE, {"drop_path_rate": 0.5}, ["conv_stem", "bn1", "blocks.0.0"]),
        (FREEZE, {}, ["conv_stem", "bn1", "blocks.0.0", "blocks.1.0"]),
    ],
)
def test_the_trunk_ends_where_something_moves(
    freeze: list[str], kwargs: dict[str, Any], expected: list[str]
) -> None:
    model = make({"name": "test_efficientnet", "kwargs": kwargs}, freeze=freeze)
    assert frozen_prefix(model) == expected
    assert frozen_prefix(model.eval()) == expected


def test_a_network_of_unknown_order_is_not_cut() -> None:
    own = {"name": "swapped", "_target_": f"{__name__}.Swapped"}
    model = make(own, freeze="all")
    assert cut(model) is None
    assert model.embed(torch.rand(2, 3, 8, 8)).shape == (2, 4)


def test_a_cut_leaves_state_and_checkpoints_as_they_are(tmp_path: Path) -> None:
    model = make(freeze=FREEZE)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trunk = cut(model)
    assert list(model.state_dict()) == list(before)
    with pytest.raises(MerError, match="takes activations of 24 channels, found 3"):
        model(torch.rand(2, 3, 32, 32))
    images = drawn()
    store = ActivationStore.open_or_compute(trunk, images, tmp_path, "d")
    fit = trainer(tmp_path)
    fit.fit(model, module_of(store))
    join(model)
    fit.save_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    again = MicroFinetuneModule.load_from_checkpoint(tmp_path / "model.ckpt").eval()
    assert list(again.state_dict()) == list(before)
    assert torch.equal(again.backbone.conv_stem.weight, before["backbone.conv_stem.weight"])
    assert not torch.equal(again.backbone.conv_head.weight, before["backbone.conv_head.weight"])
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(image), model.eval()(image))


def test_a_trunk_stays_still_while_its_model_trains(trunk: Trunk) -> None:
    assert not any(part.training for part in trunk.modules())
    assert not any(p.requires_grad for p in trunk.parameters())


def test_a_draw_depends_on_seed_sample_and_number_alone() -> None:
    images, again = drawn(), drawn()
    order = [(position, draw) for position in range(6) for draw in (0, 1)]
    first = {key: one(images, *key) for key in order}
    torch.manual_seed(5)
    assert all(torch.equal(one(again, *key), first[key]) for key in reversed(order))
    flat = torch.stack([*first.values(), one(drawn(seed=1), 0, 0), one(images, 0, None)])
    assert len(torch.unique(flat.flatten(1), dim=0)) == len(order) + 2
    plain = torch.from_numpy(images.dataset.image(3)).permute(2, 0, 1)
    assert torch.equal(one(images, 3, None), plain)


def test_each_sample_has_draws_of_its_own() -> None:
    still = {"shift": 0.0, "scale": 0.0, "rotate": 0.0, "gain": 0.0, "offset": 0.0, "noise": 0.0}
    images = drawn(**still)
    # Of 24 samples, about half are mirrored in draw 0.
    plain = [torch.equal(one(images, p, 0), one(images, p, None)) for p in range(24)]
    assert 5 < sum(plain) < 19


def test_loader_processes_give_the_same_draws() -> None:
    images = drawn(draws=1)
    empty = np.empty(0, np.int64)
    data = DrawnDataModule(images, np.arange(6), empty, empty, 2, num_workers=2)
    batches = list(data.train_dataloader())
    shown = {int(p): image for batch in batches for p, image in zip(*both(batch), strict=True)}
    assert sorted(shown) == list(range(6))
    assert all(torch.equal(image, one(images, p, 0)) for p, image in shown.items())


def test_mirroring_does_not_tell_the_strength_of_motion() -> None:
    still = {"shift": 0.0, "scale": 0.0, "rotate": 0.0, "noise": 0.0}
    images = drawn(draws=300, gain=0.5, **still)
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


def test_a_view_picks_draws_by_seed_and_epoch_and_seals_labels() -> None:
    images = drawn(draws=3)
    view = DrawnView(images, np.array([4, 7]), augmented=True, seed=5)
    choices = torch.stack([one(images, 7, draw) for draw in range(3)])
    picks = []
    for epoch in range(12):
        item = view[1, epoch]
        [pick] = [d for d in range(3) if torch.equal(item["image"], choices[d])]
        picks.append(pick)
        assert torch.equal(view[1, epoch]["image"], item["image"])
    assert set(picks) == {0, 1, 2}
    assert (item["label"], item["index"]) == (1, 7)
    other = DrawnView(images, np.array([4, 7]), augmented=True, seed=6)
    shown = [torch.equal(other[1, epoch]["image"], choices[picks[epoch]]) for epoch in range(12)]
    assert not all(shown)
    assert DrawnView(images, np.array([4]), sealed=True)[0]["label"] == -1
    assert torch.equal(DrawnView(images, np.array([4]))[0]["image"], one(images, 4, None))


def test_augmentation_without_a_number_of_draws_is_refused() -> None:
    for draws in (None, 0):
        with pytest.raises(MerError, match=rf"model.augment_draws is {draws}; set a number"):
            DrawnImages(dataset(), AUGMENT, draws, 0)
    assert DrawnImages(dataset(), None, None, 0).draws == 0


def test_a_store_holds_what_the_trunk_gives(trunk: Trunk, tmp_path: Path) -> None:
    images = drawn()
    store = ActivationStore.open_or_compute(trunk, images, tmp_path, "d")
    assert store.draws == 2
    assert {path.name for path in store.folder.glob("*.npy")} == {
        "plain.npy",
        "draw-0000.npy",
        "draw-0001.npy",
    }
    for position, draw in ((0, None), (23, 0), (5, 1)):
        expected = trunk(one(images, position, draw)[None])[0]
        found = one(store, position, draw)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_store_is_reused_resumed_and_extended(trunk: Trunk, tmp_path: Path) -> None:
    first = ActivationStore.open_or_compute(trunk, drawn(), tmp_path, "d")
    lost = first.folder / "draw-0000.npy"
    content = lost.read_bytes()
    lost.unlink()
    (first.folder / "draw-0001.tmp").write_bytes(b"half")  # what a killed process leaves
    times = {path: path.stat().st_mtime_ns for path in first.folder.glob("*.npy")}
    second = ActivationStore.open_or_compute(trunk, drawn(draws=3), tmp_path, "d")
    assert second.folder == first.folder
    assert second.draws == 3
    assert lost.read_bytes() == content
    assert {path: path.stat().st_mtime_ns for path in times} == times
    again = ActivationStore.open_or_compute(trunk, drawn(draws=1), tmp_path, "d")
    assert again.draws == 1


def test_whatever_changes_an_activation_changes_the_folder(tmp_path: Path) -> None:
    def folder(
        images: DrawnImages, data: str = "d", shift: float = 0.0, freeze: Any = FREEZE
    ) -> str:
        torch.manual_seed(0)
        model = make(freeze=freeze)
        model.input_mean += shift
        store = ActivationStore.open_or_compute(cut(model), images, tmp_path, data)
        return store.folder.name

    other_input = DrawnImages(dataset(center="median"), AUGMENT, 2, 0)
    uncached = DrawnImages(dataset(cache_gb=0), AUGMENT, 2, 0)
    own = folder(drawn())
    assert own == folder(drawn()) == folder(uncached)
    others = [
        folder(drawn(seed=1)),
        folder(drawn(flip=0.0)),
        folder(other_input),
        folder(drawn(), data="e"),
        folder(drawn(), shift=0.5),
        folder(drawn(), freeze=FREEZE[:3]),
    ]
    assert len({own, *others}) == 7


def test_disk_use_is_bounded_over_all_stores(trunk: Trunk, tmp_path: Path) -> None:
    # 24 samples of 24 x 8 x 8 float32 are 147,456 bytes, and a header of 128; 3 arrays 0.000443 GB.
    ActivationStore.open_or_compute(trunk, drawn(), tmp_path, "d", limit_gb=0.00045)
    with pytest.raises(MerError, match=r"would take 0.00 GB beside 0.00 GB of others"):
        ActivationStore.open_or_compute(trunk, drawn(), tmp_path, "e", limit_gb=0.00045)
    ActivationStore.open_or_compute(trunk, drawn(), tmp_path, "e", limit_gb=0.0009)


def test_a_damaged_file_is_named(trunk: Trunk, tmp_path: Path) -> None:
    store = ActivationStore.open_or_compute(trunk, drawn(), tmp_path, "d")
    file = store.folder / "draw-0001.npy"
    np.save(file, np.zeros((2, 3), np.float32))
    with pytest.raises(MerError, match=r"draw-0001.npy is \(2, 3\) float32, not \(24, 24, 8, 8\)"):
        ActivationStore.open_or_compute(trunk, drawn(), tmp_path, "d")
    for content in (b"no array", b""):
        file.write_bytes(content)
        with pytest.raises(MerError, match=r"draw-0001.npy is damaged .* delete it"):
            ActivationStore.open_or_compute(trunk, drawn(), tmp_path, "d")


def module_of(source: Drawn) -> DrawnDataModule:
    return DrawnDataModule(source, np.arange(16), np.arange(16, 20), np.arange(20, 24), 8)


def run_fold(folder: Path, shortcut: bool, augment: bool = True, seed: int = 0) -> dict[str, Any]:
    """What a run does with a fold, with or without kept activations."""
    pl.seed_everything(3, verbose=False)
    model = make(freeze=FREEZE, dropout=0.2, optimizer={"lr": 3e-3, "warmup_epochs": 0})
    disturb(model)
    images = DrawnImages(dataset(), AUGMENT if augment else None, 2, seed)
    source: Drawn = images
    if shortcut:
        source = ActivationStore.open_or_compute(cut(model), images, folder / "trunk", "d")
    data = module_of(source)
    head = SVMHead()
    fit = trainer(folder, head, epochs=5)
    fit.fit(model, data)
    validation = fit.callback_metrics["val/loss"]
    [found] = fit.predict(model, data.unlabelled_dataloader(np.arange(20, 24)))
    join(model)
    return {**found, "state": model.state_dict(), "validation": validation}


@pytest.mark.parametrize("augment", [True, False])
def test_training_on_activations_equals_training_on_images(tmp_path: Path, augment: bool) -> None:
    short, whole = (run_fold(tmp_path, shortcut, augment) for shortcut in (True, False))
    assert short["index"].tolist() == whole["index"].tolist() == [20, 21, 22, 23]
    for name in ("logits", "embedding", "svm_scores", "validation"):
        torch.testing.assert_close(short[name], whole[name], atol=1e-4, rtol=1e-4)
    for name, tensor in whole["state"].items():
        torch.testing.assert_close(short["state"][name], tensor, atol=1e-4, rtol=1e-4)
    if augment:  # so small a difference says something: other draws give a much larger one
        other = run_fold(tmp_path, shortcut=True, seed=1)
        assert (other["logits"] - whole["logits"]).abs().max() > 0.01


def test_the_statistics_of_a_trunk_are_those_of_its_own_training(tmp_path: Path) -> None:
    macro = make(kind=MacroPretrainModule)
    macro.provenance = {"persons": ["ck/s1"]}
    save = trainer(tmp_path)
    save.strategy.connect(macro)
    save.save_checkpoint(tmp_path / "best.ckpt")
    mean, std = trunk_statistics(tmp_path / "best.ckpt")
    assert mean == pytest.approx([0.0, 0.1, 0.2])
    assert std == pytest.approx([0.5, 1.0, 2.0])
