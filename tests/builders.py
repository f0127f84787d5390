"""Small inputs that several test files build: samples, networks, trainers."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from mer.config import maker
from mer.config.composition import conf_dir
from mer.config.settings import Input
from mer.data.dataset import UnifiedDataset
from mer.models.modules import MERModule, MicroFinetuneModule
from mer.training import fold, workers
from mer.training.engines import parallel

#: What the fixture `tiny_config` is.
Config = Callable[..., DictConfig]

#: What the fixture `own_cache` is.
OwnCache = Callable[[Path], str]

CLASSES = ["negative", "positive", "surprise"]

#: Files of `conf/backbone` that name a network: all but the one without weights.
NETWORKS = sorted(
    path for path in (conf_dir() / "backbone").glob("*.yaml") if path.stem != "pixels"
)

#: A run without a network, on small inputs.
PIXELS = ("backbone=pixels", "macro.enabled=false", "model.augment=null", "input.size=16")

AUGMENT = {
    "flip": 0.5,
    "shift": 0.1,
    "scale": 0.1,
    "rotate": 5.0,
    "gain": 0.2,
    "offset": 0.1,
    "noise": 0.02,
}


def network(
    backbone: dict[str, Any] | None = None, kind: type[MERModule] = MicroFinetuneModule, **more: Any
) -> MERModule:
    arguments = {
        "backbone": backbone or {"name": "test_efficientnet"},
        "in_chans": 3,
        "classes": CLASSES,
        "input_mean": [0.0, 0.1, 0.2],
        "input_std": [0.5, 1.0, 2.0],
    }
    return kind(**{**arguments, **more})


def disturb(module: nn.Module) -> None:
    """Move biases, norms and their statistics away from 0 and 1, where they would do nothing."""
    generator = torch.Generator().manual_seed(1)
    for tensor in module.state_dict().values():
        if tensor.dtype.is_floating_point and tensor.ndim == 1:
            tensor.add_(0.2 * torch.rand(tensor.shape, generator=generator))


def flow_dataset(**settings: Any) -> UnifiedDataset:
    """24 samples of 32 pixels; the flow of class k points in direction k."""
    rng = np.random.default_rng(0)
    flow = rng.normal(0, 0.3, (24, 3, 32, 32)).astype(np.float32)
    labels = np.arange(24) % 3
    flow[labels == 0, 0, :16] += 1
    flow[labels == 1, 1, 16:] += 1
    table = pd.DataFrame(
        {
            "sample_id": [f"smic/s{i:02d}/clip" for i in range(24)],
            "dataset": "smic",
            "label": [CLASSES[label] for label in labels],
            "store": 0,
            "row": range(24),
            "has_onset": True,
        }
    )
    chosen = Input(**{"name": "flow", "size": 32, "center": "none", "cache_gb": 1, **settings})
    return UnifiedDataset(
        table, [SimpleNamespace(key="k", frames=None, flow=flow)], CLASSES, chosen
    )


def save_config(config: Any, run_dir: Path) -> None:
    """Change the configuration of a run as the user who made it does."""
    OmegaConf.save(config, run_dir / "config.yaml")
    maker.mark_file(run_dir / "config.yaml")


def with_scores(frame: pd.DataFrame, classes: list[str], *heads: str) -> pd.DataFrame:
    """Add the score columns of heads to a table with their predicted classes: 1 for it, else 0."""
    columns = {
        f"{head}_{name}": (frame[head] == name).astype(float) for head in heads for name in classes
    }
    return frame.assign(**columns)


def trainer(folder: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    """A trainer of one epoch on the CPU that writes nothing."""
    defaults = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(default_root_dir=folder, callbacks=list(callbacks), **{**defaults, **options})


@contextlib.contextmanager
def fails_after_one_fold(error: BaseException) -> Iterator[None]:
    """Let the second fold that this process trains raise an error."""
    run_fold, done = fold.run_fold, []

    def fail(*arguments: Any, **more: Any) -> None:
        if done:
            raise error
        run_fold(*arguments, **more)
        done.append(arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold, "run_fold", fail)
        yield


def as_on_a_gpu(patch: pytest.MonkeyPatch) -> None:
    """Train folds in parallel, as on a GPU: all of them in this process."""
    patch.setattr(parallel, "_on_gpu", lambda _: True)
    patch.setattr(workers, "on_cpu", lambda _: False)
