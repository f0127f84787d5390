"""Run directories with known numbers, and what `mer compare` makes of them."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from mer import compare
from mer.cli import main

#: sample, dataset, person, label
SAMPLES = (
    ("casme2/sub01/EP01", "casme2", "casme2/sub01", "negative"),
    ("casme2/sub02/EP02", "casme2", "casme2/sub02", "positive"),
    ("samm/006/006_1", "samm", "samm/006", "surprise"),
)


def score(uf1: float, samples: int = 3) -> dict[str, Any]:
    """UF1 as given, UAR .01 and accuracy .02 above it; intervals from -.1 to +.2 around each."""
    values = {"uf1": uf1, "uar": uf1 + 0.01, "accuracy": uf1 + 0.02}
    intervals = {name: [value - 0.1, value + 0.2] for name, value in values.items()}
    return {**values, "intervals": intervals, "samples": samples, "persons": samples}


def write_run(
    directory: Path,
    heads: dict[str, float] | None = None,
    *,
    samples: Sequence[tuple[str, ...]] = SAMPLES,
    data_hash: str = "aaaa",
    done: int = 0,
    more: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Write a run directory: complete with `heads`, else with `done` of its folds finished.

    A double underscore in a setting's name stands for the dot.
    """
    config = OmegaConf.create(
        {
            "seed": 0,
            "paths": {"cache": str(directory)},
            "data": {"name": "synthetic"},
            "labels": {"classes": ["negative", "positive", "surprise"]},
            "protocol": {"name": "loso", "validation": 0.0, "folds": None},
            "model": {"epochs": 5, "lr": 0.001},
            "macro": {"epochs": 15, "enabled": True},
            "trainer": {"devices": 1},
        }
    )
    for key, value in settings.items():
        OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
    directory.mkdir(parents=True)
    OmegaConf.save(config, directory / "config.yaml")
    manifest = pd.DataFrame(samples, columns=["sample_id", "dataset", "person", "label"])
    manifest["fold"] = [f"fold-{place}" for place in range(len(samples))]
    manifest.to_parquet(directory / "manifest.parquet")
    (directory / "environment.json").write_text(json.dumps([{"data_hash": data_hash}]))
    for place in range(done):
        (directory / "folds" / f"fold-{place}").mkdir(parents=True)
        (directory / "folds" / f"fold-{place}" / "predictions.parquet").touch()
    result: dict[str, Any] = {"status": "incomplete"}
    if heads is not None:
        result = {
            "status": "complete",
            "seconds": 61.4,
            "heads": {
                head: {"pooled": score(uf1), "casme2": score(uf1 - 0.3, 2)}
                for head, uf1 in {**heads, "majority": 0.2}.items()
            },
            "cost": {"parameters": 1234567, "latency_ms": 9.06, "device": "cpu", "threads": 2},
        } | (more or {})
    (directory / "metrics.json").write_text(json.dumps(result))
    return directory


def write_predictions(run: Path, **heads: Sequence[str]) -> None:
    """Write what each head predicts, in the order of the manifest."""
    manifest = pd.read_parquet(run / "manifest.parquet")
    manifest.assign(**heads).to_parquet(run / "predictions.parquet")


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> list[list[str]]:
    """Lines of the terminal output, cut into cells."""
    assert main(["compare", *map(str, words)]) == 0
    return [re.split(r" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]


def compared(paths: Sequence[Path], **options: Any) -> compare.Comparison:
    return compare.side_by_side(compare.read(paths), **options)


def names(comparison: compare.Comparison) -> list[str]:
    return comparison.frame["name"].tolist()
