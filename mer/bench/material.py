"""What several parts measure on: samples, folds, pictures for the baseline, and runs of ours."""

import json
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from mer import protocols
from mer.bench.plain_loop import Plan, augmentation
from mer.bench.settings import Settings
from mer.data import sources
from mer.data.dataset import UnifiedDataset
from mer.errors import MerError
from mer.models import backbones, blocks
from mer.protocols import Fold
from mer.runs.observers import Observer, Progress, RunContext
from mer.training import runner


class Material(NamedTuple):
    """Samples of a configuration, and the folds that are measured.

    `paths` are pictures for the baseline, in the order of the samples.
    """

    cfg: DictConfig
    dataset: UnifiedDataset
    folds: list[Fold]
    total_folds: int
    paths: list[Path]


class Run(NamedTuple):
    """Seconds of a run of ours.

    Attributes:
        folds: Each fold, from its own beginning to its end.
        together: From the start of the first fold to the end of the last.
        rest: Everything before and after.
    """

    folds: list[float]
    together: float
    rest: float


class _Watch(Observer):
    """Notes when the folds of a run begin and end."""

    began = ended = 0.0

    def start(self, run: RunContext) -> None:
        """Called before the first fold."""
        self.began = time.perf_counter()

    def fold(self, progress: Progress) -> None:
        """Called after each."""
        self.ended = time.perf_counter()


def gather(settings: Settings, cfg: DictConfig, folds: int) -> Material:
    """Prepare the samples of a configuration, once, and choose folds spread over the protocol."""
    with quiet():
        corpus = sources.load(cfg, "micro")
        dataset = sources.dataset(cfg, corpus)
    every = protocols.make_folds(corpus.table, cfg.protocol.name, seed=cfg.seed)
    places = np.unique(np.linspace(0, len(every) - 1, min(folds, len(every))).round().astype(int))
    chosen = [every[place] for place in places]
    paths = _pictures(dataset, settings.folder / "pictures" / corpus.hash)
    return Material(cfg, dataset, chosen, len(every), paths)


def plan(material: Material, epochs: int, frozen: Sequence[str] = ()) -> Plan:
    """The baseline with the settings of a configuration.

    Args:
        material: See `gather`.
        epochs: Whole passes.
        frozen: Blocks that are not trained (see `mer.models.blocks.select`).
    """
    cfg = material.cfg
    names: set[str] = set()
    if frozen:
        backbone = backbones.build(OmegaConf.to_container(cfg.backbone, resolve=True), 3)
        names = set(blocks.select(backbone, list(frozen)))
    augment = OmegaConf.to_container(cfg.model, resolve=True)["augment"]
    return Plan(
        backbone=cfg.backbone.name,
        size=int(cfg.input.size),
        n_classes=len(material.dataset.classes),
        epochs=epochs,
        batch_size=cfg.model.batch_size,
        lr=cfg.model.optimizer.lr,
        augment=augmentation(augment, cfg.seed),
        frozen=frozenset(names),
        seed=cfg.seed,
    )


def sides(material: Material, fold: Fold) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of a fold's training and test samples."""
    return material.dataset.positions(fold.train), material.dataset.positions(fold.test)


def run_ours(material: Material, epochs: int, at_once: int | str = 1) -> Run:
    """Carry out the folds in a new run directory, as `mer train` does.

    Args:
        material: See `gather`.
        epochs: Whole passes of each fold.
        at_once: `trainer.folds_at_once`.
    """
    cfg = material.cfg.copy()
    cfg.model.epochs = epochs
    cfg.trainer.folds_at_once = at_once
    cfg.protocol.folds = [fold.name for fold in material.folds]
    watch = _Watch()
    with tempfile.TemporaryDirectory() as folder, quiet():
        started = time.perf_counter()
        runner.run(cfg, Path(folder), [watch])
        total = time.perf_counter() - started
        records = [Path(folder, "folds", fold.name, "fold.json") for fold in material.folds]
        seconds = [float(json.loads(record.read_text())["seconds"]) for record in records]
    together = watch.ended - watch.began
    return Run(seconds, together, total - together)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the log of what is measured off the terminal."""
    logger = logging.getLogger("mer")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _pictures(dataset: UnifiedDataset, folder: Path) -> list[Path]:
    """One PNG per sample, as peers store them: the apex crop, or the flow in 8 bit."""
    if dataset.kind.channels != 3:
        raise MerError(
            f"mer bench compares inputs of three channels; set input=flow or input=apex, found "
            f"input={dataset.settings['name']}"
        )
    folder = folder / dataset.settings["name"]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{position:06d}.png" for position in range(len(dataset))]
    for position, path in enumerate(paths):
        if path.exists():
            continue
        store_number, row = dataset.table.loc[position, ["store", "row"]]
        store = dataset.stores[store_number]
        if "flow" in dataset.kind.needs:
            flow = np.moveaxis(np.asarray(store.flow[row], np.float32), 0, 2)
            picture = np.clip(128 + 16 * flow, 0, 255).astype(np.uint8)
        else:
            picture = np.asarray(store.frames[row][1])
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return paths
