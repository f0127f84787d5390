"""One fold of a run: its network, its heads, its predictions.

Several devices train together; rank 0 alone predicts and writes, on its own device, since Lightning
would split the samples. Labels of the test persons play no part here: their loader gives none, and
the predictions get theirs when the folds are pooled.
"""

import contextlib
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

from mer import __version__, distributed, inner, rundir
from mer.callbacks.predictions import to_frame
from mer.data.activations import ActivationStore
from mer.data.datamodule import MERDataModule
from mer.data.draws import DrawnDataModule, DrawnImages
from mer.models import cost, trunk
from mer.models.modules import MicroFinetuneModule
from mer.models.transfer import load_blocks, refuse_known_persons
from mer.networks import FILES, KeptNetwork, Outputs, fit_heads
from mer.observers import RunContext
from mer.protocols import LEAKY, Fold
from mer.training import (
    KeepBest,
    RecordEpochs,
    StopAfter,
    batch_size,
    fold_seed,
    make_trainer,
    module_arguments,
)


class Sides(NamedTuple):
    """Positions of a fold's samples in the dataset."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


class Job(NamedTuple):
    """One fold of one run, and what becomes of it.

    `announce` says whether to log what is transferred, which is the same for every fold; `chosen`
    is what `protocol.inner` has chosen.
    """

    run: RunContext
    fold: Fold
    sides: Sides
    folder: Path
    heads: list[Any]
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
    folder = rundir.fold_folder(run.run_dir, fold.name)
    sides = Sides(*map(run.dataset.positions, (fold.train, fold.validation, fold.test)))
    if not distributed.rank():
        for name in FILES:  # of an interrupted training, or links to a kept network
            (folder / name).unlink(missing_ok=True)
    job = _choose(Job(run, fold, sides, folder, [], announce, {}))
    heads = job.heads
    found = _kept_or_trained(job) if run.cfg.reuse_networks else _train(job)
    if found is None:
        return  # another rank than 0
    outputs, record = found
    fitted_on = {"fitted_on": rundir.fingerprint(fold.train)}
    states = {type(head).__name__: {**head.state_dict(), **fitted_on} for head in heads}
    torch.save(states, folder / "heads.pt")
    table, classes = run.corpus.table, run.corpus.classes
    frames = {
        side: to_frame(outputs[side], table, classes, getattr(sides, side)).assign(fold=fold.name)
        for side in ("validation", "test")
        if side in outputs
    }
    frames = {
        side: inner.apply_thresholds(frame, job.chosen, classes) for side, frame in frames.items()
    }
    if "validation" in frames:
        rundir.write_parquet(frames["validation"], folder / "validation.parquet")
    seconds = round(time.time() - started, 2)
    rundir.write_json({"fold": fold.name, "seconds": seconds, **record}, folder / "fold.json")
    # Last, since its presence says that the fold is done.
    name = rundir.marked("predictions.parquet", run.cfg)
    rundir.write_parquet(frames["test"], folder / name)


def _choose(job: Job) -> Job:
    """Make the choices of `protocol.inner`, if there are any; make the heads."""
    run = job.run

    def train(split: Fold, recorder: RecordEpochs) -> None:
        nobody = np.empty(0, np.int64)
        sides = Sides(recorder.positions["train"], nobody, nobody)
        part = job._replace(fold=split, sides=sides, announce=False)
        module, _ = _module(part)
        trainer = make_trainer(run.cfg, run.cfg.model, job.folder, [recorder], alone=True)
        trainer.fit(module, _data(run, module, sides))

    chosen = inner.choose(
        run.cfg, run.corpus.table, run.corpus.classes, job.fold, job.folder, train
    )
    return job._replace(heads=inner.heads(run.cfg, chosen), chosen=chosen)


def _kept_or_trained(job: Job) -> tuple[Outputs, dict[str, Any]] | None:
    """Fit the heads on a kept network's embeddings; train and keep it if there is none."""
    run = job.run
    kept = KeptNetwork(run.cfg, run.corpus.hash, job.fold)
    with contextlib.nullcontext() if distributed.rank() else kept.lock():
        if distributed.share(kept.exists):
            if distributed.rank():
                return None
            outputs, record = kept.restore(job.folder)
            fit_heads(job.heads, outputs, run.dataset.labels, len(run.corpus.classes))
            _write_cost(run, job.folder)
            return outputs, record
        trained = _train(job)
        if trained is not None:
            kept.keep(job.folder, *trained)
        return trained


def _train(job: Job) -> tuple[Outputs, dict[str, Any]] | None:
    """Train the network and the heads of a fold.

    Returns:
        Side -> predicted batches, and what is worth recording; None on other ranks than 0.
    """
    run, sides, folder = job.run, job.sides, job.folder
    cfg, persons = run.cfg, run.corpus.table["person"]
    module, macro_persons = _module(job)
    trained_by = {*persons.iloc[sides.train], *persons.iloc[sides.validation], *macro_persons}
    module.provenance |= {
        "persons": sorted(trained_by),
        "selection": cfg.selection,
        "monitor": module.monitor if cfg.selection != "last" else None,
    }
    if job.chosen:
        module.provenance["inner"] = job.chosen
    oracle = cfg.selection == "oracle"
    data = _data(run, module, sides._replace(validation=sides.test) if oracle else sides)
    callbacks: list[pl.Callback] = []
    if cfg.selection != "last":
        callbacks.append(KeepBest(module.monitor, module.mode))
    if "epochs" in job.chosen:
        callbacks.append(StopAfter(job.chosen["epochs"]))
    trainer = make_trainer(cfg, cfg.model, folder, [*callbacks, *job.heads])
    trainer.fit(module, data)
    if cfg.protocol.name not in LEAKY:
        refuse_known_persons(module.provenance, set(persons.iloc[sides.test]))
    trainer.save_checkpoint(folder / "model.ckpt", weights_only=True)  # a matter of all ranks
    if distributed.rank():
        return None
    alone = (
        trainer
        if distributed.size() == 1
        else make_trainer(cfg, cfg.model, folder, job.heads, True)
    )
    wanted = ("train", "validation", "test") if cfg.reuse_networks else ("validation", "test")
    outputs = {
        side: alone.predict(module, data.unlabelled_dataloader(getattr(sides, side)))
        for side in wanted
        if len(getattr(sides, side))
    }
    _write_cost(run, folder)
    return outputs, {
        "epochs": trainer.current_epoch,
        "best_epoch": callbacks[0].epoch if cfg.selection != "last" else None,
    }


def _module(job: Job) -> tuple[MicroFinetuneModule, list[str]]:
    """Seed everything and make the network of a fold, macro blocks included.

    Returns:
        The network, with what is known of its making, and the persons who trained the blocks.
    """
    run, fold, train = job.run, job.fold, job.sides.train
    cfg = run.cfg
    pl.seed_everything(fold_seed(cfg.seed, fold.name), workers=True, verbose=False)
    arguments = module_arguments(cfg, cfg.model, run.dataset, train)
    fitted_on = rundir.fingerprint(run.corpus.table["sample_id"].iloc[train])
    if run.macro is not None and cfg.model.transfer.input_stats == "macro":
        arguments["input_mean"], arguments["input_std"] = trunk.trunk_statistics(run.macro)
        fitted_on = "macro"
    module = MicroFinetuneModule(
        **arguments,
        freeze=cfg.model.transfer.freeze,
        lr_scale=cfg.model.transfer.lr_scale,
    )
    module.provenance = {
        "stage": "micro",
        "version": __version__,
        "fold": fold.name,
        "classes": run.corpus.classes,
        "input": dict(run.dataset.settings),
        "data_hash": run.corpus.hash,
        "fitted_on": fitted_on,
    }
    return module, _transfer(job, module)


def _data(run: RunContext, module: MicroFinetuneModule, sides: Sides) -> MERDataModule:
    """The loaders of a fold; where the first blocks are frozen, they give what those compute.

    Frozen blocks can be computed once only for inputs that come back: without augmentation, or with
    a fixed number of augmentations per sample. The results are the same either way.
    """
    cfg = run.cfg
    augment = OmegaConf.to_container(cfg.model, resolve=True)["augment"]
    options = {
        "batch_size": batch_size(cfg.model, len(sides.train)),
        "num_workers": cfg.trainer.num_workers,
        "pin_memory": cfg.trainer.pin_memory,
    }
    if augment is not None and cfg.model.augment_draws is None:
        return MERDataModule(run.dataset, *sides, augment=augment, **options)
    images = DrawnImages(run.dataset, augment, cfg.model.augment_draws, cfg.seed)
    frozen = trunk.cut(module)
    if frozen is None:
        return DrawnDataModule(images, *sides, **options)
    frozen.to(distributed.own_device(cfg))
    store = ActivationStore.open_or_compute(
        frozen, images, Path(cfg.paths.cache, "trunk"), run.corpus.hash
    )
    return DrawnDataModule(store, *sides, **options)


def _transfer(job: Job, module: MicroFinetuneModule) -> list[str]:
    """Load the macro blocks into a fold's model; return the persons who trained them."""
    run = job.run
    if run.macro is None:
        return []
    report = load_blocks(module, run.macro, run.cfg.model.transfer.blocks, job.announce)
    tested = set(run.corpus.table["person"].iloc[job.sides.test])
    refuse_known_persons(report.provenance, tested)
    if not distributed.rank():
        (job.folder / "transfer.txt").write_text(f"{report}\n")
    return list(report.provenance["persons"])


def _write_cost(run: RunContext, folder: Path) -> None:
    """Measure what the network costs, once per run."""
    path = run.run_dir / "cost.json"
    if path.exists():
        return
    module = MicroFinetuneModule.load_from_checkpoint(folder / "model.ckpt", map_location="cpu")
    image = torch.from_numpy(run.dataset.image(0).transpose(2, 0, 1).copy())
    rundir.write_json(cost.measure(module, image, distributed.own_device(run.cfg)), path)
