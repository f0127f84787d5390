"""The artefacts of a run directory, read for an audit.

Every file may be missing, cut off or changed by hand. Whatever goes wrong while reading becomes
`Unavailable`, which says which file and why.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd
from omegaconf import OmegaConf

from mer.config import stored
from mer.errors import MerError, flaw
from mer.runs import evidence, label_access, members, rundir, twins, untested
from mer.runs.head_columns import BASELINE, file_of, read_states

T = TypeVar("T")

#: Normalisation constants: they differ between folds even where the trained tensors are copies.
CONSTANTS = ("input_mean", "input_std")


class Unavailable(Exception):
    """An artefact that cannot be used.

    Args:
        what: The file, relative to the run directory.
        reason: Why not.
        damaged: Whether it is there and does not hold what it should.
    """

    def __init__(self, what: str, reason: str, damaged: bool) -> None:
        super().__init__(f"{what} {reason}")
        self.damaged = damaged


class Weights(NamedTuple):
    """What an audit needs of a checkpoint: what it says of its making, a hash of its tensors."""

    provenance: dict[str, Any]
    digest: str


class Artefacts:
    """One run directory."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._weights: dict[str, Weights] = {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration, as plain values."""
        return self._read(
            self.run_dir / "config.yaml",
            lambda path: OmegaConf.to_container(stored.read(path)),
            dict,
        )

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """Every sample that must be tested: id, dataset, subject, person, label, fold."""
        columns = ["sample_id", "dataset", "subject", "person", "label", "fold"]
        return self._table(self.run_dir / "manifest.parquet", columns)

    @cached_property
    def splits(self) -> pd.DataFrame:
        """The sides (train, validation, test) of every fold: fold, sample_id, side."""
        return self._table(self.run_dir / "splits.parquet", ["fold", "sample_id", "side"])

    @cached_property
    def signatures(self) -> pd.DataFrame:
        """Digest and signature of every sample, macro included; see `mer.runs.twins`."""
        path = self.run_dir / twins.FILE
        return self._table(path, ["sample_id", "role", "person", "kind", "digest"])

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The pooled predictions."""
        return self._table(self._found(self.run_dir, "predictions.parquet"), ["sample_id", "label"])

    @cached_property
    def baseline(self) -> pd.DataFrame | None:
        """What the SVM on the input itself predicts; None in a run without one."""
        path = rundir.find(self.run_dir, file_of(BASELINE))
        return None if path is None else self._table(path, ["sample_id", "person", "fold"])

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The scores."""
        return self._json(self._found(self.run_dir, "metrics.json"), dict)

    @cached_property
    def environment(self) -> list[dict[str, Any]]:
        """One entry per start."""
        return self._json(self.run_dir / "environment.json", list)

    @cached_property
    def looks(self) -> list[dict[str, Any]]:
        """One entry per look at the test labels."""
        return self._json(self.run_dir / label_access.FILE, list)

    @cached_property
    def folds(self) -> list[str]:
        """Names of all planned folds."""
        return [str(name) for name in dict.fromkeys(self.manifest["fold"])]

    @cached_property
    def is_ensemble(self) -> bool:
        """Whether it is the mean of other runs, so that there is nothing of its folds but rows."""
        try:
            return bool(members.nodes_of(self.config))
        except (Unavailable, MerError):
            return False

    @cached_property
    def tests_nobody(self) -> bool:
        """Whether it trains on everybody, so that there is nothing to score."""
        try:
            return untested.tests_nobody(self.config)
        except Unavailable:
            return False

    @cached_property
    def done(self) -> list[str]:
        """Names of the folds that have predictions."""
        if self.is_ensemble:
            return self.folds
        return [name for name in self.folds if rundir.is_done(self.run_dir, name)]

    @cached_property
    def person_of(self) -> dict[str, str]:
        """Sample id -> person."""
        return dict(zip(self.manifest["sample_id"], self.manifest["person"], strict=True))

    def sides(self, fold: str) -> dict[str, set[str]]:
        """Sample ids of each side of a fold, as frozen before training."""
        part = self.splits[self.splits["fold"] == fold]
        return {
            side: set(part.loc[part["side"] == side, "sample_id"])
            for side in ("train", "validation", "test")
        }

    def fold_predictions(self, fold: str) -> pd.DataFrame:
        """Predictions of a fold's test samples, without labels."""
        if self.is_ensemble:
            return self.predictions[self.predictions["fold"].astype("str") == fold]
        path = self._found(rundir.fold_folder(self.run_dir, fold), "predictions.parquet")
        return self._table(path, ["sample_id", "person", "fold"])

    def fold_validation(self, fold: str) -> pd.DataFrame | None:
        """Predictions of a fold's validation samples; None where there is no such file."""
        path = rundir.fold_folder(self.run_dir, fold) / "validation.parquet"
        return self._table(path, ["sample_id"]) if path.exists() else None

    def record(self, fold: str) -> dict[str, Any]:
        """What `fold.json` says of the training."""
        return self._json(rundir.fold_folder(self.run_dir, fold) / "fold.json", dict)

    def evidence(self, fold: str) -> dict[str, Any]:
        """Samples that took part in the fold; see `mer.runs.evidence`."""
        return self._json(rundir.fold_folder(self.run_dir, fold) / evidence.FILE, dict)

    def fold_config(self, fold: str) -> dict[str, Any]:
        """The configuration of a fold that chose its own; else the run's."""
        path = rundir.fold_folder(self.run_dir, fold) / "config.yaml"
        if not path.is_file():
            return self.config
        return self._read(path, lambda path: OmegaConf.to_container(stored.read(path)), dict)

    def history(self, fold: str) -> pd.DataFrame:
        """The metrics of each epoch."""
        path = rundir.fold_folder(self.run_dir, fold) / "metrics.csv"
        return self._read(path, pd.read_csv, pd.DataFrame)

    def weights(self, fold: str) -> Weights:
        """Provenance and hash of a fold's checkpoint."""
        if fold not in self._weights:
            path = rundir.fold_folder(self.run_dir, fold) / "model.ckpt"
            self._weights[fold] = self._read(path, _weights, Weights)
        return self._weights[fold]

    def heads(self, fold: str) -> dict[str, Any]:
        """State of the heads that were fitted on a fold's embeddings."""
        return self._read(rundir.fold_folder(self.run_dir, fold) / "heads.pt", read_states, dict)

    def _found(self, folder: Path, name: str) -> Path:
        return rundir.find(folder, name) or folder / name

    def _json(self, path: Path, kind: type[T]) -> T:
        return self._read(path, lambda path: json.loads(path.read_text()), kind)

    def _table(self, path: Path, columns: Sequence[str]) -> pd.DataFrame:
        frame = self._read(path, pd.read_parquet, pd.DataFrame)
        if absent := [name for name in columns if name not in frame]:
            raise Unavailable(self._name(path), f"lacks the columns {', '.join(absent)}", True)
        for name in columns:  # ids that were turned into numbers still have to be compared as text
            frame[name] = frame[name].astype("str")
        return frame

    def _read(self, path: Path, reader: Callable[[Path], Any], kind: type[T]) -> T:
        if not path.is_file():
            raise Unavailable(self._name(path), "is missing", False)
        try:
            content = reader(path)
        except Exception as error:  # whatever a damaged file makes a library raise
            reason = f"cannot be read ({flaw(error)[:120]})"
            raise Unavailable(self._name(path), reason, True) from error
        if not isinstance(content, kind):
            raise Unavailable(self._name(path), f"holds no {kind.__name__}", True)
        return content

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.run_dir))


def _weights(path: Path) -> Weights:
    """Read a checkpoint without running code that it may hold; its tensors are not kept."""
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    digest = hashlib.sha256()
    for name, tensor in sorted(content["state_dict"].items()):
        if name not in CONSTANTS:
            digest.update(name.encode())
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return Weights(dict(content["mer"]), digest.hexdigest())
