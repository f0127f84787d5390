"""Which devices a run uses, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mer.config.composition import typed
from mer.errors import MerError
from mer.training import runner
from mer.training.data_parallel import share
from mer.training.devices import devices, fold_device, on_cpu
from tests.builders import Config


@pytest.mark.parametrize(("wanted", "count"), [("1", 1), ("3", 3), ("auto", 1)])
def test_number_of_cpu_shares(wanted: str, count: int, tiny_config: Config) -> None:
    cfg = tiny_config(f"trainer.devices={wanted}")
    assert devices(typed(cfg)) == [torch.device("cpu")] * count
    assert fold_device(typed(cfg)) == torch.device("cpu")
    assert on_cpu(typed(cfg))


def test_devices_that_are_not_there_are_refused_before_anything_is_read(
    tiny_config: Config, tmp_path: Path
) -> None:
    with pytest.raises(MerError, match=r"trainer.devices=\[0, 1\] on trainer.accelerator=cpu"):
        runner.run(tiny_config("trainer.devices=[0,1]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_macro_pretraining_uses_devices_of_the_run(tiny_config: Config, tmp_path: Path) -> None:
    words = ("trainer.devices=2", "macro.devices=3")
    with pytest.raises(MerError, match=r"macro.devices is 3, but trainer.devices gives 2; set"):
        runner.run(tiny_config(*words), tmp_path / "run")


@pytest.mark.parametrize(("samples", "count"), [(7, 2), (12, 3), (2, 3)])
def test_each_device_trains_as_many_samples(samples: int, count: int) -> None:
    positions = np.arange(100, 100 + samples)
    shares = [share(positions, rank, count, seed=1) for rank in range(count)]
    assert {len(one) for one in shares} == {-(-samples // count)}
    found = np.concatenate(shares)
    assert set(found) == set(positions)
    assert len(found) < samples + count  # no more come twice than are needed


@pytest.mark.slow
def test_macro_pretraining_on_two_devices_gives_sound_weights(
    tiny_config: Config, tmp_path: Path, one_thread: None
) -> None:
    reports = []
    for place in ("one", "two"):
        words = (
            "trainer.devices=2",
            "macro.devices=2",
            "macro.batch_size=4",
            "protocol.n_splits=2",
        )
        cfg = tiny_config(*words, "model.epochs=1", f"paths.cache={tmp_path / place}")
        runner.run(cfg, tmp_path / f"run-{place}")
        folder = next((tmp_path / place / "macro").glob("*/pretraining.json")).parent
        reports.append(json.loads((folder / "pretraining.json").read_text()))
    first, second = reports
    del first["seconds"], second["seconds"]
    assert first == second
    # Every validation sample counts once.
    right = first["accuracy"] * first["validation_samples"]
    assert right == pytest.approx(round(right), abs=1e-4)
    weights = [
        torch.load(next((tmp_path / place / "macro").glob("*/best.ckpt")), weights_only=True)
        for place in ("one", "two")
    ]
    for name, tensor in weights[0]["state_dict"].items():
        assert torch.equal(tensor, weights[1]["state_dict"][name]), name
        assert torch.isfinite(tensor).all()
    # Each device has half of the samples, so there are half as many steps.
    per_epoch = -(-first["train_samples"] // 2) // 4
    assert weights[0]["global_step"] in (per_epoch, 2 * per_epoch)
    history = pd.read_csv(folder / "metrics.csv")["train/loss"].dropna()
    assert len(history) == 2 and np.isfinite(history).all()


def test_torchrun_is_told_what_to_type(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(MerError, match=r"torchrun has started 4 .*trainer.devices=2.*split\(4\)"):
        runner.run(tiny_config(), tmp_path / "run")
