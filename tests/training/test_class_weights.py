"""Class weights of the loss: balanced, balanced to a power, or given."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mer.runs import rundir
from mer.training import runner
from tests.builders import Config

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("weighting", ["0.5", "[1.0,2.0,3.0]"])
def test_class_weights_are_as_set(tiny_config: Config, tmp_path: Path, weighting: str) -> None:
    words = ("macro.enabled=false", "model.epochs=1", "protocol.folds=1/3")
    runner.run(tiny_config(*words, f"model.class_weights={weighting}"), tmp_path)
    splits = pd.read_parquet(tmp_path / "splits.parquet")
    labels = pd.read_parquet(tmp_path / "manifest.parquet").set_index("sample_id")["label"]
    (folder,) = (path.parent for path in tmp_path.glob("folds/*/predictions.parquet"))
    checkpoint = torch.load(folder / "model.ckpt", weights_only=True)
    found = checkpoint["hyper_parameters"]["class_weights"]
    train = splits[(splits["side"] == "train")]
    folds = {rundir.fold_folder(tmp_path, name).name: name for name in train["fold"].unique()}
    ids = train.loc[train["fold"] == folds[folder.name], "sample_id"]
    counts = labels[ids].value_counts()
    by_hand = [
        np.sqrt(len(ids) / (3 * counts[name])) for name in ("negative", "positive", "surprise")
    ]
    assert found == pytest.approx(by_hand if weighting == "0.5" else [1.0, 2.0, 3.0])
    weight = checkpoint["state_dict"]["loss.weight"]
    assert weight.tolist() == pytest.approx(found)
