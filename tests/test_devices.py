"""Which devices a run uses, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from mer.config.composition import typed
from mer.errors import MerError
from mer.training import runner
from mer.training.devices import devices, fold_device, on_cpu

Config = Callable[..., DictConfig]


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


def test_torchrun_is_told_what_to_type(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(MerError, match=r"torchrun has started 4 .*trainer.devices=2.*split\(4\)"):
        runner.run(tiny_config(), tmp_path / "run")
