"""Networks for flow pictures compute what their papers say; streams stay apart until they join."""

import re
from pathlib import Path

import pytest
import torch

from mer.deploy.model_files import OPSET
from mer.errors import MerError
from mer.models import frozen_blocks
from mer.models.flow_networks import (
    NETWORKS,
    AttendedRecurrence,
    Attention,
    DualInception,
    FlowNetwork,
    OFFApexNet,
    Perceptron,
    RegionTransformer,
    STSTNet,
)
from mer.models.grad_cam import class_activation, find_layer
from tests.builders import disturb, network

pytestmark = pytest.mark.usefixtures("one_thread")

#: Weights by hand: (inputs + 1 for the bias) times outputs, layer by layer.
PARAMETERS = {
    Perceptron: (3 * 784 + 1) * 128,
    STSTNet: (3 * 9 + 1) * 16 + 2 * 16,
    OFFApexNet: 2 * (26 * 6 + (6 * 25 + 1) * 16) + (2 * 784 + 1) * 1024 + 1025 * 1024,
    DualInception: 2 * (3 * 2 * 6 + 2 * 6 + 55 * 6 + 151 * 6)
    + 2 * (4 * 25 * 16 + 145 * 16 + 401 * 16)
    + (2 * 64 * 49 + 1) * 1024,
}


@pytest.mark.parametrize("kind", PARAMETERS)
def test_parameters_are_those_of_the_layers(kind: type[FlowNetwork]) -> None:
    assert sum(p.numel() for p in kind(3).parameters()) == PARAMETERS[kind]


def test_pictures_of_twice_the_size_are_averaged() -> None:
    net = Perceptron(3).eval()
    large = torch.rand(2, 3, 56, 56)
    small = large.unflatten(3, (28, 2)).unflatten(2, (28, 2)).mean(dim=(3, 5))
    torch.testing.assert_close(net(large), net(small))


@pytest.mark.parametrize("kind", [OFFApexNet, DualInception])
def test_each_stream_sees_its_channel_alone(kind: type[FlowNetwork]) -> None:
    net = kind(3, channels=[2, 0]).eval()
    image = torch.rand(1, 3, 28, 28)
    before = net.forward_features(image)
    half = before.shape[1] // 2
    for channel, first, second in ((0, True, False), (1, True, True), (2, False, True)):
        changed = image.clone()
        changed[:, channel] += torch.rand(28, 28)
        after = net.forward_features(changed)
        assert torch.equal(before[:, :half], after[:, :half]) is first
        assert torch.equal(before[:, half:], after[:, half:]) is second


def test_a_stream_for_a_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(MerError, match=re.escape("channels=[0, 3] must be some of the input's")):
        OFFApexNet(3, channels=[0, 3])


def test_recurrence_and_attention_by_hand() -> None:
    block = AttendedRecurrence(1).eval()
    for convolution, middle in ((block.forth[0], 0.0), (block.back[0], 1.0)):
        torch.nn.init.zeros_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
        side = convolution.kernel_size[0]
        convolution.weight.data[0, 0, side // 2, side // 2] = middle
    # What goes forth is 0. Then the state is the input, and after the second time twice the input;
    # its largest values are 10, 14, 26, 30. Means of the input: 2.5, 4.5, 10.5, 12.5.
    maps = torch.arange(16.0).view(1, 1, 4, 4)
    expected = torch.tensor([[0.0, 14 * 0.2], [26 * 0.8, 30.0]])
    torch.testing.assert_close(block(maps)[0, 0], expected, atol=1e-3, rtol=1e-4)


def test_attention_stays_inside_a_square() -> None:
    attention = Attention(8, side=2, depth=1).eval()
    maps = torch.rand(1, 8, 4, 4)
    before = attention(maps)
    maps[:, 0, 3, 0] += 1  # in the lower left square
    same = (attention(maps) == before).all(dim=1)[0]
    assert same.tolist() == [[True] * 4] * 2 + [[False, False, True, True]] * 2


def test_regions_attend_to_each_other_at_last() -> None:
    net = RegionTransformer(3).eval()
    image = torch.rand(1, 3, 28, 28)
    before = net.forward_features(image)
    image[:, :, :7, :7] += 1
    assert not (net.forward_features(image) == before).all(dim=1).any()


@pytest.mark.parametrize("kind", NETWORKS)
def test_nothing_is_frozen_unless_it_is_asked_for(kind: type[FlowNetwork]) -> None:
    node = {"name": "own", "_target_": f"{kind.__module__}.{kind.__name__}"}
    assert frozen_blocks.frozen_prefix(network(node)) == []
    assert not frozen_blocks.is_random(network(node).backbone)  # folds may be trained in parallel


@pytest.mark.filterwarnings("ignore")  # of the exporter
@pytest.mark.parametrize("kind", NETWORKS)
def test_onnx_and_grad_cam_take_it(kind: type[FlowNetwork], tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    node = {"name": "own", "_target_": f"{kind.__module__}.{kind.__name__}"}
    model = network(node).eval()
    disturb(model)
    image = torch.rand(3, 3, 28, 28)
    path = str(tmp_path / "net.onnx")
    names = {"input_names": ["image"], "dynamic_axes": {"image": {0: "batch"}}}
    torch.onnx.export(model, (image[:2],), path, dynamo=False, opset_version=OPSET, **names)
    (logits,) = runtime.InferenceSession(path).run(None, {"image": image.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), model(image), atol=1e-4, rtol=1e-4)
    predicted, maps = class_activation(model, find_layer(model, image[:1]), image)
    assert predicted.tolist() == model(image).argmax(dim=1).tolist()
    assert maps.shape[0] == 3
    assert maps.any()
