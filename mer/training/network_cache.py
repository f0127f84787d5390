"""Networks of folds kept for runs that differ in their heads alone (`reuse_networks`).

Kept are a fold's weights and what they say of its samples: logits and embeddings. A head that is
fitted on kept embeddings is the head that would be fitted after training, to the last bit.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from mer.callbacks.head import Head, add_scores, fit_heads
from mer.config import trust
from mer.config.settings import Settings, to_plain
from mer.files import link_or_copy, write_json
from mer.protocols import Fold
from mer.runs.rundir import MACHINE
from mer.training.heads import make_callbacks, plain_of

#: Raise it when a change of the code changes the networks that the same settings give.
FORMAT = 4

Outputs = dict[str, list[dict[str, torch.Tensor]]]

#: What a fold's folder holds beside its predictions and heads.
FILES = ("model.ckpt", "metrics.csv", "transfer.txt")


class KeptNetwork:
    """The network of one fold under `<cache>/networks`.

    Args:
        cfg: Composed configuration; all but heads and what says where and how fast decides.
        data_hash: Hash of the samples.
        fold: Which samples train, validate and are tested.
    """

    def __init__(self, cfg: Settings, data_hash: str, fold: Fold) -> None:
        nodes = ("backbone", "input", "macro", "model", "trainer")
        plain = {name: trust.with_sources(to_plain(getattr(cfg, name))) for name in nodes}
        plain["input"].pop("cache_gb")
        plain["trainer"] = {k: v for k, v in plain["trainer"].items() if k not in MACHINE}
        if not cfg.macro.enabled:
            plain["macro"] = None
        sides = {side: sorted(getattr(fold, side)) for side in ("train", "validation", "test")}
        settings = {
            "format": FORMAT,
            "seed": cfg.seed,
            "selection": cfg.selection,
            "data": data_hash,
            "fold": {"name": fold.name, **sides},
            **plain,
        }
        if keys := plain_of(make_callbacks(cfg.callbacks)):
            settings["callbacks"] = trust.with_sources({key: cfg.callbacks[key] for key in keys})
        text = json.dumps(settings, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder = Path(cfg.paths.cache, "networks", digest)

    def lock(self) -> FileLock:
        """The lock under which a network is trained and kept: of two runs one waits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".lock")

    @property
    def exists(self) -> bool:
        """Whether it is kept; its record is written last."""
        return (self.folder / "record.json").exists()

    def keep(self, fold_folder: Path, outputs: Outputs, record: dict[str, Any]) -> None:
        """Keep a fold's network.

        Args:
            fold_folder: Where its files are.
            outputs: Side (train, validation, test) -> predicted batches with `index`, `logits`,
                `embedding`.
            record: What `fold.json` says of the training.
        """
        for name in FILES:
            if (fold_folder / name).exists():
                link_or_copy(fold_folder / name, self.folder / name)
        arrays = {
            f"{side}_{key}": np.concatenate([batch[key].cpu().numpy() for batch in batches])
            for side, batches in outputs.items()
            for key in ("index", "logits", "embedding")
        }
        np.savez(self.folder / "outputs.npz", **arrays)
        write_json(record, self.folder / "record.json")

    def restore(self, fold_folder: Path) -> tuple[Outputs, dict[str, Any]]:
        """Put the files into a fold's folder; return what `keep` was given, one batch a side."""
        for name in FILES:
            if (self.folder / name).exists():
                link_or_copy(self.folder / name, fold_folder / name)
        outputs: Outputs = {}
        with np.load(self.folder / "outputs.npz") as arrays:
            for name in arrays.files:
                side, _, key = name.partition("_")
                outputs.setdefault(side, [{}])[0][key] = torch.from_numpy(arrays[name])
        return outputs, json.loads((self.folder / "record.json").read_text())


def fit_on_outputs(
    heads: Sequence[Head], outputs: Outputs, labels: NDArray[np.int64], n_classes: int
) -> None:
    """Fit heads on kept embeddings, and add their scores to the batches of every side.

    Args:
        heads: Fitted in place.
        outputs: See `KeptNetwork.keep`.
        labels: Class number of every sample of the data set. Shape: (N,).
        n_classes: K.
    """
    (train,) = outputs["train"]
    fit_heads(heads, train["embedding"].double().numpy(), labels[train["index"].numpy()], n_classes)
    for batches in outputs.values():
        for batch in batches:
            add_scores(heads, batch)
