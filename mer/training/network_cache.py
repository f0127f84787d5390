"""Networks of folds kept for runs that differ in their heads alone (`reuse_networks`).

Kept are a fold's weights and what they say of its samples: logits and embeddings. A head that is
fitted on kept embeddings is the head that would be fitted after training, to the last bit.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mer import integrity
from mer.cache import exclusive, make_key
from mer.callbacks.head import Head, add_scores, fit_heads
from mer.config import trust
from mer.config.conversion import to_plain
from mer.config.settings import MACHINE, Settings
from mer.data.corpus import Corpus
from mer.files import fingerprint, link_or_copy, write_json
from mer.protocols import SIDES, Fold
from mer.runs import run_files
from mer.training.devices import fold_device
from mer.training.heads import make_callbacks, plain_of

Outputs = dict[str, list[dict[str, torch.Tensor]]]

#: What a fold's folder holds beside its predictions and heads.
FILES = ("model.ckpt", "metrics.csv", "transfer.txt")


class KeptNetwork:
    """The network of one fold under `<cache>/networks`.

    Args:
        settings: Settings of the run; all but heads and what says where and how fast decides.
        corpus: The samples.
        fold: Fold with its training, validation and test samples.
        macro: Checkpoint of the macro weights that the fold begins with, if any.
    """

    def __init__(
        self, settings: Settings, corpus: Corpus, fold: Fold, macro: Path | None = None
    ) -> None:
        nodes = ("backbone", "input", "model", "trainer")
        plain = {name: trust.with_sources(to_plain(getattr(settings, name))) for name in nodes}
        plain["input"].pop("cache_gb")
        plain["trainer"] = {k: v for k, v in plain["trainer"].items() if k not in MACHINE}
        plain["macro"] = macro and macro.parent.name  # the key of its entry
        record = {
            "seed": settings.seed,
            "selection": settings.selection,
            "data": corpus.hash,
            "stores": [store.key for store in corpus.stores],
            "fold": fold.name,
            "samples": [fingerprint(getattr(fold, side)) for side in SIDES],
            **plain,
        }
        if keys := plain_of(make_callbacks(settings.callbacks)):
            record["callbacks"] = trust.with_sources({key: settings.callbacks[key] for key in keys})
        self.key = make_key("networks", record, fold_device(settings).type)
        name = f"{settings.backbone.name}-{settings.input.name}-{self.key.digest}"
        self.folder = Path(settings.paths.cache, "networks", name)

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """While a network is trained and kept, another run that wants it waits."""
        return exclusive(self.folder)

    @property
    def exists(self) -> bool:
        """Whether it is kept as it was written."""
        return (self.folder / "record.json").exists() and integrity.intact(self.folder)

    def keep(self, fold_folder: Path, outputs: Outputs, record: dict[str, Any]) -> None:
        """Keep a fold's network."""
        self.folder.mkdir(exist_ok=True)
        write_json(self.key.record, self.folder / "settings.json")
        for name in FILES:
            if (fold_folder / name).exists():
                link_or_copy(fold_folder / name, self.folder / name)
        arrays = {
            f"{side}_{key}": np.concatenate([batch[key].cpu().numpy() for batch in batches])
            for side, batches in outputs.items()
            for key in ("index", "logits", "embedding")
        }
        np.savez(self.folder / "outputs.npz", allow_pickle=False, **arrays)
        write_json(record, self.folder / "record.json")
        kept = (*FILES, "outputs.npz", "record.json")
        integrity.write(self.folder, [name for name in kept if (self.folder / name).exists()])

    def forget(self) -> None:
        """Let the network be trained anew."""
        (self.folder / "record.json").unlink(missing_ok=True)

    def restore(self, fold_folder: Path) -> tuple[Outputs, dict[str, Any]]:
        """Put the files into a fold's folder; return what `keep` was given, one batch a side."""
        for name in FILES:
            if (self.folder / name).exists():
                link_or_copy(self.folder / name, fold_folder / name)
        outputs: Outputs = {}
        for name, array in run_files.read_arrays(self.folder / "outputs.npz").items():
            side, _, key = name.partition("_")
            outputs.setdefault(side, [{}])[0][key] = torch.from_numpy(array)
        return outputs, run_files.read_json(self.folder / "record.json")


def fit_on_outputs(
    heads: Sequence[Head], outputs: Outputs, labels: NDArray[np.int64], n_classes: int
) -> None:
    """Fit heads on kept embeddings, and add their scores to the batches of every side."""
    (train,) = outputs["train"]
    index = train["index"].numpy()
    fit_heads(heads, train["embedding"].double().numpy(), labels[index], n_classes, index)
    for batches in outputs.values():
        for batch in batches:
            add_scores(heads, batch)
