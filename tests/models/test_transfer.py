"""Transfer loads what was asked for, bit for bit, says what it did, and refuses everything else."""

import logging
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from mer.errors import MerError
from mer.models.modules import MacroPretrainModule, MERModule, MicroFinetuneModule
from mer.models.transfer import load_blocks, refuse_known_persons
from tests.builders import network

pytestmark = pytest.mark.usefixtures("one_thread")


def make(kind: type[MERModule], name: str = "mobilevit_xxs", **changes: Any) -> MERModule:
    channels = changes.pop("in_chans", 3)
    backbone = {"name": name, "kwargs": changes.pop("kwargs", {})}
    constants = {"input_mean": [0.0] * channels, "input_std": [1.0] * channels}
    return network(backbone, kind, in_chans=channels, **constants, **changes)


def macro_checkpoint(path: Path, **changes: Any) -> MERModule:
    """Write a macro checkpoint in which every tensor differs from any initial value."""
    model = make(MacroPretrainModule, classes=["anger", "fear", "joy", "sadness"], **changes)
    generator = torch.Generator().manual_seed(1)
    for tensor in model.state_dict().values():
        if tensor.dtype.is_floating_point:
            tensor.add_(0.1 + torch.rand(tensor.shape, generator=generator))
        else:
            tensor.add_(5)
    model.provenance = {"persons": ["ck/s1", "ck/s2", "ck/s3"], "data_hash": "ab12"}
    trainer = pl.Trainer(accelerator="cpu", logger=False, default_root_dir=path.parent)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("macro") / "best.ckpt"
    macro_checkpoint(path)
    return path


def transferable(name: str) -> bool:
    """Whether a tensor of MobileViT-XXS belongs to the stem or a MobileNetV2 block, by its name."""
    starts = ("stem.", "stages.0.", "stages.1.", "stages.2.0.", "stages.3.0.", "stages.4.0.")
    return name.startswith(tuple(f"backbone.{start}" for start in starts))


def test_mobilenetv2_blocks_are_the_checkpoints_bit_for_bit(checkpoint: Path) -> None:
    model = make(MicroFinetuneModule)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    load_blocks(model, checkpoint, "mobilenetv2")
    macro = torch.load(checkpoint, weights_only=True)["state_dict"]
    after = model.state_dict()
    loaded = {name for name in after if transferable(name)}
    # Stem and seven blocks: 22 convolutions, each with a batch norm of five tensors.
    assert len(loaded) == 22 * 6
    assert all(torch.equal(after[name], macro[name]) for name in loaded)
    assert all(torch.equal(after[name], before[name]) for name in after if name not in loaded)
    attention = [name for name in after if ".transformer." in name]
    assert attention and not any(torch.equal(after[name], macro[name]) for name in attention)


def test_all_takes_the_whole_backbone_but_not_classifier_and_input(checkpoint: Path) -> None:
    model = make(MicroFinetuneModule)
    load_blocks(model, checkpoint, "all")
    macro = torch.load(checkpoint, weights_only=True)["state_dict"]
    for name, tensor in model.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(tensor, macro[name])
    assert model.classifier.weight.shape == (3, 320)  # the macro checkpoint has four classes
    assert model.input_mean.flatten().tolist() == [0.0, 0.0, 0.0]


def test_the_report_says_what_was_and_was_not_loaded(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = make(MicroFinetuneModule)
    with caplog.at_level(logging.INFO, logger="mer.models.transfer"):
        report = load_blocks(model, checkpoint)
    text = str(report)
    assert text in caplog.text
    # Parameters: convolution weights and two values per batch-norm channel; counted independently.
    count = sum(p.numel() for n, p in model.named_parameters() if transferable(n))
    assert f"loaded: 132 tensors with {count:,} parameters" in text
    assert f"transfer of mobilenetv2 from {checkpoint}" in text
    assert f"mobilevit_xxs, sha256 {report.sha256[:12]}, trained on 3 persons" in text
    assert "backbone.stages.2.1 MobileVitBlock: 45" in text
    assert "backbone.final_conv ConvNormAct: 6" in text
    assert "classifier Linear: 2" in text
    assert report.provenance["persons"] == ["ck/s1", "ck/s2", "ck/s3"]


def test_the_transfer_is_recorded_in_the_models_own_checkpoints(
    checkpoint: Path, tmp_path: Path
) -> None:
    model = make(MicroFinetuneModule)
    report = load_blocks(model, checkpoint)
    model.provenance = {"persons": ["casme2/sub01"]}
    trainer = pl.Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = MicroFinetuneModule.load_from_checkpoint(tmp_path / "model.ckpt")
    assert again.transfer == {
        "checkpoint": "best.ckpt",
        "sha256": report.sha256,
        "blocks": "mobilenetv2",
        "persons": ["ck/s1", "ck/s2", "ck/s3"],
    }
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)["mer"]
    with pytest.raises(MerError, match="trained the weights it started from: ck/s2"):
        refuse_known_persons(content, {"ck/s2", "samm/006"})


def test_transferred_blocks_learn_at_their_own_rate(tmp_path: Path) -> None:
    macro_checkpoint(tmp_path / "best.ckpt", name="test_efficientnet")
    model = make(
        MicroFinetuneModule,
        "test_efficientnet",
        lr_scale=0.1,
        optimizer={"lr": 0.5, "schedule": "constant"},
    )
    load_blocks(model, tmp_path / "best.ckpt")
    samples = [{"image": torch.rand(3, 32, 32), "label": torch.tensor(i % 3)} for i in range(4)]
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, torch.utils.data.DataLoader(samples, batch_size=4))
    rates = {
        id(parameter): group["lr"]
        for group in trainer.optimizers[0].param_groups
        for parameter in group["params"]
    }
    starts = ("conv_stem.", "bn1.", "blocks.3.", "blocks.4.")
    for name, parameter in model.named_parameters():
        slow = name.startswith(tuple(f"backbone.{start}" for start in starts))
        assert rates[id(parameter)] == pytest.approx(0.05 if slow else 0.5)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"name": "mobilevit_xs"},
            ["backbone mobilevit_xxs", "backbone mobilevit_xs", "of another shape", "instead of"],
        ),
        (
            {"name": "mobilenetv3_small_100"},
            ["backbone=mobilevit_xxs", "missing: conv_stem.weight"],
        ),
        ({"kwargs": {"width_factor": 0.5}}, ["of another shape", "stem.conv.weight"]),
        ({"in_chans": 6}, ["inputs of 3 channels", "takes 6"]),
    ],
)
def test_a_model_that_does_not_fit_is_left_alone(
    checkpoint: Path, changes: dict[str, Any], parts: list[str]
) -> None:
    model = make(MicroFinetuneModule, **changes)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(MerError) as caught:
        load_blocks(model, checkpoint)
    for part in parts:
        assert part in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.transfer is None


def test_an_empty_selection_is_refused(checkpoint: Path) -> None:
    with pytest.raises(MerError, match="selects nothing"):
        load_blocks(make(MicroFinetuneModule), checkpoint, [])
    with pytest.raises(MerError, match=r"stages\.9\.\*: no tensor"):
        load_blocks(make(MicroFinetuneModule), checkpoint, ["stages.9.*"])


def test_a_backbone_without_mobilenetv2_blocks_hands_over_all_of_it(tmp_path: Path) -> None:
    macro_checkpoint(tmp_path / "best.ckpt", name="test_resnet")
    model = make(MicroFinetuneModule, "test_resnet")
    with pytest.raises(
        MerError, match=r"set model\.transfer\.blocks to auto, all or name patterns"
    ):
        load_blocks(model, tmp_path / "best.ckpt", "mobilenetv2")
    report = load_blocks(model, tmp_path / "best.ckpt")
    assert report.tensors == len(model.backbone.state_dict())
    assert (report.blocks, model.transfer["blocks"]) == ("all", "all")


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    model = make(MicroFinetuneModule, "test_efficientnet")
    with pytest.raises(MerError, match="There is no checkpoint"):
        load_blocks(model, tmp_path / "nowhere.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(MerError, match="not a checkpoint that mer can read"):
        load_blocks(model, tmp_path / "text.ckpt")
    torch.save(nn.Linear(1, 1), tmp_path / "object.ckpt")  # would run code if it were trusted
    with pytest.raises(MerError, match="not a checkpoint that mer can read"):
        load_blocks(model, tmp_path / "object.ckpt")
    torch.save(model.backbone.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(MerError, match=r"lacks state_dict.*backbone\.weights="):
        load_blocks(model, tmp_path / "weights.pth")


def test_a_checkpoint_that_hides_its_persons_is_refused(tmp_path: Path) -> None:
    model = macro_checkpoint(tmp_path / "best.ckpt", name="test_efficientnet")
    content = torch.load(tmp_path / "best.ckpt", weights_only=True)
    del content["mer"]["persons"]
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(MerError, match="the list of the persons that trained it"):
        load_blocks(model, tmp_path / "best.ckpt")


def test_known_persons_are_refused() -> None:
    provenance = {"persons": [f"casme2/sub{i:02}" for i in range(9)], "transfer": None}
    refuse_known_persons(provenance, {"samm/006"})
    with pytest.raises(
        MerError, match=r"7 of 8 test persons .*sub01, .*sub05 and 2 more"
    ) as caught:
        refuse_known_persons(provenance, {"samm/006", *(f"casme2/sub{i:02}" for i in range(1, 8))})
    assert "Test on others" in str(caught.value)
    with pytest.raises(MerError, match="does not say which persons"):
        refuse_known_persons({}, {"samm/006"})
