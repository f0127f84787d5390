"""Shortcuts of a fold change nothing: kept networks, and frozen blocks computed once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl

from mer.cache import entries
from mer.data.augmentation import augmentation
from mer.data.dataset import UnifiedDataset
from mer.data.inputs import INPUTS
from mer.data.views import FreshInputs, SampleView
from mer.errors import MerError
from mer.training import fold_network, runner
from tests.builders import Config, OwnCache

HEAD = "callbacks.svm_head.C=0.02"


def predictions(folder: Path, name: str = "predictions") -> pd.DataFrame:
    found = [pd.read_parquet(path) for path in sorted(folder.glob(f"folds/*/{name}.parquet"))]
    return pd.concat(found, ignore_index=True)


def test_a_head_on_kept_networks_equals_one_after_training(
    tiny_config: Config, own_cache: OwnCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["protocol.n_splits=2", "protocol.validation=0.3", "macro.enabled=false"]
    cache = own_cache(tmp_path / "cache")
    plain = runner.run(tiny_config(*words, HEAD), tmp_path / "plain")
    keep = [*words, cache, "reuse_networks=true"]
    first = runner.run(tiny_config(*keep), tmp_path / "first")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a network was trained")

    monkeypatch.setattr(pl.Trainer, "fit", never)
    again = runner.run(tiny_config(*keep, HEAD), tmp_path / "again")
    assert again["heads"] == plain["heads"] != first["heads"]
    assert again["validation"] == plain["validation"]
    for name in ("predictions", "validation"):
        pd.testing.assert_frame_equal(
            predictions(tmp_path / "again", name), predictions(tmp_path / "plain", name)
        )
    for kind in ("model.ckpt", "metrics.csv", "heads.pt"):
        assert len(list((tmp_path / "again").glob(f"folds/*/{kind}"))) == 2
    assert again["cost"]["parameters"] == plain["cost"]["parameters"]
    with pytest.raises(AssertionError, match="a network was trained"):
        runner.run(tiny_config(*keep, "model.optimizer.lr=0.01"), tmp_path / "other")


@pytest.mark.parametrize(
    "augment",
    [["model.augment_draws=2"], pytest.param(["model.augment=null"], marks=pytest.mark.slow)],
)
def test_frozen_blocks_computed_once_give_the_same_predictions(
    augment: list[str], tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny_config(
        "protocol.n_splits=2",
        "model.transfer.freeze=[conv_stem,bn1,blocks.0]",
        "model.transfer.input_stats=macro",
        *augment,
    )
    cfg.paths.cache = str(tmp_path / "cache") if augment[0].endswith("null") else cfg.paths.cache
    runner.run(cfg, tmp_path / "cached")
    if "null" in augment[0]:  # one set of normalisation constants: all folds use one cache
        assert len(entries(cfg.paths.cache, "features")) == 1
    monkeypatch.setattr(fold_network.frozen_blocks, "split_off", lambda module: None)
    runner.run(cfg, tmp_path / "whole")
    cached, whole = predictions(tmp_path / "cached"), predictions(tmp_path / "whole")
    numbers = cached.select_dtypes("number").columns
    np.testing.assert_allclose(cached[numbers], whole[numbers], atol=1e-4)
    assert list(cached["svm"]) == list(whole["svm"])


def test_mirroring_says_nothing_of_contrast() -> None:
    class Ramp:
        """Samples that tell afterwards whether they were mirrored and how they were scaled."""

        labels = np.zeros(1, np.int64)

        def images(self, positions: np.ndarray) -> np.ndarray:
            ramp = np.linspace(0.2, 0.8, 16, dtype=np.float32)
            return np.tile(ramp[:, None], (len(positions), 16, 1, 3))

    settings = {"flip": 0.5, "shift": 0.0, "scale": 0.0, "rotate": 0.0}
    settings |= {"gain": 0.3, "offset": 0.0, "noise": 0.0}
    transform = augmentation(settings, INPUTS["apex"](16).kind)
    dataset: UnifiedDataset = Ramp()  # type: ignore[assignment]
    view = SampleView(FreshInputs(dataset, transform), np.zeros(1, np.int64), augmented=True)
    images = [view[0, epoch]["image"][0, 8].numpy() for epoch in range(400)]
    mirrored = [image[0] > image[-1] for image in images]
    contrast = [abs(image[0] - image[-1]) for image in images]
    assert 0.4 < np.mean(mirrored) < 0.6
    assert abs(np.corrcoef(mirrored, contrast)[0, 1]) < 0.2


def test_draws_and_statistics_that_mean_nothing_are_refused(
    tiny_config: Config, tmp_path: Path
) -> None:
    cfg = tiny_config("model.augment_draws=0", "model.transfer.input_stats=mean")
    with pytest.raises(MerError, match=r"(?s)input_stats is mean.*augment_draws is 0"):
        runner.run(cfg, tmp_path)
