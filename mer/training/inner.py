"""Choices made inside a fold, on its training side alone (`protocol.inner`).

The persons of the training side are split once more. Each inner split trains a network, what it
says of the split's own validation persons is pooled over the splits, and the best candidate by UF1
is taken. The persons whom the fold tests or keeps apart for validation play no part. Pipelines
(`mer.training.pipelines`) come first, each by networks of its own; other choices are then made
under the pipeline that was chosen.

folds/<fold>/inner-<number>.npz   a finished inner training, until all of them are done
folds/<fold>/inner.json           every choice: candidates, their scores, what was chosen
folds/<fold>/config.yaml          the fold's configuration, where it chose a pipeline
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.callbacks.epochs import RecordEpochs
from mer.config.settings import Settings
from mer.errors import raise_all
from mer.files import write_json, write_whole
from mer.protocols import Fold, inner_folds
from mer.runs import run_files
from mer.runs.head_columns import with_offsets
from mer.training import pipelines
from mer.training.decisions import Part, Train, Trials, decide, decide_pipeline, head_scores
from mer.training.heads import make_callbacks, svm_heads

log = logging.getLogger(__name__)

FILE = "inner.json"


def problems(settings: Settings) -> list[str]:
    """What in a configuration contradicts inner choices, each with the mend."""
    inner = settings.protocol.inner
    if inner.n_splits is None:
        return []
    choose, found = inner.choose, []
    if "pipeline" in choose:
        found += pipelines.problems(settings)
    if "epochs" in choose and settings.selection != "last":
        found.append(
            f"selection={settings.selection} and protocol.inner both choose the epoch; set "
            "selection=last, or leave epochs out of protocol.inner.choose"
        )
    if "svm" in choose and not svm_heads(make_callbacks(settings.callbacks)):
        found.append(
            "protocol.inner.choose names svm, and no SVM head is named svm; set "
            "callbacks=svm_head, or leave svm out"
        )
    if settings.reuse_networks:
        found.append("reuse_networks=true keeps networks without inner choices; set false")
    return found


def choose(
    trials: Mapping[str, Trials],
    table: pd.DataFrame,
    classes: Sequence[str],
    fold: Fold,
    folder: Path,
) -> dict[str, Any]:
    """Make the choices of a fold, or read them if they are made.

    Args:
        trials: Pipeline -> how its inner splits are carried out; one without a name for a run
            without pipelines.
        table: All samples, in the order of the dataset.
        classes: Names of the K classes.
        fold: The outer fold.
        folder: Its folder; inner trainings that are finished there are not repeated.

    Returns:
        What was chosen: `pipeline` (name), `epochs` (number), `svm` (C, gamma, kernel),
        `thresholds` (head -> offset per class); without keys that `protocol.inner.choose` does not
        name.
    """
    settings = next(iter(trials.values())).settings
    inner = settings.protocol.inner
    if inner.n_splits is None:
        return {}
    path = folder / FILE
    if not path.exists():
        splits = inner_folds(table, fold, inner.n_splits, settings.seed)
        splits = [split for split in splits if split.validation]
        content = _Study(trials, table, classes, fold, folder, splits).carried_out()
        write_json(content, path)
    for file in folder.glob("inner-*.npz"):
        file.unlink()
    chosen = read_choices(path)
    log.info("fold %s, chosen on its training side: %s", fold.name, chosen)
    return chosen


@dataclass
class _Study:
    """The inner splits of a fold; see `choose`."""

    trials: Mapping[str, Trials]
    table: pd.DataFrame
    classes: Sequence[str]
    fold: Fold
    folder: Path
    splits: Sequence[Fold]

    def carried_out(self) -> dict[str, Any]:
        """Make all choices; the content of `FILE`."""
        names, n_classes = list(self.trials), len(self.classes)
        content: dict[str, Any] = {}
        choices: dict[str, Any] = {}
        if names == [""]:
            parts = self._parts("")
        else:
            judged = {name: self._judged(name) for name in names}
            choices["pipeline"] = decide_pipeline(judged, n_classes)
            content["judged"] = list(self.table["sample_id"].iloc[judged[names[0]][0]])
            parts = self._parts(choices["pipeline"]["chosen"])
        trials = self.trials[choices["pipeline"]["chosen"] if choices else ""]
        choices |= decide(trials, parts, n_classes)
        sides = [{"train": part.train_positions, "validation": part.positions} for part in parts]
        content["splits"] = [
            {side: sorted(set(self.table["person"].iloc[at])) for side, at in one.items()}
            for one in sides
        ]
        return {**content, "choices": choices}

    def _judged(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Positions, labels and predicted classes of all samples, by a pipeline's first head."""
        parts, trials = self._parts(name), self.trials[name]
        heads = trials.heads()
        if heads:
            scores = head_scores(heads[0], parts, -1, len(self.classes), quick=True)
        else:
            scores = np.concatenate([part.logits[-1] for part in parts])
        index = np.concatenate([part.positions for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        return index, labels, scores.argmax(axis=1)

    def _parts(self, name: str) -> list[Part]:
        """What the inner networks say under a pipeline, trained if they are not yet."""
        trials = self.trials[name]
        number = f"{list(self.trials).index(name)}-" if name else ""
        files = [self.folder / f"inner-{number}{place}.npz" for place in range(len(self.splits))]
        parts = []
        for split, file in zip(self.splits, files, strict=True):
            if trials.compute is not None:
                parts.append(trials.compute(split))
                continue
            if not file.exists():
                every = "epochs" in trials.settings.protocol.inner.choose
                _train(split, file, self.table, trials.train, every)
            parts.append(_read(file, self.table, self.classes))
        if others := _others(self.table, self.fold, parts):
            for file in files:  # another start must not find them
                file.unlink(missing_ok=True)
            raise_all(
                f"Fold {self.fold.name}: the choices inside it rest on samples outside of its "
                "training side:",
                others[:3],
            )
        return parts


def read_choices(path: Path) -> dict[str, Any]:
    """Read what was chosen in a fold."""
    choices = run_files.read(path, lambda path: json.loads(path.read_text())["choices"], dict)
    return made(choices)


def made(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Choice -> what was chosen."""
    return {
        name: {head: one["chosen"] for head, one in found.items()}
        if name == "thresholds"
        else found["chosen"]
        for name, found in choices.items()
    }


def apply_thresholds(
    frame: pd.DataFrame, chosen: Mapping[str, Any], classes: Sequence[str]
) -> pd.DataFrame:
    """Let the chosen offsets decide the predicted classes; probabilities and scores stay."""
    frame = frame.copy()
    for head, offsets in chosen.get("thresholds", {}).items():
        if head in frame:
            scores = frame[[f"{head}_{name}" for name in classes]].to_numpy(np.float64)
            best = with_offsets(head, scores, offsets).argmax(axis=1)
            frame[head] = np.asarray(classes, dtype=object)[best]
    return frame


def _train(split: Fold, file: Path, table: pd.DataFrame, train: Train, every: bool) -> None:
    """Train an inner split and keep what its network said, so that it is not trained again."""
    place = pd.Index(table["sample_id"])
    sides = {side: list(getattr(split, side)) for side in ("train", "validation")}
    recorder = RecordEpochs({side: place.get_indexer(ids) for side, ids in sides.items()}, every)
    train(split, recorder)
    arrays = {
        f"{side}_{key}": np.stack([epoch[side][which] for epoch in recorder.epochs])
        for side in sides
        for which, key in enumerate(("logits", "embeddings"))
    }
    index = {f"{side}_index": positions for side, positions in recorder.index.items()}
    write_whole(file, lambda to: np.savez(to, allow_pickle=False, **arrays, **index))


def _others(table: pd.DataFrame, fold: Fold, parts: Sequence[Part]) -> list[str]:
    """Samples outside of a fold's training side that trained or judged an inner network."""
    sides = [side for part in parts for side in (part.train_positions, part.positions)]
    return sorted(set(table["sample_id"].iloc[np.concatenate(sides)]) - set(fold.train))


def _read(file: Path, table: pd.DataFrame, classes: Sequence[str]) -> Part:
    """Read a finished inner split; labels join the rows by position."""
    number = {name: place for place, name in enumerate(classes)}
    labels, arrays = table["label"].map(number).to_numpy(np.int64), run_files.read_arrays(file)
    return Part(
        labels[arrays["train_index"]],
        labels[arrays["validation_index"]],
        arrays["validation_logits"].astype(np.float64),
        arrays["train_embeddings"].astype(np.float64),
        arrays["validation_embeddings"].astype(np.float64),
        arrays["train_index"],
        arrays["validation_index"],
    )
