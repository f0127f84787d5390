"""Class weights of the loss that are given."""

from pathlib import Path

import pytest
import torch

from mer.training import runner
from tests.builders import Config

pytestmark = pytest.mark.usefixtures("one_thread")


def test_given_class_weights_reach_the_loss_and_pass_the_evidence(
    tiny_config: Config, tmp_path: Path
) -> None:
    words = ("macro.enabled=false", "model.epochs=1", "protocol.folds=1/3")
    runner.run(tiny_config(*words, "model.class_weights=[1.0,2.0,3.0]"), tmp_path)
    (folder,) = (path.parent for path in tmp_path.glob("folds/*/predictions.parquet"))
    state = torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]
    assert state["loss.weight"].tolist() == [1.0, 2.0, 3.0]
