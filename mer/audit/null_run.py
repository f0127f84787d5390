"""The pipeline of a run as the leak meter calls it: the package's own stages, the run's settings.

Its manifest gives persons and labels, `splits.parquet` who trained and tested, the configuration
the head and the rule that chooses the epoch, the weights whom they know.
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from mer import protocols
from mer.audit.null_meter import Samples
from mer.audit.null_stages import Feed, Floats, Pipeline, Pooled, Predicted, Side, unchanged
from mer.config import trust
from mer.errors import MerError
from mer.protocols import Fold
from mer.runs import results, rundir

log = logging.getLogger(__name__)

#: Width of the embeddings where no head tells it: that of MobileViT-XXS.
WIDTH = 320

#: Epochs to select from, at most; each costs a fit per fold.
EPOCHS = 10

#: Side length to which inputs are shrunk for the null with permuted labels.
SIDE = 16


class Run(NamedTuple):
    """A run as the leak meter sees it; `remarks` say what it cannot see and why."""

    cfg: DictConfig
    pipeline: Pipeline
    samples: Samples
    remarks: list[str]


def read(run_dir: Path) -> Run:
    """Read a run directory, and the run's inputs if they are prepared.

    Raises:
        MerError: If it has no configuration or no manifest.
    """
    absent = [name for name in ("config.yaml", "manifest.parquet") if not (run_dir / name).exists()]
    if absent:
        raise MerError(
            f"{run_dir} has no {' and no '.join(absent)}; the leak meter needs a run directory "
            "whose training has begun, e.g. runs/demo."
        )
    cfg = trust.load(run_dir / "config.yaml")
    manifest = pd.read_parquet(run_dir / "manifest.parquet")
    remarks: list[str] = []
    if not _head_node(cfg):
        remarks.append("The run has no SVM head; its softmax is measured by --full alone.")
    folders = {name: rundir.fold_folder(run_dir, name) for name in manifest["fold"].unique()}
    images, manifest = _inputs(cfg, manifest, remarks)
    samples = Samples(
        table=manifest,
        classes=list(cfg.labels.classes),
        width=_width(list(folders.values())),
        epochs=1 if cfg.selection == "last" else min(EPOCHS, int(cfg.model.epochs)),
        images=images,
        one_person=cfg.protocol.name == "loso",
    )
    pipeline = of_config(cfg, _frozen(run_dir), manifest, _strange(manifest, folders, remarks))
    return Run(cfg, pipeline, samples, remarks)


def of_config(
    cfg: DictConfig,
    frozen: list[Fold] | None = None,
    manifest: pd.DataFrame | None = None,
    strange: Collection[str] = (),
) -> Pipeline:
    """Build the pipeline that a configuration stands for.

    Args:
        cfg: `protocol`, `seed`, `selection`, `callbacks`, `labels`.
        frozen: The folds of the run; where labels are permuted, its protocol makes new ones.
        manifest: `sample_id` and `label` of the samples that `frozen` is of.
        strange: See `knowing`.
    """

    def split(table: pd.DataFrame) -> list[Fold]:
        if frozen is not None and manifest is not None:
            own = manifest.set_index("sample_id")["label"]
            if len(own) == len(table) and (table["sample_id"].map(own) == table["label"]).all():
                return frozen
        node = cfg.protocol
        splits = node.get("n_splits")
        return protocols.make_folds(table, node.name, node.validation, splits, cfg.seed)

    return Pipeline(
        samples=unchanged,
        enlarge=unchanged,
        features=unchanged,
        split=split,
        pretrain=knowing(strange),
        fit=_head(cfg),
        select=SELECT[cfg.selection],
        pool=pool,
    )


def knowing(strange: Collection[str]) -> Callable[[Feed, Fold], Feed]:
    """Weights at their worst: they know by heart the labels of persons whom they are tested on.

    Args:
        strange: Persons who trained the weights that they are tested with; nobody, if all is well.
    """

    def pretrain(feed: Feed, fold: Fold) -> Feed:
        ids, persons = feed.table["sample_id"], feed.table["person"]
        tested = set(persons[ids.isin(fold.test)]) & set(strange)
        if not tested:
            return feed
        trained = set(persons[ids.isin(fold.train)])
        return remember(feed, persons.isin(tested | trained).to_numpy())

    return pretrain


def remember(feed: Feed, rows: NDArray[np.bool_]) -> Feed:
    """Write the labels of some samples into their embeddings, as loud as all the rest of them."""
    codes, numbers = np.unique(feed.table["label"].astype(str), return_inverse=True)
    width = feed.x.shape[2]
    loud = np.random.default_rng(0).standard_normal((len(codes), width)) * 3 * feed.x.std()
    return feed._replace(x=feed.x + loud[numbers] * rows[:, None])


def _head(cfg: DictConfig) -> Callable[..., Callable[[Floats], Floats]]:
    """Fit the run's SVM head, or the default one."""
    node = _head_node(cfg)

    def fit(x: Floats, y: NDArray[np.int64], n_classes: int) -> Callable[[Floats], Floats]:
        import torch

        from mer.callbacks.svm_head import SVMHead

        head = trust.build(node, "callbacks.svm_head") if node else SVMHead()
        head.fit(x, y, n_classes)
        return lambda new: head.scores(torch.from_numpy(new)).numpy()

    return fit


def _head_node(cfg: DictConfig) -> Any:
    return (cfg.get("callbacks") or {}).get("svm_head")


def _best(side: Side) -> int:
    from mer import metrics

    said = side.scores.argmax(axis=2)
    n_classes = side.scores.shape[2]
    return int(np.argmax([metrics.scores(side.true, epoch, n_classes)["uf1"] for epoch in said]))


#: The run's `selection` -> which epoch is kept.
SELECT: dict[str, Callable[[Side, Side], int]] = {
    "last": lambda test, validation: len(test.scores) - 1,
    "validation": lambda test, validation: _best(validation),
    "oracle": lambda test, validation: _best(test),
}


def pool(predicted: Predicted, classes: Sequence[str]) -> Pooled:
    """Pool as a run does: a table per fold, joined with the manifest by sample id."""
    import torch

    from mer.training.predictions import to_frame

    table = predicted.table
    fold_of = {sample: fold.name for fold in predicted.folds for sample in fold.test}
    place = pd.Index(table["sample_id"])
    frames = []
    for fold in predicted.folds:
        outputs = [
            {
                "index": torch.from_numpy(batch.positions),
                "logits": torch.from_numpy(batch.scores),
                "svm_scores": torch.from_numpy(batch.scores),
            }
            for batch in predicted.batches
            if batch.fold == fold.name
        ]
        if outputs:  # what is missing, the join tells
            expected = place.get_indexer(list(fold.test))
            frames.append(to_frame(outputs, table, classes, expected).assign(fold=fold.name))
    manifest = table.assign(fold=table["sample_id"].map(fold_of))
    joined = results.join(pd.concat(frames, ignore_index=True), manifest)
    scored = results.score(joined, classes, seed=0, per_dataset=False)["svm"]["pooled"]
    return Pooled(float(scored["uf1"]), int(scored["samples"]))


def _frozen(run_dir: Path) -> list[Fold] | None:
    path = run_dir / "splits.parquet"
    if not path.exists():
        return None
    folds = []
    for name, rows in pd.read_parquet(path).groupby("fold", sort=False):
        sides = [
            tuple(rows.loc[rows["side"] == side, "sample_id"])
            for side in ("train", "validation", "test")
        ]
        folds.append(Fold(str(name), *sides))
    return folds


def _width(folders: Sequence[Path]) -> int:
    import torch

    for folder in folders:
        if (folder / "heads.pt").exists():
            content = torch.load(folder / "heads.pt", map_location="cpu", weights_only=True)
            tensors = content.get("svm", {}).get("tensors")
            if tensors:
                return len(tensors["mean"])
    return WIDTH


def _strange(manifest: pd.DataFrame, folders: Mapping[str, Path], remarks: list[str]) -> set[str]:
    """Persons who trained the weights that they are tested with, macro-pretraining included."""
    import torch

    strange: set[str] = set()
    absent = 0
    for name, folder in folders.items():
        path = folder / "model.ckpt"
        if not path.exists():
            absent += 1
            continue
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        provenance = content.get("mer", {})
        transfer = provenance.get("transfer") or {}
        known = {*provenance.get("persons", ()), *transfer.get("persons", ())}
        strange |= known & set(manifest.loc[manifest["fold"] == name, "person"])
    if absent:
        remarks.append(
            f"{absent} of {len(folders)} folds have no weights here, so whom those know is not "
            "measured."
        )
    return strange


def _inputs(
    cfg: DictConfig, manifest: pd.DataFrame, remarks: list[str]
) -> tuple[Floats | None, pd.DataFrame]:
    """The run's inputs, shrunk, and the manifest with `content`, if the data are there."""
    why = "its prepared inputs are not there"
    if Path(cfg.paths.cache, "prepared").is_dir():
        try:
            return _load_inputs(cfg, manifest)
        except (MerError, OSError) as error:
            why = str(error).split("\n")[0]
    remarks.append(
        f"Permuted labels meet random embeddings, and copies of clips are not looked for: {why}."
    )
    return None, manifest


def _load_inputs(cfg: DictConfig, manifest: pd.DataFrame) -> tuple[Floats, pd.DataFrame]:
    import cv2

    from mer.config.composition import typed
    from mer.data import sources
    from mer.data.dataset import UnifiedDataset

    cfg = OmegaConf.merge(cfg, {"data": {"generate": False}})
    settings = typed(cfg)
    corpus = sources.load(settings, "micro")
    data = UnifiedDataset(corpus.table, corpus.stores, corpus.classes, settings.input)
    pictures = [data.image(int(at)) for at in data.positions(list(manifest["sample_id"]))]
    small = [cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel() for p in pictures]
    images = np.stack(small).astype(np.float64)
    spread = images.std(axis=0)
    images = (images - images.mean(axis=0)) / np.where(spread > 0, spread, 1)
    content = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures]
    return images, manifest.assign(content=content)
