"""One fold of a run: its network, its heads, its predictions.

Labels of the test persons play no part here: their loader gives none, and the predictions get
theirs when the folds are pooled.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl

from mer import processes
from mer.callbacks.epochs import AfterEpoch, KeepBest, RecordEpochs, StopAfter
from mer.callbacks.head import Head
from mer.config import trust
from mer.config.conversion import to_plain
from mer.data.datamodule import MERDataModule
from mer.errors import MerError, raise_all
from mer.files import remove_unfinished, write_json, write_parquet
from mer.models.checkpoints import load_module
from mer.models.modules import MicroFinetuneModule
from mer.protocols import LEAKY, Fold
from mer.runs import claims, rundir
from mer.runs.observers import RunContext
from mer.training import fold_evidence, head_sources, inner, pipelines, predicted_again, zero_shot
from mer.training.decisions import Part, Trials
from mer.training.devices import fold_device
from mer.training.fold_network import Job, Sides, data_of, make, seeded_module
from mer.training.heads import heads_of, make_callbacks, plain_of, write_states
from mer.training.network_cache import FILES, KeptNetwork, Outputs, fit_on_outputs
from mer.training.predictions import predict, to_frame
from mer.training.trainer import make_trainer

#: Sides whose predictions are written.
SCORED = ("validation", "test")


def run_fold(run: RunContext, fold: Fold, announce: bool = True) -> None:
    """Train the network of one fold, or take a kept one; fit the heads; write the predictions."""
    started = time.time()
    job = begin(run, fold, announce)
    try:
        _run(job, started)
    finally:
        processes.return_freed_memory()


def _run(job: Job, started: float) -> None:
    run, fold = job.run, job.fold
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
    """Clear the folder of a fold and make what is chosen inside it; see `run_fold`."""
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
    """Write heads, predictions, evidence and record of a fold."""
    run, fold, folder = job.run, job.fold, job.folder
    write_states(job.heads, folder / "heads.pt")
    table, classes = run.corpus.table, run.corpus.classes
    if run.zero_shot is not None:
        for batches in outputs.values():
            zero_shot.add(batches, run.zero_shot)
    outputs = {"test": [], **outputs}  # a model on everybody tests nobody
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
        claims.write_config(job.folder / "config.yaml", job.run.settings)
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
    module, _ = seeded_module(part)
    settings = job.run.settings
    trainer = make_trainer(settings, settings.model, job.folder, [recorder], history=False)
    trainer.fit(module, data_of(job.run, module, sides).open_to(job.sides.train))
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
    """Train the network and the heads of a fold."""
    settings = job.run.settings
    module, data = make(job)
    keeper = None if settings.selection == "last" else KeepBest(module.monitor, module.mode)
    callbacks: list[pl.Callback] = [] if keeper is None else [keeper]
    if job.run.after_epoch is not None:
        callbacks.append(AfterEpoch(job.run.after_epoch))
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
    used = fold_evidence.of_training(job, module, data)
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
