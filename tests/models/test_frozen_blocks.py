"""Frozen and later blocks make the whole network."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from mer.config.composition import conf_dir
from mer.models.frozen_blocks import frozen_prefix, input_statistics, split_off
from mer.models.modules import MacroPretrainModule
from tests.builders import NETWORKS, disturb, network, trainer

pytestmark = pytest.mark.usefixtures("one_thread")

FREEZE = ["conv_stem", "bn1", "blocks.0", "blocks.1"]

MOBILENETV2 = ["mobilenetv2"]
XXS = ["stem", "stages.0.0", "stages.1.0", "stages.1.1", "stages.1.2", "stages.2.0"]

#: File of conf/backbone -> what is frozen, and the frozen first blocks that this makes.
FIRST_BLOCKS = {
    "dual_inception": (["features.2"], [f"features.{i}" for i in range(4)]),
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
    # In networks for flow pictures, what has no weights goes with the frozen layer before it.
    "off_apexnet": (["features.2"], [f"features.{i}" for i in range(5)]),
    "perceptron": (["features.2"], [f"features.{i}" for i in range(4)]),
    "rcn_a": (["features.[12]"], [f"features.{i}" for i in range(5)]),
    "region_transformer": (["features.[12]"], ["features.0", "features.1", "features.2"]),
    # The features and the pooling hold no weights, so they never change.
    "resnet18": (
        ["conv1", "bn1", "layer1", "layer2.0"],
        ["conv1", "bn1", "act1", "maxpool", "layer1.0", "layer1.1", "layer2.0"],
    ),
    "ststnet": (["features.1"], ["features.0", "features.1", "features.2"]),
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


def test_every_backbone_file_has_its_frozen_blocks_here() -> None:
    without = ["motion_mlps"]  # one block, frozen as a whole or not at all
    assert [path.stem for path in NETWORKS] == sorted([*FIRST_BLOCKS, *without])


@pytest.mark.parametrize("file", sorted(FIRST_BLOCKS))
def test_frozen_and_later_blocks_are_the_whole_network(file: str) -> None:
    freeze, expected = FIRST_BLOCKS[file]
    node = OmegaConf.load(conf_dir() / "backbone" / f"{file}.yaml")
    model = network(OmegaConf.to_container(node), freeze=freeze)
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
        blocks = split_off(model)
        features = blocks(image).contiguous()
        assert torch.equal(model.embed(features), whole)
        # Both parts matter: other features, or other later blocks, give another embedding.
        assert not torch.allclose(model.embed(features + 1), whole)
        following = model.later_blocks.names[:1]
        model.later_blocks = None
        assert torch.equal(model.embed(image), whole)
    assert following or file == "perceptron"  # which has one layer
    for name in following:
        assert any(p.requires_grad for p in model.backbone.get_submodule(name).parameters())


def test_perceptrons_are_one_block() -> None:
    node = OmegaConf.to_container(OmegaConf.load(conf_dir() / "backbone" / "motion_mlps.yaml"))
    model = network(node, freeze="all").eval()
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        whole = model.embed(image)
        assert torch.equal(model.embed(split_off(model)(image)), whole)
    assert frozen_prefix(network(node, freeze="perceptrons.layers.0")) == []


def test_a_wholly_frozen_backbone_leaves_the_head() -> None:
    model = network(freeze="all").eval()
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        whole = model.embed(image)
        features = split_off(model)(image)
        assert features.shape[1] == 256
        assert model.later_blocks.names == ()
        assert torch.equal(model.embed(features), whole)


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
def test_frozen_blocks_end_where_something_moves(
    freeze: list[str], kwargs: dict[str, Any], expected: list[str]
) -> None:
    model = network({"name": "test_efficientnet", "kwargs": kwargs}, freeze=freeze)
    assert frozen_prefix(model) == expected
    assert frozen_prefix(model.eval()) == expected


def test_a_network_of_unknown_order_is_not_split_off() -> None:
    own = {"name": "swapped", "_target_": f"{__name__}.Swapped"}
    model = network(own, freeze="all")
    assert split_off(model) is None
    assert model.embed(torch.rand(2, 3, 8, 8)).shape == (2, 4)


def test_frozen_blocks_stay_still_while_their_model_trains() -> None:
    blocks = split_off(network(freeze=FREEZE))
    assert blocks is not None
    assert not any(part.training for part in blocks.modules())
    assert not any(p.requires_grad for p in blocks.parameters())


def test_the_input_statistics_of_a_checkpoint_are_those_of_its_own_training(tmp_path: Path) -> None:
    macro = network(kind=MacroPretrainModule)
    macro.provenance = {"persons": ["ck/s1"]}
    save = trainer(tmp_path)
    save.strategy.connect(macro)
    save.save_checkpoint(tmp_path / "best.ckpt")
    mean, std = input_statistics(tmp_path / "best.ckpt")
    assert mean == pytest.approx([0.0, 0.1, 0.2])
    assert std == pytest.approx([0.5, 1.0, 2.0])
