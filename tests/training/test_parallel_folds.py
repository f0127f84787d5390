"""Folds trained together give, to the last bit, what they give one by one."""

import json
import math
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import timm
import torch
from omegaconf import DictConfig

from mer.config.composition import typed
from mer.data.inputs import INPUTS
from mer.errors import MerError
from mer.models.loss import CrossEntropy
from mer.models.modules import MERModule
from mer.models.optim import build_optimizer, rate_factor, set_rates
from mer.training import runner
from mer.training.engines import parallel
from mer.training.engines.cuda_graph import FoldTraining, ParallelTrainer
from tests.builders import Config, as_on_a_gpu

pytestmark = pytest.mark.usefixtures("one_thread")

#: With batches of 11 some folds have 2 steps per epoch and some 3.
PARALLEL = ("macro.enabled=false", "model.batch_size=11", "protocol.n_splits=4")


def files(run_dir: Path) -> dict[str, list[str]]:
    """Fold -> names of its files."""
    return {
        folder.name: sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
        for folder in (run_dir / "folds").iterdir()
    }


def assert_equal_runs(one: Path, other: Path) -> None:
    """All that a fold leaves behind is the same."""
    assert files(one) == files(other)
    for name in files(one):
        folders = [run_dir / "folds" / name for run_dir in (one, other)]
        first, second = (torch.load(folder / "model.ckpt", weights_only=True) for folder in folders)
        for key in ("mer", "hyper_parameters", "epoch", "global_step"):
            assert first[key] == second[key], key
        for key, tensor in first["state_dict"].items():
            assert torch.equal(tensor, second["state_dict"][key]), key
        for file in ("predictions.parquet", "metrics.csv"):
            read = pd.read_csv if file.endswith("csv") else pd.read_parquet
            pd.testing.assert_frame_equal(*(read(folder / file) for folder in folders))
        first, second = ((folder / "evidence.json").read_text() for folder in folders)
        assert json.loads(first) == json.loads(second)
        heads = [torch.load(folder / "heads.pt", weights_only=True) for folder in folders]
        for key, tensor in heads[0]["svm"]["tensors"].items():
            assert torch.equal(tensor, heads[1]["svm"]["tensors"][key]), key


def run(cfg: DictConfig, run_dir: Path, *, at_once: int) -> Path:
    cfg.trainer.folds_at_once = at_once
    runner.run(cfg, run_dir)
    return run_dir


def test_parallel_folds_take_the_steps_of_lightning(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run(tiny_config(*PARALLEL), tmp_path / "one", at_once=1)
    as_on_a_gpu(monkeypatch)
    other = run(tiny_config(*PARALLEL), tmp_path / "other", at_once=3)
    assert_equal_runs(one, other)


@pytest.mark.slow
def test_transferred_and_frozen_blocks_stay_what_they_are_in_parallel_folds(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("model.transfer.freeze=[conv_stem,bn1]", "model.transfer.lr_scale=0.1")
    options = (*PARALLEL[1:], "model.optimizer.name=sgd", *words)
    one = run(tiny_config(*options), tmp_path / "one", at_once=1)
    as_on_a_gpu(monkeypatch)
    other = run(tiny_config(*options), tmp_path / "other", at_once=4)
    assert_equal_runs(one, other)


@pytest.mark.slow
def test_the_one_of_several_parallel_folds_that_diverges_is_named(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[list[str]] = []
    losses = count(1)
    check_loss, train = MERModule.check_loss, ParallelTrainer.train

    def remember(trainer: ParallelTrainer, trainings: Sequence[FoldTraining]) -> None:
        groups.append([training.folder.name for training in trainings])
        train(trainer, trainings)

    def last_is_nan(module: MERModule, epoch: int, loss: float) -> None:
        check_loss(module, epoch, math.nan if next(losses) == len(groups[0]) else loss)

    as_on_a_gpu(monkeypatch)
    monkeypatch.setattr(ParallelTrainer, "train", remember)
    monkeypatch.setattr(MERModule, "check_loss", last_is_nan)
    with pytest.raises(MerError, match=r"folds .*, .*: Training diverged") as error:
        run(tiny_config(*PARALLEL), tmp_path / "run", at_once=3)
    assert f": fold {groups[0][-1]}: Training diverged" in str(error.value)


def test_what_keeps_folds_from_being_trained_in_parallel_is_named(tiny_config: Config) -> None:
    cfg = tiny_config("selection=oracle", "reuse_networks=true", "+trainer.gradient_clip_val=1")
    cfg.trainer.folds_at_once = "auto"
    assert parallel.obstacles(typed(cfg)) == [
        "selection=oracle",
        "reuse_networks",
        "trainer.gradient_clip_val",
    ]


def test_a_backbone_that_draws_for_itself_is_trained_one_by_one(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny_config()
    cfg.trainer.folds_at_once = "auto"
    as_on_a_gpu(monkeypatch)
    run = SimpleNamespace(
        settings=typed(cfg), dataset=SimpleNamespace(kind=INPUTS["flow"](32).kind)
    )
    assert parallel.engine(run, 3).width == 3
    plain = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda *args, **rest: plain(*args, **rest, drop_path_rate=0.1)
    )
    assert parallel.engine(run, 3) is None


@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 1.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs(weight: list[float] | None, smoothing: float) -> None:
    source = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 3, generator=source)
    label = torch.tensor([0, 1, 2, 2, 2, 1, 0, 0, 1])
    loss = CrossEntropy(weight, smoothing)
    own = loss(logits, label)
    theirs = torch.nn.CrossEntropyLoss(
        None if weight is None else torch.tensor(weight), label_smoothing=smoothing
    )(logits, label)
    assert own.item() == pytest.approx(theirs.item(), abs=1e-6)
    targets = loss.targets(label, logits.shape[1])
    of_targets = -(targets * torch.log_softmax(logits.double(), dim=1)).sum()
    assert float(of_targets) == pytest.approx(float(own), abs=1e-6)


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [torch.log(torch.tensor(3.0)), 0.0]])
    # Probabilities 1/2, 1/2 and 3/4, 1/4; weights 1 and 3 of labels 0 and 1: of both samples ln 2
    # and ln 4, so (1 ln 2 + 3 ln 4) / 4 = 7/4 ln 2.
    loss = CrossEntropy([1.0, 3.0])(logits, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx(7 / 4 * 0.693147, abs=1e-5)


def test_rates_are_those_of_the_schedule() -> None:
    settings = {"name": "sgd", "lr": 0.5, "schedule": "cosine", "warmup_epochs": 1}
    parameter = torch.nn.Parameter(torch.zeros(1))
    groups = [{"params": [parameter], "weight_decay": 0.0, "lr_scale": 0.1}]
    optimizer = build_optimizer(groups, settings)
    for step in range(6):
        set_rates(optimizer, settings, step, per_epoch=2, epochs=3)
        expected = 0.05 * rate_factor(step, 2, 6, "cosine")
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_recorded_graph_gives_the_same_whatever_its_width(
    tiny_config: Config, tmp_path: Path
) -> None:
    options = (*PARALLEL, "trainer.accelerator=gpu")
    one = run(tiny_config(*options), tmp_path / "one", at_once=2)
    other = run(tiny_config(*options), tmp_path / "other", at_once=4)
    assert_equal_runs(one, other)
