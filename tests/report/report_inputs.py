"""A run directory whose numbers are worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from mer.report.run_page import Choices, write
from mer.runs import results
from tests.builders import save_config
from tests.page_reader import Page

CLASSES = ("negative", "positive", "surprise")

#: sample, person, label, what the SVM says, by how much, what the softmax says, how surely.
#: SVM: UF1 (2/3 + 1/2 + 2/3) / 3 = .611, UAR (3/4 + 1/2 + 1/2) / 3 = .583, accuracy 5/8.
#: Softmax: UF1 (6/7 + 4/5 + 1) / 3 = .886, UAR .917, accuracy 7/8.
ROWS = (
    ("casme2/s1/a", "casme2/s1", "negative", "negative", 1.0, "positive", 0.95),
    ("casme2/s1/b", "casme2/s1", "negative", "positive", 2.0, "negative", 0.6),
    ("casme2/s1/c", "casme2/s1", "positive", "positive", 1.0, "positive", 0.6),
    ("casme2/s2/a", "casme2/s2", "surprise", "surprise", 1.0, "surprise", 0.6),
    ("casme2/s2/b", "casme2/s2", "negative", "negative", 1.0, "negative", 0.6),
    ("samm/1/a", "samm/1", "negative", "negative", 1.0, "negative", 0.6),
    ("samm/1/b", "samm/1", "positive", "negative", 0.5, "positive", 0.6),
    ("samm/1/c", "samm/1", "surprise", "negative", 1.5, "surprise", 0.6),
)

DROPPED = (
    ("casme2/s1/x", "dropped", "frame 12 is missing"),
    ("casme2/s1/y", "dropped", "frame 7 is missing"),
    ("samm/1/z", "mended", "apex taken from the middle"),
)


def write_run(directory: Path, rename: tuple[str, str] = ("", ""), mark: str = "") -> Path:
    """Write a finished run without its data, networks and folds.

    Args:
        directory: New directory.
        rename: Text in ids, persons and datasets, and what stands there instead.
        mark: `-ORACLE` for a run of `selection=oracle`.
    """
    directory.mkdir(parents=True)
    config = {
        "seed": 0,
        "selection": "oracle" if mark else "last",
        "data": {"name": "composite", "root": "/nowhere", "micro": {"casme2": {"root": "CASME2"}}},
        "labels": {"name": "megc2019", "classes": list(CLASSES)},
        "protocol": {"name": "loso", "validation": 0.0},
        "input": {"name": "flow", "size": 32},
        "backbone": {"name": "tiny"},
        "callbacks": {},
        "model": {"epochs": 5, "optimizer": {"name": "adamw", "lr": 0.001}},
    }
    save_config(OmegaConf.create(config), directory)
    frame = predictions()
    for column in ("sample_id", "person", "dataset"):
        frame[column] = frame[column].str.replace(*rename, regex=False)
    columns = ["sample_id", "dataset", "subject", "person", "label", "emotion", "fold"]
    frame[columns].to_parquet(directory / "manifest.parquet")
    frame.to_parquet(directory / f"predictions{mark}.parquet")
    dropped = pd.DataFrame(DROPPED, columns=["item", "action", "reason"]).assign(samples=1)
    dropped.to_csv(directory / "dropped.csv", index=False)
    metrics = {
        "status": "complete",
        "folds": 3,
        "heads": results.score(frame, CLASSES, seed=0),
        "seconds": 61.4,
    }
    (directory / f"metrics{mark}.json").write_text(json.dumps(metrics))
    start = {"started": "2026-11-25T08:24:30+00:00", "mer": "0.1.0", "data_hash": "aaaa"}
    (directory / "environment.json").write_text(json.dumps([start]))
    (directory / ".hydra").mkdir()
    words = ["data=megc2019", "run.dir=runs/a", "model.epochs=7"]
    OmegaConf.save(words, directory / ".hydra" / "overrides.yaml")
    return directory


def predictions() -> pd.DataFrame:
    """`ROWS` as pooled predictions."""
    rows = []
    for sample, person, label, svm, lead, softmax, sure in ROWS:
        row: dict[str, Any] = {"sample_id": sample, "person": person, "fold": person}
        row |= {"dataset": sample.split("/")[0], "subject": person.split("/")[1]}
        row |= {"label": label, "emotion": label, "svm": svm, "softmax": softmax}
        for name in CLASSES:
            row[f"svm_{name}"] = lead * (name == svm)
            row[f"softmax_{name}"] = sure if name == softmax else (1 - sure) / 2
        rows.append(row)
    return pd.DataFrame(rows)


def read(run_dir: Path, **choices: bool) -> Page:
    """Write the report of a run and read it."""
    return Page(write(run_dir, Choices(**choices))[0].read_text(encoding="utf-8"))
