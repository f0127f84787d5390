"""Transformer blocks that start as nothing do so exactly, learn, and travel with their network."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mer.errors import MerError
from mer.models.checkpoints import load_module, save_network
from mer.models.frozen_blocks import split_off
from mer.models.insertion import joins_all, transformer_blocks
from mer.models.modules import MacroPretrainModule, MERModule, MicroFinetuneModule
from mer.models.transfer import load_blocks
from tests.builders import disturb, network, trainer

pytestmark = pytest.mark.usefixtures("one_thread")

MOBILEVITS = ["mobilevit_xxs", "mobilevit_xs", "mobilevit_s", "mobilevitv2_050"]
BLOCKS = ["stages.2.1", "stages.3.1", "stages.4.1"]
STARTS_AS_NOTHING = ["gate", "residual"]


def macro_checkpoint(path: Path, name: str, transformers: str = "bypass") -> MERModule:
    """Write a macro checkpoint in which norms and biases differ from any initial value."""
    model = network({"name": name}, MacroPretrainModule, transformers=transformers)
    disturb(model)
    model.provenance = {"persons": ["ck/s1", "ck/s2"]}
    save_network(model, path, 1, 1)
    return model


def outputs(model: MERModule, training: bool) -> torch.Tensor:
    image = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return model.train(training)(image)


def step(model: MERModule, optimizer: torch.optim.Optimizer) -> None:
    image = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    optimizer.zero_grad()
    model.loss(model.train()(image), torch.arange(6) % 3).backward()
    optimizer.step()


def trained(**changes: Any) -> MERModule:
    """A network whose inserted blocks add something."""
    torch.manual_seed(0)
    model = network(**changes)
    disturb(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        step(model, optimizer)
    return model.eval()


@pytest.mark.parametrize("way", STARTS_AS_NOTHING)
@pytest.mark.parametrize("name", MOBILEVITS)
def test_a_network_computes_at_first_what_its_mobilenetv2_blocks_compute(
    name: str, way: str, tmp_path: Path
) -> None:
    macro_checkpoint(tmp_path / "best.ckpt", name)
    model, path, plain = (
        network({"name": name}, transformers=one) for one in (way, "bypass", "random")
    )
    load_blocks(model, tmp_path / "best.ckpt")
    tensors = model.state_dict()
    for other in (path, plain):
        other.load_state_dict({n: tensors[n] for n in path.state_dict()}, strict=False)
    for training in (True, False):
        expected = outputs(path, training)
        assert (expected[0] - expected[1]).abs().max() > 1e-4
        torch.testing.assert_close(outputs(model, training), expected, rtol=0, atol=1e-5)
        assert not torch.allclose(outputs(plain, training), expected, rtol=0, atol=1e-2)


@pytest.mark.parametrize("way", STARTS_AS_NOTHING)
@pytest.mark.parametrize("name", MOBILEVITS)
def test_every_inserted_parameter_has_a_gradient_after_two_steps(name: str, way: str) -> None:
    model = network({"name": name}, transformers=way)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inserted = [
        (parameter_name, parameter)
        for block in model.changed_blocks
        for parameter_name, parameter in model.backbone.get_submodule(block).named_parameters(block)
    ]
    assert model.changed_blocks == BLOCKS
    assert any("attn" in name for name, _ in inserted)
    step(model, optimizer)
    assert any(parameter.grad.abs().max() > 0 for _, parameter in inserted)
    step(model, optimizer)
    assert [name for name, parameter in inserted if not parameter.grad.abs().max() > 0] == []


def test_the_mobilenetv2_path_holds_no_transformer_block() -> None:
    whole, path = (
        network({"name": "mobilevit_xxs"}),
        network({"name": "mobilevit_xxs"}, transformers="bypass"),
    )
    missing = set(whole.state_dict()) - set(path.state_dict())
    assert set(path.state_dict()) < set(whole.state_dict())
    assert {".".join(name.split(".")[1:4]) for name in missing} == set(BLOCKS)
    assert transformer_blocks(path.backbone) == []


def test_names_of_tensors_stay_timms() -> None:
    def names(name: str, transformers: str) -> set[str]:
        return set(network({"name": name}, transformers=transformers).backbone.state_dict())

    norms = {f"{block}.conv_fusion.bn" for block in BLOCKS}
    gates = {f"{block}.gate.gamma" for block in BLOCKS}
    for way, added in (("gate", gates), ("residual", set())):
        left_out = names("mobilevit_xxs", "random") - names("mobilevit_xxs", way)
        assert {name.rpartition(".")[0] for name in left_out} == norms
        assert names("mobilevit_xxs", way) < names("mobilevit_xxs", "random")
        assert names("mobilevitv2_050", way) ^ names("mobilevitv2_050", "random") == added
    frozen = network(
        {"name": "mobilevit_xxs"}, transformers="residual", freeze=["stages.3.1.transformer"]
    )
    still = [name for name, p in frozen.backbone.named_parameters() if not p.requires_grad]
    assert still and all(name.startswith("stages.3.1.transformer.") for name in still)


@pytest.mark.parametrize("name", ["efficientvit_b0", "mobilenetv3_small_100", "test_resnet"])
def test_other_backbones_stay_as_they_are(name: str) -> None:
    torch.manual_seed(0)
    plain = network({"name": name})
    torch.manual_seed(0)
    model = network({"name": name}, transformers="residual")
    assert model.changed_blocks == []
    assert str(model.backbone) == str(plain.backbone)
    assert not joins_all(plain.backbone, None)
    for tensor, other in zip(model.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(tensor, other)


def test_the_report_names_blocks_that_stay_as_they_are(tmp_path: Path) -> None:
    macro_checkpoint(tmp_path / "best.ckpt", "efficientvit_b0", "random")
    model = network({"name": "efficientvit_b0"}, transformers="gate")
    report = load_blocks(model, tmp_path / "best.ckpt")
    assert set(report.inserted.values()) == {"random"}
    assert "inserted: stages.2.blocks.1, as initialised" in str(report)


@pytest.mark.parametrize("way", ["bypass", *STARTS_AS_NOTHING])
@pytest.mark.parametrize("name", ["mobilevit_xxs", "mobilevitv2_050"])
def test_a_checkpoint_gives_the_same_network(name: str, way: str, tmp_path: Path) -> None:
    model = trained(backbone={"name": name}, transformers=way)
    model.provenance = {"persons": ["samm/006"]}
    save_network(model, tmp_path / "model.ckpt", 1, 3)
    again = load_module(MicroFinetuneModule, tmp_path / "model.ckpt").eval()
    assert str(again) == str(model)
    assert torch.equal(outputs(again, False), outputs(model, False))


@pytest.mark.parametrize("way", STARTS_AS_NOTHING)
def test_frozen_inserted_blocks_are_split_off_and_say_what_they_are(way: str) -> None:
    backbone = {"name": "mobilevitv2_050"}
    model = trained(backbone=backbone, transformers=way, freeze="all")
    disturb(model)
    image = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        whole = model.embed(image)
        frozen = split_off(model)
        assert torch.equal(model.embed(frozen(image)), whole)
    plain = split_off(network(backbone, freeze="all"))
    assert str(frozen) != str(plain)  # part of the key of their features


def test_training_goes_on_from_a_checkpoint_as_without_interruption(tmp_path: Path) -> None:
    samples = [
        {"image": image, "label": torch.tensor(i % 3)}
        for i, image in enumerate(torch.rand(9, 3, 32, 32))
    ]
    data = torch.utils.data.DataLoader(samples, batch_size=3)

    def made() -> MERModule:
        torch.manual_seed(0)
        optimizer = {"schedule": "constant", "lr": 0.01}
        return network({"name": "mobilevit_xxs"}, transformers="gate", optimizer=optimizer)

    whole, first, second = made(), made(), made()
    trainer(tmp_path, max_epochs=2).fit(whole, data)
    stopped = trainer(tmp_path, max_epochs=1)
    stopped.fit(first, data)
    stopped.save_checkpoint(tmp_path / "last.ckpt")
    trainer(tmp_path, max_epochs=2).fit(second, data, ckpt_path=tmp_path / "last.ckpt")
    gate = "backbone.stages.3.1.conv_fusion.conv.weight"
    assert not torch.equal(whole.state_dict()[gate], first.state_dict()[gate])
    for name, tensor in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name


def test_taken_over_blocks_are_those_of_the_checkpoint_and_others_join_them(
    tmp_path: Path,
) -> None:
    macro = macro_checkpoint(tmp_path / "best.ckpt", "mobilevit_xxs", "random")
    words = ["mobilenetv2", "stages.2.1"]
    model = network({"name": "mobilevit_xxs"}, transformers="residual", taken_over=words)
    report = load_blocks(model, tmp_path / "best.ckpt", words)
    assert model.changed_blocks == ["stages.3.1", "stages.4.1"]
    assert report.inserted == {"stages.3.1": "residual", "stages.4.1": "residual"}
    block, others = model.backbone.stages[2][1], macro.backbone.stages[2][1]
    assert str(block) == str(others)
    for name, tensor in block.state_dict().items():
        assert torch.equal(tensor, others.state_dict()[name])
    text = str(report)
    assert "checkpoint: mobilevit_xxs, sha256" in text
    assert "inserted: stages.3.1, starts as nothing (residual)" in text
    assert "inserted: stages.2.1" not in text


def test_the_report_says_how_blocks_were_inserted(tmp_path: Path) -> None:
    macro = macro_checkpoint(tmp_path / "best.ckpt", "mobilevit_xxs")
    model = network({"name": "mobilevit_xxs"}, transformers="gate")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    text = str(load_blocks(model, tmp_path / "best.ckpt"))
    assert "checkpoint: mobilevit_xxs without transformer blocks, sha256" in text
    assert "loaded: 132 tensors" in text
    for block in BLOCKS:
        assert f"inserted: {block}, starts as nothing (gate)" in text
    assert "backbone.stages.2.1 MobileVitBlock: 40" in text
    blocks = tuple(f"backbone.{block}." for block in BLOCKS)
    for name, tensor in model.state_dict().items():
        taken_over = name.startswith("backbone.st") and not name.startswith(blocks)
        source = macro.state_dict() if taken_over else before
        assert torch.equal(tensor, source[name]), name


def test_blocks_that_were_not_trained_cannot_be_taken_over(tmp_path: Path) -> None:
    macro_checkpoint(tmp_path / "best.ckpt", "mobilevit_xxs")
    model = network({"name": "mobilevit_xxs"})
    with pytest.raises(MerError, match=r"no transformer blocks; .*stages\.2\.1.*network=whole"):
        load_blocks(model, tmp_path / "best.ckpt", "all")
    with pytest.raises(MerError, match="transformers=later; set random, bypass"):
        network({"name": "mobilevit_xxs"}, transformers="later")
