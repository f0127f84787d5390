"""The run directory: its manifest, its folds.

config.yaml           the resolved configuration
environment.json      one entry per start: versions, revision, machine, seed, data hash
manifest.parquet      every sample that must be tested, with its fold; frozen before training
signatures.parquet    digest and signature of the pictures of every sample, macro included
splits.parquet        who trains, validates, is tested in each fold; frozen too
dropped.csv           what readers, labels and preparation dropped or mended, and why
folds/<name>/         model.ckpt, heads.pt, metrics.csv, transfer.txt, predictions.parquet,
                      evidence.json (whose samples took part in what);
                      inner.json with inner choices; config.yaml in a nested search
predictions.parquet   one row per sample id, all folds
baseline.parquet      one row per sample id: what an SVM on the input itself says, in the same folds
calibration.json      what turns the scores of each head into probabilities, and how well
pretrained.ckpt       of a run on synthetic motion: the network that gave the zero-shot scores
folds.csv             persons and samples per side, seconds
cost.json             parameters and time of one sample
metrics.json          pooled scores with intervals; `status` tells whether anything is missing
checksums.json        of the files above, when the run is complete
nested.json           of a nested search: which trial each fold is of, and why
label_access.json     every set of predictions that was compared with the test labels, in order
.made_here            mark of the user who made config.yaml, see `mer.config.maker`
history.csv, wandb*, tensorboard/  what loggers write
logged.jsonl          which points of the curves each logger has

With `selection=oracle` the files with predictions and scores have -ORACLE in their names, with
`protocol=random_samples` -LEAKY, with `labels.permutation` (`mer audit --null`) -NULL, with
`debug=...` -DEBUG.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from mer.config.settings import MACHINE
from mer.data.corpus import Corpus
from mer.datasets.index import Remark
from mer.errors import MerError
from mer.files import write_csv, write_parquet
from mer.protocols import LEAKY, Fold, describe
from mer.runs import run_files
from mer.runs.run_folders import is_run, no_run

#: `status` in `metrics.json` of a run that is finished: scored, or trained on everybody.
COMPLETE, UNTESTED = "complete", "untested"

#: Keys that may differ when a run is continued.
VOLATILE = (
    "paths",
    "run",
    "logger",
    "baseline",
    "objective",
    "reuse_networks",
    "search",
    "trial",
    "protocol.folds",
    "protocol.like",
    "data.root",
    "data.distinct",
    "data.strict",
    "prepare.workers",
    "input.cache_gb",
    *(f"trainer.{key}" for key in MACHINE),
)


def lasting(config: Any) -> dict[str, Any]:
    """The settings, as dotted keys, that stay as they are when a run is continued."""
    return {key: value for key, value in flatten(config).items() if not is_volatile(key)}


def is_volatile(key: str) -> bool:
    """Whether a dotted key of the configuration may differ when a run is continued."""
    return any(key == volatile or key.startswith(f"{volatile}.") for volatile in VOLATILE)


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Give a configuration as dotted keys and plain values; an empty mapping is a value."""
    plain: Any = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
    if not isinstance(plain, dict) or not plain:
        return {prefix: plain}
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def write_manifest(run_dir: Path, corpus: Corpus, folds: Sequence[Fold]) -> None:
    """Freeze which samples must be tested, in which fold, with which label.

    A fold that trains on everybody has all samples, none of which is tested.

    Raises:
        MerError: If the directory's manifest or sides are others: the data changed under the run.
    """
    fold_of = {sample: fold.name for fold in folds for sample in fold.test}
    if not fold_of:
        fold_of = {one: fold.name for fold in folds for one in (*fold.train, *fold.validation)}
    columns = ["sample_id", "dataset", "subject", "person", "label", "emotion", "apex_source"]
    if "annotated_apex" in corpus.table:  # others were chosen
        columns += ["onset", "apex", "offset", "annotated_apex"]
    manifest = corpus.table[columns].assign(fold=corpus.table["sample_id"].map(fold_of))
    path = run_dir / "manifest.parquet"
    if path.exists():
        frozen = run_files.read_table(path)
        # Parquet gives missing values back in another form, so they are compared as empty text.
        same = _as_text(frozen).equals(_as_text(manifest))
        if not same:
            raise MerError(
                f"The samples have changed since {run_dir} was started ({len(frozen)} then, "
                f"{len(manifest)} now, or other labels or folds). Start a new run directory."
            )
    sides, splits = run_dir / "splits.parquet", _splits(folds)
    if not (sides.exists() and path.exists()):
        write_parquet(splits, sides)
    elif not run_files.read_table(sides).astype("str").equals(splits):
        raise MerError(
            f"Who trains and validates has changed since {run_dir} was started (see {sides}). "
            "Start a new run directory."
        )
    if not path.exists():
        write_parquet(manifest, path)
    remarks = pd.DataFrame(corpus.remarks, columns=list(Remark._fields))
    write_csv(remarks, run_dir / "dropped.csv")
    write_csv(describe(folds, corpus.table), run_dir / "folds.csv")


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype(object).fillna("").astype("str")


def _splits(folds: Sequence[Fold]) -> pd.DataFrame:
    """One row per fold and sample: on which side it is."""
    rows = [
        (fold.name, sample, side)
        for fold in folds
        for side in ("train", "validation", "test")
        for sample in getattr(fold, side)
    ]
    return pd.DataFrame(rows, columns=["fold", "sample_id", "side"], dtype="str")


def fold_folder(run_dir: Path, name: str) -> Path:
    """Folder of one fold; no two folds share one, so no fold can pick up another's weights.

    Raises:
        MerError: If the name would lead out of the folder of all folds.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or set("\\\0") & set(name):
        raise MerError(f"{run_dir} has a fold named {name!r}, which is no folder inside the run.")
    return run_dir / "folds" / name


def is_done(run_dir: Path, name: str) -> bool:
    """Whether a fold is finished: its predictions are written last, and atomically."""
    return find(fold_folder(run_dir, name), "predictions.parquet") is not None


def finished(run_dir: Path) -> list[str]:
    """Names of the finished folds of a run, in order; empty where there is none."""
    names = sorted(path.name for path in run_dir.glob("folds/*"))
    return [name for name in names if is_done(run_dir, name)]


def require_finished(run_dir: Path) -> list[str]:
    """Names of the finished folds of a run.

    Raises:
        MerError: If there is none.
    """
    done = finished(run_dir)
    if not done:
        what = f"{run_dir} has no finished fold" if is_run(run_dir) else no_run(run_dir)
        raise MerError(f"{what}. Weights of the package do as well, e.g. mer:motion-xxs.")
    return done


#: In the names of files with scores that are none of the method: see `mark`.
MARKS = tuple(
    "".join(marks)
    for number in (1, 2, 3, 4)
    for marks in combinations(("-ORACLE", "-LEAKY", "-NULL", "-DEBUG"), number)
)


def mark(cfg: Mapping[str, Any]) -> str:
    """Say why the scores of a configuration are none of the method: one of `MARKS`, or nothing.

    The epoch is chosen on test persons (ORACLE), test persons train (LEAKY), the labels are
    permuted (NULL), or there are but few samples (DEBUG).
    """
    oracle = "-ORACLE" if cfg.get("selection") == "oracle" else ""
    leaky = "-LEAKY" if cfg.get("protocol", {}).get("name") in LEAKY else ""
    null = "-NULL" if cfg.get("labels", {}).get("permutation") is not None else ""
    debug = "-DEBUG" if cfg.get("debug") else ""
    return oracle + leaky + null + debug


def marked(name: str, cfg: Mapping[str, Any]) -> str:
    """The name of a file with scores or predictions; what speaks against them shows in it."""
    stem, _, ending = name.partition(".")
    return f"{stem}{mark(cfg)}.{ending}"


def find(folder: Path, name: str) -> Path | None:
    """A file with scores or predictions, under its plain name or a marked one; None if absent."""
    stem, _, ending = name.partition(".")
    for shown in ("", *MARKS):
        if (candidate := folder / f"{stem}{shown}.{ending}").exists():
            return candidate
    return None
