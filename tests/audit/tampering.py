"""Changing a finished run on disk, and asking the audit what it sees."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import OmegaConf

from mer.audit import Artefacts, audit
from mer.runs import checksums


def forge(run_dir: Path) -> Path:
    """Write checksums that fit what was changed."""
    checksums.write(run_dir, Artefacts(run_dir).metrics)
    return run_dir


def failures(run_dir: Path, forged: bool = True) -> dict[str, str]:
    """Name -> evidence of every check that fails, with checksums that fit unless told otherwise."""
    if forged and (run_dir / "checksums.json").exists():
        forge(run_dir)
    return {
        check.name: check.evidence for check in audit(run_dir).checks if check.verdict == "fail"
    }


def change(path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Rewrite a table."""
    edit(pd.read_parquet(path)).to_parquet(path, index=False)


def everywhere(run_dir: Path, name: str, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Rewrite a table of the run and those of the same name in its folds."""
    for path in [run_dir / name, *run_dir.glob(f"folds/*/{name}")]:
        change(path, edit)


def say(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Change what a checkpoint says of its making."""
    content = torch.load(path, weights_only=True)
    edit(content["mer"])
    torch.save(content, path)


def set_config(run_dir: Path, key: str, value: object) -> None:
    config = OmegaConf.load(run_dir / "config.yaml")
    OmegaConf.update(config, key, value, force_add=True)
    OmegaConf.save(config, run_dir / "config.yaml")


def manifest(run_dir: Path) -> pd.DataFrame:
    return pd.read_parquet(run_dir / "manifest.parquet")


def first_fold(run_dir: Path) -> str:
    return str(manifest(run_dir)["fold"].min())


def pooled(run_dir: Path) -> Path:
    return run_dir / "predictions.parquet"


def in_fold(run_dir: Path, name: str) -> Path:
    return run_dir / "folds" / first_fold(run_dir) / name


def write_manifest(
    folder: Path, rows: list[tuple[str, str, str, str]], **data: object
) -> Artefacts:
    """A run directory of a manifest and sides alone: sample, person, label, fold."""
    table = pd.DataFrame(rows, columns=["sample_id", "person", "label", "fold"])
    table["dataset"] = table["sample_id"].str.split("/").str[0]
    table["subject"] = table["sample_id"].str.rsplit("/", n=1).str[0]
    folder.mkdir(parents=True)
    table.to_parquet(folder / "manifest.parquet")
    sides = [
        (fold, sample, "test" if fold == own else "train")
        for fold in table["fold"].unique()
        for sample, own in zip(table["sample_id"], table["fold"], strict=True)
    ]
    columns = ["fold", "sample_id", "side"]
    pd.DataFrame(sides, columns=columns).to_parquet(folder / "splits.parquet")
    OmegaConf.save({"data": data, "labels": {"name": "megc2019"}}, folder / "config.yaml")
    (folder / "metrics.json").write_text('{"status": "incomplete"}')
    return Artefacts(folder)
