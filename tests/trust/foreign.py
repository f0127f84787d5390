"""Run directories as somebody else might have made them."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from mer.config.conversion import to_plain
from mer.config.settings import Data, Settings

CLASSES = ["negative", "positive", "surprise"]


def touching(path: Path) -> dict[str, Any]:
    """A node that makes a file if anybody builds it."""
    return {"_target_": "os.system", "command": f"touch {path}"}


def config(**changes: Any) -> dict[str, Any]:
    """Configuration of a run of two SMIC persons; `a__b=c` sets `a.b`."""
    data = Data("synthetic", preset="tiny", generate=True, micro={"smic": {"root": "SMIC"}})
    plain = to_plain(Settings(data=data, labels={"name": "megc2019", "classes": CLASSES}))
    plain["macro"]["enabled"] = False
    plain["callbacks"] = {"svm_head": {"_target_": "mer.callbacks.svm_head.SVMHead"}}
    for key, value in changes.items():
        *parents, last = key.split("__")
        node = plain
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return plain


def write_run(folder: Path, content: dict[str, Any] | str, fold: str = "smic-s1") -> Path:
    """Write a run of one fold that says that it is complete; it has no weights."""
    folder.mkdir(parents=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    (folder / "config.yaml").write_text(text)
    rows = [
        {
            "sample_id": f"smic/s1/{label}",
            "dataset": "smic",
            "subject": "smic/s1",
            "person": "smic/s1",
            "label": label,
            "emotion": label,
            "apex_source": "spotted",
            "fold": fold,
        }
        for label in CLASSES
    ]
    manifest = pd.DataFrame(rows)
    manifest.to_parquet(folder / "manifest.parquet")
    sides = manifest.assign(side="test")[["fold", "sample_id", "side"]]
    sides.to_parquet(folder / "splits.parquet")
    scores = {f"softmax_{name}": 1 / 3 for name in CLASSES}
    manifest.assign(softmax=manifest["label"], **scores).to_parquet(folder / "predictions.parquet")
    environment = [{"data_hash": "0", "mer": "0", "git": None, "packages": {}}]
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "metrics.json").write_text(json.dumps({"status": "incomplete", "missing_folds": []}))
    return folder


def package(folder: Path) -> Path:
    """A package `pwned` on the path, whose import leaves a file; returns that file."""
    (folder / "pwned").mkdir(parents=True)
    trace = folder / "imported"
    (folder / "pwned" / "__init__.py").write_text(
        f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n\n"
        "class Loss:\n    def __init__(self, **_): pass\n"
    )
    sys.modules.pop("pwned", None)
    return trace
