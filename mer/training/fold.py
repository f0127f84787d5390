"""One fold of a run: its network, its heads, its predictions.

Labels of the test persons play no part here: their loader gives none, and the predictions get
theirs when the folds are pooled.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from mer import __version__
from mer.callbacks.epochs import KeepBest, RecordEpochs, StopAfter
from mer.callbacks.head import Head
from mer.config import trust
from mer.config.conversion import to_plain
from mer.data.datamodule import MERDataModule
from mer.data.feature_cache import FeatureCache
from mer.data.fixed_augmentations import FixedAugmentations, FixedInputs
from mer.errors import MerError, raise_all
from mer.files import remove_unfinished, write_json, write_parquet
from mer.models import frozen_blocks, ready_weights
from mer.models.checkpoints import load_module
from mer.models.modules import MicroFinetuneModule
from mer.models.transfer import load_blocks, refuse_known_persons
from mer.protocols import LEAKY, Fold
from mer.randomness import derived_seed
from mer.runs import rundir
from mer.runs.observers import RunContext
from mer.training import fold_evidence, head_sources, inner, pipelines, predicted_again, zero_shot
from mer.training.decisions import Part, Trials
from mer.training.devices import fold_device
from mer.training.heads import heads_of, make_callbacks, plain_of, write_states
from mer.training.network_cache import FILES, KeptNetwork, Outputs, fit_on_outputs
from mer.training.predictions import predict, to_frame
from mer.training.trainer import make_trainer, module_arguments

#: Sides whose predictions are written.
SCORED = ("validation", "test")


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


def run_fold(run: RunContext, fold: Fold, announce: bool = True) -> None:
    """Train the network of one fold, or take a kept one; fit the heads; write the predictions.

    Args:
        run: The run.
        fold: Who trains, validates, is tested.
        announce: Whether to log what is transferred, which is the same for every fold.
    """
    started = time.time()
    job = begin(run, fold, announce)
    if not run.settings.reuse_networks:
        conclude(job, *_train(job), started)
        return
    kept = KeptNetwork(run.settings, run.corpus, fold, run.macro)
    with kept.exclusive():
        try:
            conclude(job, *_kept_or_trained(job, kept), started)
        except MerError:
            kept.forget()  # a network that is refused must not be found again
            raise


def begin(
    run: RunContext,
    fold: Fold,
    announce: bool,
    compute: Callable[[Job, Fold], Part] | None = None,
) -> Job:
    """Clear the folder of a fold and make what is chosen inside it; see `run_fold`.

    Args:
        run: The run.
        fold: Who trains, validates, is tested.
        announce: Whether to log what is transferred.
        compute: Gives an inner split of a job at once, where there is no network to train.
    """
    folder = rundir.fold_folder(run.run_dir, fold.name)
    sides = Sides(*map(run.dataset.positions, (fold.train, fold.validation, fold.test)))
    for name in FILES:  # of an interrupted training, or links to a kept network
        (folder / name).unlink(missing_ok=True)
    remove_unfinished(folder)
    return _choose(Job(run, fold, sides, folder, [], [], announce, {}), compute)


def conclude(
    job: Job,
    module: MicroFinetuneModule | None,
    outputs: Outputs,
    record: dict[str, Any],
    started: float,
) -> None:
    """Write heads, predictions, evidence and record of a fold.

    Args:
        job: The fold; its heads are fitted.
        module: Its network; see `fold_evidence.write`.
        outputs: Side -> predicted batches.
        record: What is worth recording of the training; `used` is what `used_samples` gave.
        started: When the fold began, in seconds since the epoch.

    Raises:
        MerError: If other samples took part than the fold says; see `fold_evidence.write`.
    """
    run, fold, folder = job.run, job.fold, job.folder
    write_states(job.heads, folder / "heads.pt")
    table, classes = run.corpus.table, run.corpus.classes
    if run.zero_shot is not None:
        for batches in outputs.values():
            zero_shot.add(batches, run.zero_shot)
    frames = {
        side: to_frame(outputs[side], table, classes, getattr(job.sides, side))
        for side in SCORED
        if side in outputs
    }
    frames = {
        side: inner.apply_thresholds(frame.assign(fold=fold.name), job.chosen, classes)
        for side, frame in frames.items()
    }
    if "validation" in frames:
        write_parquet(frames["validation"], folder / "validation.parquet")
    fold_evidence.write(job, module, record.pop("used"), outputs, frames["test"])
    seconds = round(time.time() - started, 3)
    write_json({"fold": fold.name, "seconds": seconds, **record}, folder / "fold.json")
    # Last, since its presence says that the fold is done.
    name = rundir.marked("predictions.parquet", to_plain(run.settings))
    write_parquet(frames["test"], folder / name)


def _choose(job: Job, compute: Callable[[Job, Fold], Part] | None) -> Job:
    """Make the choices of `protocol.inner`, if there are any; make the callbacks."""
    run, corpus = job.run, job.run.corpus
    runs = {name: pipelines.run_of(run, name) for name in pipelines.names(run.settings)}
    jobs = {name: job._replace(run=one) for name, one in (runs or {"": run}).items()}
    trials = {
        name: Trials(
            one.run.settings,
            partial(_train_inner, one),
            partial(_attach, one),
            None if compute is None else partial(compute, one),
        )
        for name, one in jobs.items()
    }
    chosen = inner.choose(trials, corpus.table, corpus.classes, job.fold, job.folder)
    if "pipeline" in chosen:
        job = jobs[chosen["pipeline"]]
        rundir.write_config(job.folder / "config.yaml", job.run.settings)
    callbacks = make_callbacks(job.run.settings.callbacks, chosen.get("svm"))
    heads, plain = heads_of(callbacks), list(plain_of(callbacks).values())
    _attach(job, heads)
    return job._replace(heads=heads, callbacks=plain, chosen=chosen)


def _attach(job: Job, heads: Sequence[Head]) -> None:
    """Let heads know their sources, none of which the fold's test persons have trained."""
    run = job.run
    apart = run.settings.protocol.name not in LEAKY
    tested = set(run.corpus.table["person"].iloc[job.sides.test]) if apart else set()
    head_sources.attach(heads, run.settings, run.dataset, tested)


def _train_inner(job: Job, split: Fold, recorder: RecordEpochs) -> None:
    """Train the network of an inner split, and let a recorder see it."""
    nobody = np.empty(0, np.int64)
    sides = Sides(recorder.positions["train"], nobody, nobody)
    part = job._replace(fold=split, sides=sides, announce=False)
    module, _ = _module(part)
    settings = job.run.settings
    trainer = make_trainer(settings, settings.model, job.folder, [recorder], history=False)
    trainer.fit(module, _data(job.run, module, sides).open_to(job.sides.train))
    trained = job.run.corpus.table["sample_id"].iloc[module.seen.positions("train")]
    raise_all(
        f"An inner network of fold {job.fold.name} was trained on other samples than its own:",
        sorted(set(trained) - set(split.train))[:3],
    )


def _kept_or_trained(
    job: Job, kept: KeptNetwork
) -> tuple[MicroFinetuneModule | None, Outputs, dict[str, Any]]:
    """Fit the heads on a kept network's embeddings; train and keep it if there is none."""
    run = job.run
    if kept.exists:
        outputs, record = kept.restore(job.folder)
        raise_all(
            f"The network kept in {kept.folder} was trained on samples that are not of the "
            f"training side of fold {job.fold.name}:",
            sorted(set(record["used"]["trained"]) - set(job.fold.train))[:3],
        )
        fit_on_outputs(job.heads, outputs, run.dataset.labels, len(run.corpus.classes))
        if not predicted_again.is_one(job):
            return None, outputs, record
        named = trust.names(to_plain(run.settings)).values()
        return load_module(MicroFinetuneModule, kept.folder / FILES[0], named), outputs, record
    module, outputs, record = _train(job)
    kept.keep(job.folder, outputs, record)
    return module, outputs, record


def _train(job: Job) -> tuple[MicroFinetuneModule, Outputs, dict[str, Any]]:
    """Train the network and the heads of a fold.

    Returns:
        The network, side -> predicted batches, and what is worth recording.
    """
    settings = job.run.settings
    module, data = make(job)
    keeper = None if settings.selection == "last" else KeepBest(module.monitor, module.mode)
    callbacks: list[pl.Callback] = [] if keeper is None else [keeper]
    if "epochs" in job.chosen:
        callbacks.append(StopAfter(job.chosen["epochs"]))
    # Heads come last: they are fitted on the weights that the others leave.
    trainer = make_trainer(
        settings, settings.model, job.folder, [*callbacks, *job.callbacks, *job.heads]
    )
    # Callbacks see the training through the trainer, and must not find test samples there.
    trainer.fit(
        module, data.open_to(np.concatenate([data.train_positions, data.validation_positions]))
    )
    used = used_samples(job, module, data)
    trainer.save_checkpoint(job.folder / "model.ckpt", weights_only=True)
    module.to(fold_device(settings))
    with trainer.precision_plugin.forward_context():
        outputs = outputs_of(job, module, data)
    record = {
        "epochs": trainer.current_epoch,
        "best_epoch": None if keeper is None else keeper.epoch,
        "used": used,
    }
    return module, outputs, record


def make(job: Job) -> tuple[MicroFinetuneModule, MERDataModule]:
    """Make the network of a fold, as it is before training, and its data."""
    sides = job.sides
    module, macro_persons = _module(job)
    module.provenance |= trained_by(job, module, macro_persons)
    oracle = job.run.settings.selection == "oracle"
    data_sides = sides._replace(validation=sides.test) if oracle else sides
    return module, _data(job.run, module, data_sides)


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


def used_samples(job: Job, module: MicroFinetuneModule, data: MERDataModule) -> dict[str, Any]:
    """Collect whose samples a trained network has learnt from; see `fold_evidence.of_training`."""
    return fold_evidence.of_training(job, module, data, macro_constants(job.run))


def outputs_of(job: Job, module: MicroFinetuneModule, data: MERDataModule) -> Outputs:
    """Predict the sides that are needed later, with the scores of the fitted heads."""
    wanted = ("train", "validation", "test") if job.run.settings.reuse_networks else SCORED
    return {
        side: predict(module, data.unlabelled_dataloader(getattr(job.sides, side)), job.heads)
        for side in wanted
        if len(getattr(job.sides, side))
    }


def has_heads_alone(run: RunContext) -> bool:
    """Whether all callbacks are heads, which need no trainer; others see every step of one."""
    return not plain_of(make_callbacks(run.settings.callbacks))


def _module(job: Job) -> tuple[MicroFinetuneModule, list[str]]:
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


def _data(run: RunContext, module: MicroFinetuneModule, sides: Sides) -> MERDataModule:
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
