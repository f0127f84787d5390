"""Every file of conf/backbone keeps timm's contract; wrong nodes are refused with what to type."""

from pathlib import Path

import pytest
import timm
import torch
from omegaconf import OmegaConf
from timm.models._registry import get_deprecated_models
from torch import nn

from mer.config import absent
from mer.errors import MerError
from mer.models import backbones, blocks, weights
from tests.builders import NETWORKS

pytestmark = pytest.mark.usefixtures("one_thread")


def node(**changes: object) -> dict[str, object]:
    return {"name": "test_efficientnet", "pretrained": False, "weights": None, **changes}


class OwnNet(nn.Module):
    """A network of the user's, with the four members of the contract."""

    def __init__(self, in_chans: int, num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.num_features = width
        self.conv = nn.Conv2d(in_chans, width, 3, stride=2)
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        x = x.mean((2, 3))
        return x if pre_logits else self.fc(x)


class HalfNet(nn.Module):
    """A network that lacks a part of the contract."""

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__()
        self.num_features = 1

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize("in_chans", [3, 6])
@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_contract(path: Path, in_chans: int) -> None:
    cfg = OmegaConf.to_container(OmegaConf.load(path))
    net = backbones.build(cfg, in_chans, num_classes=3).eval()
    image = torch.rand(2, in_chans, 64, 64)
    with torch.no_grad():
        features = net.forward_features(image)
        embedding = net.forward_head(features, pre_logits=True)
        logits = net(image)
        net.reset_classifier(0)
        assert torch.equal(net(image), embedding)
    assert logits.shape == (2, 3)
    assert embedding.shape == (2, backbones.embedding_width(net, in_chans))
    assert backbones.input_stats(net) == backbones.input_stats(cfg)


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_small_inputs_run(path: Path) -> None:
    net = backbones.build(OmegaConf.to_container(OmegaConf.load(path)), 3)
    for size in (28, 32, 33):
        backbones.check_size(net, 3, size)


def test_the_width_is_measured() -> None:
    # mobilenetv3 pools 576 features and widens them to 1024 before the classifier.
    net = backbones.build(node(name="mobilenetv3_small_100"), 3)
    assert (net.num_features, backbones.embedding_width(net, 3)) == (576, 1024)


def test_measuring_leaves_the_network_alone() -> None:
    net = backbones.build(node(), 3)
    net.bn1.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    backbones.embedding_width(net, 3)
    assert net.training and not net.bn1.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_input_stats_are_the_networks_own() -> None:
    assert backbones.input_stats(node(name="mobilevit_xxs")) == ([0.0] * 3, [1.0] * 3)
    mean, std = backbones.input_stats(node(name="resnet18"))
    assert (mean, std) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # ImageNet


def test_kwargs_reach_the_network() -> None:
    net = backbones.build(node(name="mobilevit_xxs", kwargs={"width_factor": 0.5}), 3)
    assert backbones.embedding_width(net, 3) == 160  # half of 320


def test_own_class() -> None:
    cfg = node(name="own", _target_=f"{__name__}.OwnNet", kwargs={"width": 5})
    net = backbones.build(cfg, 6)
    assert isinstance(net, OwnNet)
    assert backbones.embedding_width(net, 6) == 5
    assert backbones.input_stats(cfg) == ([0.0] * 3, [1.0] * 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "mobilevit_xsx"}, "closest: mobilevit_"),
        ({"name": "weights/mobilevit.pth"}, "backbone.weights=weights/mobilevit.pth"),
        ({"name": "mobilevit_xxs.nowhere"}, "cvnets_in1k"),
        ({"name": None}, "set one like mobilevit_xxs"),
        ({"kwargs": {"bogus": 1}}, "backbone.kwargs={'bogus': 1}"),
        ({"kwargs": {"in_chans": 1}}, "backbone.kwargs.in_chans is set by the input"),
        ({"kwargs": {"global_pool": ""}}, r"\(1, 256, 2, 2\), expected \(B, E\)"),
        ({"drop_path_rate": 0.1}, "backbone.drop_path_rate is not a key"),
        ({"pretrained": True, "weights": "x.pth"}, "exclude each other"),
        ({"weights": "nowhere.pth"}, "no such file"),
        (
            {"_target_": f"{__name__}.OwnNet", "kwargs": {"widht": 5}},
            r"OwnNet takes no widht \(closest: width\); it takes in_chans, num_classes, width$",
        ),
        ({"kwargs": {"drop_rte": 0.1}}, r"it takes no drop_rte \(closest: drop_rate\); it takes"),
        ({"_target_": f"{__name__}.HalfNet"}, "lacks forward_head, reset_classifier"),
        ({"_target_": "os.system"}, "is not a torch.nn.Module"),
        ({"_target_": "collections.OrderedDict"}, "is not a torch.nn.Module"),
        ({"_target_": "nowhere.Net"}, "there is no package nowhere"),
    ],
)
def test_wrong_nodes(changes: dict[str, object], message: str) -> None:
    with pytest.raises(MerError, match=message):
        backbones.build(node(**changes), 3)


def test_a_network_that_timm_lacks_is_found_without_timm() -> None:
    names = [*timm.list_models(), *get_deprecated_models(), "resnet18.a1_in1k"]
    assert len(names) > 1000
    assert [one for name in names for one in absent.problems({"backbone": {"name": name}})] == []
    said = absent.problems({"backbone": {"name": "resnet18x"}})
    assert said == [
        "timm has no backbone.name=resnet18x; closest: resnet18, resnet18d, skresnet18, seresnet18"
    ]
    assert absent.problems({"backbone": {"name": "resnet"}})
    (own,) = absent.problems({"backbone": {"name": "ststnet"}})
    assert own.endswith("for mer's own type backbone=ststnet")


def test_a_size_that_does_not_fit() -> None:
    net = backbones.build(node(name="test_vit", kwargs={"img_size": 96}), 3)
    with pytest.raises(MerError, match=r"50 x 50.*input.size=96.*img_size=50"):
        backbones.check_size(net, 3, 50)


def test_pretrained_offline_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(MerError, match=r"pretrained=false.*backbone.weights="):
        backbones.build(node(pretrained=True), 3)


def test_pretrained_without_network_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def refuse(self: object, repository: str, timeout: float) -> None:
        tries.append((repository, timeout))
        raise ConnectionError("no network in this test")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    with pytest.raises(MerError, match=r"no network in this test\. Set backbone\.pretrained=false"):
        backbones.build(node(pretrained=True), 3)
    assert tries == [("timm/test_efficientnet.r160_in1k", weights.TIMEOUT)]


def test_local_weights(tmp_path: Path) -> None:
    source = timm.create_model("test_efficientnet", num_classes=10, in_chans=3)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    net = backbones.build(node(weights=str(tmp_path / "w.pth")), 6)
    loaded, given = net.state_dict(), source.state_dict()
    assert torch.equal(loaded["conv_head.weight"], given["conv_head.weight"])
    # Six channels take the three twice at half strength, so that the response keeps its size.
    halved = given["conv_stem.weight"].repeat(1, 2, 1, 1) / 2
    torch.testing.assert_close(loaded["conv_stem.weight"], halved)


def test_local_weights_of_another_network(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pth")
    with pytest.raises(MerError, match=r"does not fit test_efficientnet:\n.* missing: conv_stem"):
        backbones.build(node(weights=str(tmp_path / "w.pth")), 3)


def test_local_weights_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_text("hello")
    with pytest.raises(
        MerError, match=r"holds no weights that can be read. Name a file of tensors"
    ):
        backbones.build(node(weights=str(tmp_path / "w.pth")), 3)


def test_mobilenetv2_blocks_are_found_by_type() -> None:
    net = backbones.build(node(name="mobilevit_xxs"), 3)
    parts = blocks.outline(net, blocks.select(net, "mobilenetv2"))
    assert list(parts) == [
        "stem ConvNormAct",
        "stages.0 Sequential",  # one block
        "stages.1 Sequential",  # three blocks
        "stages.2.0 BottleneckBlock",
        "stages.3.0 BottleneckBlock",
        "stages.4.0 BottleneckBlock",
    ]
    # A block: three convolutions of one tensor, each with five of batch norm.
    assert parts["stages.2.0 BottleneckBlock"] == 3 * (1 + 5)
    left = set(net.state_dict()) - set(blocks.select(net, "mobilenetv2"))
    assert list(blocks.outline(net, left)) == [
        "stages.2.1 MobileVitBlock",
        "stages.3.1 MobileVitBlock",
        "stages.4.1 MobileVitBlock",
        "final_conv ConvNormAct",
    ]


def test_blocks_inside_attention_are_not_taken() -> None:
    net = backbones.build(node(name="efficientvit_b0"), 3)
    chosen = blocks.select(net, "mobilenetv2")
    assert "stages.3.blocks.0.main.inverted_conv.conv.weight" in chosen
    assert not [name for name in chosen if name.startswith("stages.3.blocks.1")]


def test_the_stem_is_the_first_convolution_and_its_norm() -> None:
    net = backbones.build(node(), 3)  # conv_stem, bn1, then blocks 0 to 2 of another type
    tops = list(dict.fromkeys(name[:8] for name in blocks.select(net, "mobilenetv2")))
    assert tops == [
        "conv_ste",
        "bn1.weig",
        "bn1.bias",
        "bn1.runn",
        "bn1.num_",
        "blocks.3",
        "blocks.4",
    ]


def test_patterns() -> None:
    net = backbones.build(node(name="mobilevit_xxs"), 3)
    chosen = blocks.select(net, ["stages.0", "final_conv.bn.*"])
    assert len(chosen) == 18 + 5
    assert blocks.select(net, "all") == list(net.state_dict())
    with pytest.raises(MerError, match=r"stages.9: .*the parts are stem, stages, final_conv"):
        blocks.select(net, ["stages.0", "stages.9"])


def test_a_network_without_mobilenetv2_blocks() -> None:
    # The bottleneck of test_byobnet has the type of MobileViT's, but no depthwise convolution.
    for name in ("resnet18", "test_byobnet"):
        with pytest.raises(MerError, match=r"set model\.transfer\.blocks to auto, all"):
            blocks.select(backbones.build(node(name=name), 3), "mobilenetv2")
