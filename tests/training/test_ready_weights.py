"""Weights that come with the package: made to the last bit, verified, loaded, used as a judge."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mer.cli import main
from mer.config.composition import compose
from mer.config.conversion import to_plain
from mer.config.settings import Backbone, Finetune, Settings, Transfer
from mer.errors import MerError
from mer.models import backbones, ready_weights
from mer.models.checkpoints import load_module, read_checkpoint
from mer.models.motion_module import MotionPretrainModule
from mer.models.ready_weights import READY, Ready
from mer.training import fold_network, runner
from mer.training.engines import frozen
from mer.training.make_weights import make
from tests.builders import Config

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Ready(
    backbone="test_efficientnet",
    words=(
        *("backbone=tiny", "input=flow", "input.size=32", "macro=synthetic_motion"),
        *("macro.motion.layout=both", "macro.motion.samples=256", "macro.epochs=2"),
        *("macro.motion.batch_size=64", "trainer.enable_progress_bar=false"),
        "input.scale=channel",
    ),
    sha256="",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    """File of small weights, its checksum, and the macro weights that it was made from."""
    folder = tmp_path_factory.mktemp("ready")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(READY, "small", SMALL)
        path, digest = make("small", folder / "assets", [f"paths.cache={folder / 'cache'}"])
    [whole] = (folder / "cache" / "macro").glob("*/best.ckpt")
    return path, digest, whole


@pytest.fixture
def small(made: tuple[Path, str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the file, in place of the weights of the package."""
    file, digest, _ = made
    path = Path(shutil.copy(file, tmp_path))
    monkeypatch.setitem(READY, "small", SMALL._replace(sha256=digest))
    monkeypatch.setattr(ready_weights, "file_of", lambda name: path)
    return path


@pytest.mark.slow
def test_they_are_made_again_to_the_last_bit(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["weights", "--make", "small", "--to", str(tmp_path / "again")]
    assert main([*words, f"paths.cache={tmp_path / 'other'}"]) == 0
    assert (tmp_path / "again" / "small.ckpt").read_bytes() == small.read_bytes()
    assert "as the weights of the package" in capsys.readouterr().out
    assert main([*words, f"paths.cache={tmp_path / 'other'}", "seed=1"]) == 1


def test_half_precision_keeps_what_the_network_says(
    made: tuple[Path, str, Path], small: Path
) -> None:
    whole = made[2]
    nets = [load_module(MotionPretrainModule, path).eval() for path in (whole, small)]
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images *= nets[0].input_std
    with torch.no_grad():
        exact, half = (net(images).softmax(1) for net in nets)
    np.testing.assert_allclose(exact, half, atol=0.01)
    assert (exact.argmax(1) == half.argmax(1)).float().mean() > 0.95
    assert small.stat().st_size < 0.6 * whole.stat().st_size


def test_a_backbone_starts_from_them(small: Path) -> None:
    node = {"name": "test_efficientnet", "weights": "mer:small"}
    network = backbones.build(node, 3).state_dict()
    kept = torch.load(small, weights_only=True)["state_dict"]
    shared = [name for name in network if "num_batches" not in name and "classifier" not in name]
    assert len(shared) > 20
    for name in shared:
        assert torch.equal(network[name], kept[f"backbone.{name}"].to(network[name].dtype))
    with pytest.raises(MerError, match="mer:small does not fit resnet18"):
        backbones.build({**node, "name": "resnet18"}, 3)


def test_altered_and_unknown_weights_are_refused(small: Path) -> None:
    node = {"name": "test_efficientnet", "weights": "mer:other"}
    with pytest.raises(MerError, match="has no such weights; there is mer:motion-"):
        backbones.build(node, 3)
    small.write_bytes(small.read_bytes()[:-1] + b"x")
    with pytest.raises(MerError, match=r"is altered; install mer again, or make the file anew"):
        backbones.build({**node, "weights": "mer:small"}, 3)
    small.unlink()
    with pytest.raises(MerError, match="is missing"):
        backbones.build({**node, "weights": "mer:small"}, 3)


def test_a_run_from_them_has_zero_shot_scores(
    small: Path, tiny_config: Config, tmp_path: Path
) -> None:
    words = ("protocol.n_splits=2", "model.epochs=1", "macro.enabled=false", "callbacks=none")
    cfg = tiny_config(*words, "input.scale=channel", "backbone.weights=mer:small")
    result = runner.run(cfg, tmp_path / "run")
    assert list(result["heads"]) == ["softmax", "zero_shot", "baseline", "majority"]


def test_a_frozen_run_takes_their_constants_and_embeds_once(small: Path) -> None:
    transfer = Transfer(freeze=["all"], input_stats="macro")
    own = Backbone("test_efficientnet", weights="mer:small")
    settings = Settings(backbone=own, model=Finetune(transfer=transfer))
    run: Any = SimpleNamespace(settings=settings, macro=None)
    state = read_checkpoint(small)["state_dict"]
    expected = [state[name].flatten().tolist() for name in ("input_mean", "input_std")]
    assert list(fold_network.macro_constants(run)) == expected and frozen._is_frozen(run)
    for changed in ({"input_stats": "fold"}, {"freeze": ["mobilenetv2"]}):
        run.settings = replace(settings, model=Finetune(transfer=replace(transfer, **changed)))
        assert not frozen._is_frozen(run)
        assert (fold_network.macro_constants(run) is None) == ("input_stats" in changed)


def test_the_list_names_file_and_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights"]) == 0
    out = capsys.readouterr().out
    assert "mer:motion-mlps  motion_mlps, 3.9 MB" in out and "motion-mlps.md" in out


@pytest.mark.parametrize("name", READY)
def test_what_the_package_holds_can_be_used_at_once(name: str) -> None:
    path = ready_weights.checkpoint(f"mer:{name}")
    card = path.with_suffix(".md").read_text()
    assert f"mer weights --make {name}" in card and READY[name].sha256 in card
    module = load_module(MotionPretrainModule, path)
    assert module.provenance["persons"] == [] and module.provenance["synthetic_motion"]
    node = compose([f"backbone={READY[name].backbone}", f"backbone.weights=mer:{name}"]).backbone
    network = backbones.build(to_plain(node), 3).state_dict()
    kept = {k: v for k, v in module.backbone.state_dict().items() if "num_batches" not in k}
    assert len(kept) > 10
    for key, tensor in kept.items():
        assert torch.equal(network[key], tensor), key


def test_all_files_together_are_small() -> None:
    assert sum(ready_weights.file_of(name).stat().st_size for name in READY) < 8e6
