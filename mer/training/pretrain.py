"""Macro-pretraining: once per settings hash, kept, and shared by every fold and run.

The pool never holds a person whom the protocol tests. Persons kept apart for validation choose the
best epoch by accuracy, as the paper saves its weights "at highest accuracy".
"""

import logging
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch

from mer import __version__, integrity
from mer.cache import exclusive, hold, make_key
from mer.config import trust
from mer.config.conversion import to_plain
from mer.config.settings import MACHINE, Settings
from mer.data import inputs, sources
from mer.data.corpus import Corpus
from mer.data.datamodule import MERDataModule
from mer.errors import MerError, raise_all
from mer.files import naming, write_json
from mer.models import backbones, insertion
from mer.models.modules import MacroPretrainModule
from mer.randomness import derived_seed
from mer.runs import evidence, run_files
from mer.training import data_parallel
from mer.training.devices import fold_device
from mer.training.trainer import make_trainer, module_arguments

log = logging.getLogger(__name__)

#: The checkpoint with the best validation accuracy.
WEIGHTS = "best.ckpt"


def macro_weights(settings: Settings, corpus: Corpus, tested: Collection[str]) -> Path:
    """Train the macro model, or find the weights that the same settings gave before.

    A killed training continues from its last finished epoch.

    Args:
        settings: Settings of the run; `macro`, `backbone`, `input`, `prepare` and `seed` matter.
        corpus: Macro samples.
        tested: Persons whom the protocol tests; they leave the pool.

    Returns:
        Checkpoint with the best validation accuracy. Beside it lie `pretraining.json` (settings,
        scores, persons) and `metrics.csv`.

    Raises:
        MerError: If too few persons are left.
    """
    pool = corpus.table[~corpus.table["person"].isin(tested)].reset_index(drop=True)
    if len(pool) < len(corpus.table):
        shared = sorted(set(corpus.table["person"]) & set(tested))
        log.info("macro pool: %d tested persons left out: %s", len(shared), ", ".join(shared[:5]))
    corpus = corpus._replace(table=pool)
    settings = _with_network(settings)
    key = make_key("macro", _settings(settings, corpus), fold_device(settings).type)
    folder = Path(
        settings.paths.cache,
        "macro",
        f"{settings.backbone.name}-{settings.input.name}-{key.digest}",
    )
    report = folder / "pretraining.json"
    with exclusive(folder):
        hold(folder)
        if report.exists() and not integrity.intact(folder, [WEIGHTS]):
            for path in (report, folder / WEIGHTS):
                path.unlink(missing_ok=True)
        if not report.exists():
            folder.mkdir(exist_ok=True)
            write_json(key.record, folder / "settings.json")
            with naming(folder):
                _train(settings, corpus, folder, report, key.record["settings"])
    result = run_files.read_json(report)
    log.info(
        "macro weights %s: validation accuracy %.3f (UF1 %.3f) on %d persons kept apart",
        folder.name,
        result["accuracy"],
        result["uf1"],
        len(result["validation_persons"]),
    )
    return folder / WEIGHTS


def _with_network(settings: Settings) -> Settings:
    """Say which network `macro.network=auto` means."""
    if settings.macro.network != "auto":
        return settings
    network: Literal["mobilenetv2", "whole"] = "whole"
    if not settings.backbone.has_weights:
        channels = len(inputs.make(settings.input).channels)
        with torch.random.fork_rng(devices=[]):
            backbone = backbones.build(to_plain(settings.backbone), channels)
        if insertion.joins_all(backbone, settings.model.transfer.blocks):
            network = "mobilenetv2"
    return replace(settings, macro=replace(settings.macro, network=network))


def _settings(settings: Settings, corpus: Corpus) -> dict[str, Any]:
    """All that decides the weights, as plain values."""
    nodes = ("backbone", "input", "macro", "trainer")
    plain = {name: trust.with_sources(to_plain(getattr(settings, name))) for name in nodes}
    plain["input"].pop("cache_gb")  # changes memory, not weights
    own = (*MACHINE, "threads")  # threads of the folds
    plain["trainer"] = {k: v for k, v in plain["trainer"].items() if k not in own}
    stores = [store.key for store in corpus.stores]
    return {"seed": settings.seed, "data": corpus.hash, "stores": stores, **plain}


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


def _train(
    settings: Settings, corpus: Corpus, folder: Path, report: Path, record: dict[str, Any]
) -> None:
    started = time.time()
    seed = derived_seed(settings.seed, "macro")
    pl.seed_everything(seed, workers=True, verbose=False)
    input_settings = to_plain(settings.input)
    dataset = sources.dataset(settings, corpus)
    train, validation = _split(corpus, settings.macro.validation, settings.seed)
    module = MacroPretrainModule(
        **module_arguments(settings, settings.macro, dataset, train, seed),
        transformers="bypass" if settings.macro.network == "mobilenetv2" else "random",
    )
    persons = {
        side: sorted(set(dataset.table["person"].iloc[positions]))
        for side, positions in (("train", train), ("validation", validation))
    }
    module.provenance = {
        "stage": "macro",
        "version": __version__,
        "persons": persons["train"] + persons["validation"],
        "classes": corpus.classes,
        "input": input_settings,
        "data_hash": corpus.hash,
    }
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
    keeper = pl.callbacks.ModelCheckpoint(
        folder,
        filename="best",
        monitor=module.monitor,
        mode=module.mode,
        save_last=True,
        enable_version_counter=False,
    )
    last = folder / "last.ckpt"
    continued = last.exists()
    log.info(
        "macro-pretraining of %s: %d samples of %d persons, %d kept apart%s",
        settings.backbone.name,
        len(train),
        len(persons["train"]),
        len(persons["validation"]),
        ", continued" if continued else "",
    )
    checkpoint = last if continued else None
    if settings.macro.devices > 1:
        data_parallel.fit(settings, module, data, folder, keeper, checkpoint)
        trainer = make_trainer(settings, settings.macro, folder, [], history=False)
    else:
        trainer = make_trainer(settings, settings.macro, folder, [keeper], progress=True)
        trainer.fit(module, data, ckpt_path=checkpoint)
    others = [
        *np.setdiff1d(module.seen.positions("train"), train),
        *np.setdiff1d(module.seen.positions("val"), validation),
    ]
    if others:
        for path in (last, folder / WEIGHTS):
            path.unlink(missing_ok=True)
        raise_all(
            "Macro-pretraining has used samples on another side than theirs:",
            evidence.ids_of(dataset.table, others[:3]),
        )
    scores = trainer.validate(module, data, ckpt_path=folder / WEIGHTS, verbose=False)[0]
    result = {
        "accuracy": scores["val/accuracy"],
        "uf1": scores["val/uf1"],
        "uar": scores["val/uar"],
        "epochs": settings.macro.epochs,
        "seconds": round(time.time() - started, 1),
        "train_samples": len(train),
        "validation_samples": len(validation),
        "train_persons": persons["train"],
        "validation_persons": persons["validation"],
        "parameters": sum(p.numel() for p in module.parameters()),
        "settings": record,
    }
    integrity.write(folder, [WEIGHTS])
    write_json(result, report)
    last.unlink(missing_ok=True)
