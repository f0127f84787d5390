"""The network of a fold and its data, as they are before the training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from mer import __version__
from mer.callbacks.head import Head
from mer.config.conversion import to_plain
from mer.data.datamodule import MERDataModule
from mer.data.feature_cache import FeatureCache
from mer.data.fixed_augmentations import FixedAugmentations, FixedInputs
from mer.models import frozen_blocks, ready_weights
from mer.models.modules import MicroFinetuneModule
from mer.models.transfer import load_blocks, refuse_known_persons
from mer.protocols import Fold
from mer.randomness import derived_seed
from mer.runs.observers import RunContext
from mer.training.devices import fold_device
from mer.training.trainer import module_arguments


class Sides(NamedTuple):
    """Positions of a fold's samples in the dataset."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


class Job(NamedTuple):
    """One fold of one run, and what becomes of it.

    `callbacks` are those of Lightning that are no heads; `announce` says whether to log what is
    transferred, which is the same for every fold; `chosen` is what `protocol.inner` has chosen.
    """

    run: RunContext
    fold: Fold
    sides: Sides
    folder: Path
    heads: list[Head]
    callbacks: list[pl.Callback]
    announce: bool
    chosen: dict[str, Any]


def make(job: Job) -> tuple[MicroFinetuneModule, MERDataModule]:
    """Make the network of a fold, as it is before training, and its data."""
    sides = job.sides
    module, macro_persons = seeded_module(job)
    module.provenance |= trained_by(job, module, macro_persons)
    oracle = job.run.settings.selection == "oracle"
    data_sides = sides._replace(validation=sides.test) if oracle else sides
    return module, data_of(job.run, module, data_sides)


def trained_by(
    job: Job, module: MicroFinetuneModule, macro_persons: Sequence[str]
) -> dict[str, Any]:
    """What a network says of the persons who trained it, and of what was chosen on whom."""
    settings, persons, sides = job.run.settings, job.run.corpus.table["person"], job.sides
    everybody = {*persons.iloc[sides.train], *persons.iloc[sides.validation], *macro_persons}
    found = {
        "persons": sorted(everybody),
        "selection": settings.selection,
        "monitor": module.monitor if settings.selection != "last" else None,
    }
    return found | ({"inner": job.chosen} if job.chosen else {})


def seeded_module(job: Job) -> tuple[MicroFinetuneModule, list[str]]:
    """Seed everything and make the network of a fold, macro blocks included.

    Returns:
        The network, with what is known of its making, and the persons who trained the blocks.
    """
    settings = job.run.settings
    pl.seed_everything(derived_seed(settings.seed, job.fold.name), workers=True, verbose=False)
    module = MicroFinetuneModule(
        **arguments(job),
        freeze=settings.model.transfer.freeze,
        lr_scale=settings.model.transfer.lr_scale,
    )
    module.provenance = provenance(job)
    return module, _transfer(job, module)


def arguments(job: Job) -> dict[str, Any]:
    """What the network of a fold is made with; all that is fitted comes from its training side."""
    run, settings = job.run, job.run.settings
    seed = derived_seed(settings.seed, job.fold.name)
    found = module_arguments(settings, settings.model, run.dataset, job.sides.train, seed)
    if (constants := macro_constants(run)) is not None:
        found["input_mean"], found["input_std"] = constants
    backbone, transfer = settings.backbone, settings.model.transfer
    if run.macro is not None and not backbone.has_weights:
        found |= {"transformers": transfer.insertion, "taken_over": transfer.blocks}
    return found


def provenance(job: Job) -> dict[str, Any]:
    """What the network of a fold says of its making, before there is one."""
    run = job.run
    return {
        "stage": "micro",
        "version": __version__,
        "fold": job.fold.name,
        "classes": run.corpus.classes,
        "input": to_plain(run.dataset.settings),
        "data_hash": run.corpus.hash,
    }


def macro_constants(run: RunContext) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation of the pretraining, where fine-tuning takes these."""
    if run.settings.model.transfer.input_stats != "macro":
        return None
    weights = run.macro or ready_weights.named(run.settings.backbone.weights)
    return None if weights is None else frozen_blocks.input_statistics(weights)


def data_of(run: RunContext, module: MicroFinetuneModule, sides: Sides) -> MERDataModule:
    """The loaders of a fold; they give cached features where the first blocks are frozen.

    Features can be cached only for inputs that come back: without augmentation, or with a fixed
    number of augmentations per sample. The results are the same either way.
    """
    settings = run.settings
    augment = to_plain(settings.model.augment)
    options = {
        "batch_size": settings.model.batch_size,
        "seed": module.hparams["seed"],
        "num_workers": settings.trainer.num_workers,
        "pin_memory": settings.trainer.pin_memory,
    }
    if augment is not None and settings.model.augment_draws is None:
        return MERDataModule(run.dataset, *sides, augment=augment, **options)
    images = FixedAugmentations(run.dataset, augment, settings.model.augment_draws, settings.seed)
    inputs: FixedInputs = images
    if (blocks := frozen_blocks.split_off(module)) is not None:
        blocks.to(fold_device(settings))
        folder = Path(settings.paths.cache, "features")
        inputs = FeatureCache.open_or_compute(blocks, images, folder, run.corpus.hash)
    return MERDataModule(run.dataset, *sides, inputs=inputs, **options)


def _transfer(job: Job, module: MicroFinetuneModule) -> list[str]:
    """Load the macro blocks into a fold's model; return the persons who trained them."""
    run = job.run
    if run.macro is None:
        return []
    report = load_blocks(module, run.macro, run.settings.model.transfer.blocks or [], job.announce)
    tested = set(run.corpus.table["person"].iloc[job.sides.test])
    refuse_known_persons(report.provenance, tested)
    (job.folder / "transfer.txt").write_text(f"{report}\n")
    return list(report.provenance["persons"])
