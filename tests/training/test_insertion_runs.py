"""Runs whose macro network is the MobileNetV2 path, and whose transformer blocks join it later."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from mer.cache import entries
from mer.config.composition import compose, typed
from mer.training import pretrain, runner
from tests.builders import as_on_a_gpu, fails_after_one_fold
from tests.training.test_parallel_folds import assert_equal_runs

Config = Callable[..., DictConfig]

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = (
    "backbone=mobilevit_xxs",
    "macro.network=mobilenetv2",
    "model.transfer.insertion=residual",
    "model.transfer.blocks=auto",
    "model.transfer.lr_scale=0.1",
    "model.transfer.freeze=[stem]",
    "protocol.n_splits=2",
    "model.epochs=1",
    "macro.epochs=1",
)


@pytest.mark.parametrize(
    ("words", "network"),
    [
        (["backbone=mobilevit_xxs"], "mobilenetv2"),
        (["backbone=mobilevitv2_050", "model.transfer.blocks=[stages.0]"], "mobilenetv2"),
        (["backbone=mobilevit_xxs", "model.transfer.blocks=all"], "whole"),
        (["model.transfer.blocks=[mobilenetv2,stages.2.1.conv_1x1]"], "whole"),
        (["backbone=efficientvit_b0"], "whole"),
        (["backbone=resnet18", "+trainer.limit_train_batches=1"], "whole"),
        (["backbone.pretrained=true"], "whole"),
        (["backbone=mobilevit_xxs", "macro.network=whole"], "whole"),
    ],
)
def test_auto_is_the_mobilenetv2_path_where_new_transformer_blocks_join_it(
    words: list[str], network: str
) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    made = typed(compose(["macro.network=auto", *words]))
    assert pretrain._with_network(made).macro.network == network
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module")
def inserted(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inserted")
    runner.run(tiny_config(*WORDS), folder)
    return folder


@pytest.mark.slow
def test_a_fold_says_how_blocks_joined_those_of_macro_pretraining(inserted: Path) -> None:
    for folder in (inserted / "folds").iterdir():
        report = (folder / "transfer.txt").read_text()
        assert "mobilevit_xxs without transformer blocks" in report
        assert "inserted: stages.4.1, starts as nothing (residual)" in report
        content = torch.load(folder / "model.ckpt", weights_only=True)
        assert content["hyper_parameters"]["transformers"] == "residual"


@pytest.mark.slow
def test_each_macro_network_has_weights_of_its_own(
    tiny_config: Config, inserted: Path, tmp_path: Path
) -> None:
    cfg = tiny_config(*WORDS, "macro.network=whole")
    before = len(entries(cfg.paths.cache, "macro"))
    runner.run(tiny_config(*WORDS, "macro.network=auto"), tmp_path / "auto")
    assert len(entries(cfg.paths.cache, "macro")) == before
    runner.run(cfg, tmp_path / "whole")
    assert len(entries(cfg.paths.cache, "macro")) == before + 1
    tables = [pd.read_parquet(run / "predictions.parquet") for run in (inserted, tmp_path / "auto")]
    pd.testing.assert_frame_equal(*tables)
    report = next((tmp_path / "whole" / "folds").glob("*/transfer.txt")).read_text()
    assert "without transformer blocks" not in report


@pytest.mark.slow
def test_an_interrupted_run_gives_what_an_uninterrupted_one_gives(
    tiny_config: Config, inserted: Path, tmp_path: Path
) -> None:
    with fails_after_one_fold(KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        runner.run(tiny_config(*WORDS), tmp_path)
    runner.run(tiny_config(*WORDS), tmp_path)
    tables = [pd.read_parquet(run / "predictions.parquet") for run in (inserted, tmp_path)]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.slow
def test_parallel_folds_take_the_same_steps(
    tiny_config: Config, inserted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_on_a_gpu(monkeypatch)
    runner.run(tiny_config(*WORDS, "trainer.folds_at_once=2"), tmp_path)
    assert_equal_runs(inserted, tmp_path)
