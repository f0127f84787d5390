"""A run without a network: softmax and SVM on the input itself."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mer.audit import audit
from mer.config import trust
from mer.config.composition import typed
from mer.data import sources
from mer.errors import MerError
from mer.models.checkpoints import load_module
from mer.models.modules import MicroFinetuneModule
from mer.runs import rundir
from mer.training import checks, runner
from mer.training.evaluate import evaluate
from tests.builders import PIXELS, Config

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def finished(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("pixels") / "run"
    runner.run(tiny_config(*PIXELS), run_dir)
    return run_dir


def test_the_embedding_is_the_normalised_input(finished: Path, tiny_config: Config) -> None:
    settings = typed(tiny_config(*PIXELS))
    corpus = sources.load(settings, "micro", sources.read(settings, "micro")["micro"])
    data = sources.dataset(settings, corpus)
    splits = pd.read_parquet(finished / "splits.parquet")
    name = splits["fold"].iloc[0]
    module = load_module(
        MicroFinetuneModule, rundir.fold_folder(finished, name) / "model.ckpt", trust.LISTED
    )
    image = torch.from_numpy(data.images(np.arange(2))).permute(0, 3, 1, 2)
    expected = ((image - module.input_mean) / module.input_std).flatten(1)
    assert torch.equal(module.eval().embed(image), expected)
    # The constants are those of this fold's training side.
    train = splits[(splits["fold"] == name) & (splits["side"] == "train")]["sample_id"]
    _, std = data.statistics(data.positions(list(train)), ([0.0] * 3, [1.0] * 3))
    assert module.input_std.flatten().tolist() == pytest.approx(std)


def test_it_is_evaluated_and_audited_as_any_other_run(finished: Path) -> None:
    assert set(evaluate(finished)["different_labels"].values()) == {0}
    assert audit(finished).verdict == "pass"


def test_what_needs_a_network_is_refused_together(tiny_config: Config) -> None:
    with pytest.raises(MerError) as error:
        checks.check(typed(tiny_config("backbone=pixels")))
    assert "backbone=pixels has nothing to pretrain; set macro.enabled=false" in str(error.value)
    assert "does not train in epochs; set model.augment=null" in str(error.value)
