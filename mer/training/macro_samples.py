"""The samples of a macro-pretraining, and the network that is made for them."""

from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl

from mer.config.conversion import to_plain
from mer.config.settings import Settings
from mer.data import sources
from mer.data.corpus import Corpus
from mer.data.datamodule import MERDataModule
from mer.data.dataset import UnifiedDataset
from mer.data.motion_batches import MotionDataModule
from mer.data.synthetic_motion import MotionSamples
from mer.errors import MerError
from mer.models.modules import MacroPretrainModule
from mer.models.motion_module import MotionPretrainModule
from mer.randomness import derived_seed
from mer.training.trainer import module_arguments


class Real(NamedTuple):
    """Real macro samples: their inputs, the positions of both sides, and their loaders."""

    dataset: UnifiedDataset
    train: np.ndarray
    validation: np.ndarray
    data: MERDataModule


def real_samples(settings: Settings, corpus: Corpus, seed: int) -> Real:
    """Build the inputs of real samples, and keep some persons apart."""
    dataset = sources.dataset(settings, corpus)
    train, validation = _split(corpus, settings.macro.validation, settings.seed)
    data = MERDataModule(
        dataset,
        train,
        validation,
        np.empty(0, np.int64),
        batch_size=settings.macro.batch_size,
        augment=to_plain(settings.macro.augment),
        seed=seed,
        num_workers=settings.trainer.num_workers,
        pin_memory=settings.trainer.pin_memory,
    )
    return Real(dataset, train, validation, data)


def sides_of(real: Real | None) -> dict[str, np.ndarray]:
    """Positions of the real samples that train and that judge the epochs."""
    nobody = np.empty(0, np.int64)
    if real is None:
        return {"train": nobody, "validation": nobody}
    return {"train": real.train, "validation": real.validation}


def network_and_data(
    settings: Settings, real: Real | None, seed: int
) -> tuple[MacroPretrainModule, pl.LightningDataModule]:
    """The network before its training, and the loaders."""
    node = settings.macro
    transformers = "bypass" if node.network == "mobilenetv2" else "random"
    if node.motion is None:
        assert real is not None
        arguments = module_arguments(settings, node, real.dataset, real.train, seed)
        return MacroPretrainModule(**arguments, transformers=transformers), real.data
    motion = MotionSamples(settings, derived_seed(seed, "training"))
    judges = MotionSamples(settings, derived_seed(seed, "validation"), free=0.0)
    if real is None:
        arguments = module_arguments(settings, node, motion, sides_of(None)["train"], seed)
        data = MotionDataModule(settings, motion, judges)
    else:
        arguments = module_arguments(settings, node, real.dataset, real.train, seed)
        if node.class_weights == "balanced":
            counts = np.bincount(real.dataset.labels[real.train], minlength=len(motion.classes))
            expected = node.batch_size * counts / counts.sum()
            expected += node.motion.batch_size * (1 - node.motion.free) * motion.shares
            weights = expected.sum() / (len(counts) * expected)
            arguments["class_weights"] = weights.tolist()
        motion.match(real.dataset.moments[1][real.train].mean(axis=0))
        data = MotionDataModule(settings, motion, judges, real.data)
    weight = node.motion.units_weight
    return MotionPretrainModule(weight, transformers=transformers, **arguments), data


def _split(corpus: Corpus, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of training and validation samples, persons disjoint, datasets alike."""
    table = corpus.table
    held: set[str] = set()
    rng = np.random.default_rng(seed)
    for _, part in table.groupby("dataset"):
        persons = np.sort(part["person"].unique().astype(str))
        count = min(max(1, round(share * len(persons))), len(persons) - 1)
        held.update(rng.permutation(persons)[:count].tolist())
    validation = table["person"].isin(held).to_numpy()
    if validation.all() or not validation.any():
        raise MerError(
            f"Macro-pretraining needs two persons or more; found {table['person'].nunique()}. "
            "Add a macro dataset, or set macro.enabled=false."
        )
    return np.flatnonzero(~validation), np.flatnonzero(validation)
