"""Macro-pretraining: once per settings hash, kept, and shared by every fold and run.

The pool never holds a person whom the protocol tests. Persons kept apart for validation choose the
best epoch by accuracy, as the paper saves its weights "at highest accuracy". Synthetic motion holds
no person at all; where nothing else is trained on, other synthetic samples choose the epoch.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch

from mer import __version__, integrity
from mer.cache import exclusive, hold, make_key
from mer.callbacks.epochs import AfterEpoch, EpochLines
from mer.config import trust
from mer.config.conversion import to_plain
from mer.config.settings import MACHINE, Settings
from mer.data import inputs, synthetic_motion
from mer.data.corpus import Corpus
from mer.data.datamodule import MERDataModule
from mer.errors import raise_all
from mer.files import naming, write_json
from mer.models import backbones, insertion
from mer.models.checkpoints import read_checkpoint
from mer.models.modules import MacroPretrainModule
from mer.progress import is_watched
from mer.randomness import derived_seed
from mer.runs import curves, evidence, run_files
from mer.training import data_parallel
from mer.training.devices import fold_device
from mer.training.given_weights import given_weights
from mer.training.macro_samples import Real, network_and_data, real_samples, sides_of
from mer.training.trainer import make_trainer

log = logging.getLogger(__name__)

#: The checkpoint with the best validation accuracy.
WEIGHTS = "best.ckpt"


#: What is told of an epoch: folder of the weights, number, metrics, error or None.
Tell = Callable[[Path, int, dict[str, float], BaseException | None], None]


def macro_weights(
    settings: Settings,
    corpus: Corpus | None,
    tested: Collection[str],
    tell: Tell | None = None,
) -> Path:
    """Train the macro model, or find the weights that the same settings gave before.

    A killed training continues from its last finished epoch.

    Args:
        settings: Settings of the run; `macro`, `backbone`, `input`, `prepare` and `seed` matter.
        corpus: Macro samples; None for synthetic motion alone.
        tested: Persons whom the protocol tests; they leave the pool.
        tell: Called after each epoch, and with the error that ends a training early.

    Returns:
        Checkpoint with the best validation accuracy. Beside it lie `pretraining.json` (settings,
        scores, persons) and `metrics.csv`.

    Raises:
        MerError: If too few persons are left, or `macro.weights` cannot be used.
    """
    if settings.macro.weights is not None:
        return given_weights(settings, tested)
    first = None
    if corpus is not None:
        corpus = _without(corpus, tested)
    settings = _with_network(settings)
    motion = settings.macro.motion
    if motion is not None and motion.real == "after":
        alone = replace(settings.macro, motion=replace(motion, real="none"))
        first = macro_weights(replace(settings, macro=alone), None, tested, tell)
        settings = replace(settings, macro=replace(settings.macro, motion=None))
    key = make_key("macro", _settings(settings, corpus, first), fold_device(settings).type)
    folder = Path(
        settings.paths.cache,
        "macro",
        f"{settings.backbone.name}-{settings.input.name}-{key.digest}",
    )
    report = folder / "pretraining.json"
    with exclusive(folder):
        hold(folder)
        if report.exists() and not integrity.intact(folder, [WEIGHTS, report.name]):
            for path in (report, folder / WEIGHTS):
                path.unlink(missing_ok=True)
        if not report.exists():
            folder.mkdir(exist_ok=True)
            write_json(key.record, folder / "settings.json")
            with naming(folder):
                _train(settings, corpus, first, folder, key.record["settings"], tell)
    result = run_files.read_json(report)
    judges = len(result["validation_persons"])
    log.info(
        "macro weights %s: validation accuracy %.3f (UF1 %.3f) on %s kept apart",
        folder.name,
        result["accuracy"],
        result["uf1"],
        f"{judges} persons" if judges else "synthetic samples",
    )
    return folder / WEIGHTS


def _without(corpus: Corpus, tested: Collection[str]) -> Corpus:
    """Leave tested persons out of the pool."""
    pool = corpus.table[~corpus.table["person"].isin(tested)].reset_index(drop=True)
    if len(pool) < len(corpus.table):
        shared = sorted(set(corpus.table["person"]) & set(tested))
        log.info("macro pool: %d tested persons left out: %s", len(shared), ", ".join(shared[:5]))
    return corpus._replace(table=pool)


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


def _settings(settings: Settings, corpus: Corpus | None, first: Path | None) -> dict[str, Any]:
    """All that decides the weights, as plain values."""
    nodes = ("backbone", "input", "macro", "trainer")
    plain = {name: trust.with_sources(to_plain(getattr(settings, name))) for name in nodes}
    plain["input"].pop("cache_gb")  # changes memory, not weights
    plain["macro"].pop("weights")  # there are none yet
    own = (*MACHINE, "threads")  # threads of the folds
    plain["trainer"] = {k: v for k, v in plain["trainer"].items() if k not in own}
    if settings.macro.motion is not None:
        layouts = synthetic_motion.layouts_of(settings)
        plain["layouts"] = [asdict(layout) for layout in layouts]
    if first is not None:
        plain["first"] = first.parent.name  # the key of its entry
    if corpus is None:
        return {"seed": settings.seed, "persons": [], **plain}
    stores = [store.key for store in corpus.stores]
    return {"seed": settings.seed, "data": corpus.hash, "stores": stores, **plain}


def _train(
    settings: Settings,
    corpus: Corpus | None,
    first: Path | None,
    folder: Path,
    record: dict[str, Any],
    tell: Tell | None,
) -> None:
    started = time.time()
    seed = derived_seed(settings.seed, "macro")
    pl.seed_everything(seed, workers=True, verbose=False)
    real = None if corpus is None else real_samples(settings, corpus, seed)
    module, data = network_and_data(settings, real, seed)
    if first is not None:
        _begin_with(module, first)
    persons = {
        side: [] if real is None else sorted(set(real.dataset.table["person"].iloc[positions]))
        for side, positions in sides_of(real).items()
    }
    module.provenance = {
        "stage": "macro",
        "version": __version__,
        "persons": persons["train"] + persons["validation"],
        "classes": module.classes,
        "input": to_plain(settings.input),
        "data_hash": None if corpus is None else corpus.hash,
        "synthetic_motion": first is not None or settings.macro.motion is not None,
    }
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
        "macro-pretraining of %s: %s%s",
        settings.backbone.name,
        _amount(settings, persons, real),
        ", continued" if continued else "",
    )
    checkpoint = last if continued else None
    with _told(folder, tell) as after_epoch:
        if settings.macro.devices > 1:
            assert isinstance(data, MERDataModule)  # as `synthetic_motion.problems` says
            data_parallel.fit(settings, module, data, folder, keeper, checkpoint, after_epoch)
        else:
            shown = settings.trainer.enable_progress_bar and not is_watched()
            count = EpochLines("macro-pretraining", shown)
            callbacks: list[pl.Callback] = [keeper, AfterEpoch(after_epoch), count]
            trainer = make_trainer(settings, settings.macro, folder, callbacks, progress=True)
            trainer.fit(module, data, ckpt_path=checkpoint)
    _check_sides(module, real, folder)
    # Without a history, in which the scores would be one epoch more.
    trainer = make_trainer(settings, settings.macro, folder, [], history=False)
    scores = trainer.validate(module, data, ckpt_path=folder / WEIGHTS, verbose=False)[0]
    result = {
        "accuracy": scores["val/accuracy"],
        "uf1": scores["val/uf1"],
        "uar": scores["val/uar"],
        "epochs": settings.macro.epochs,
        "seconds": round(time.time() - started, 1),
        "train_samples": len(sides_of(real)["train"]),
        "validation_samples": len(sides_of(real)["validation"]),
        "train_persons": persons["train"],
        "validation_persons": persons["validation"],
        "parameters": sum(p.numel() for p in module.parameters()),
        "settings": record,
    }
    write_json(result, folder / "pretraining.json")
    integrity.write(folder, [WEIGHTS, "pretraining.json"])
    last.unlink(missing_ok=True)


@contextlib.contextmanager
def _told(folder: Path, tell: Tell | None) -> Iterator[Callable[[], None]]:
    """Give what tells of the epochs that have ended; tell of the error that ends the body."""
    epochs = curves.NewEpochs(folder)

    def after_epoch() -> None:
        for epoch, values in epochs.read():
            if tell is not None:
                tell(folder, epoch, values, None)

    try:
        with curves.continued(folder):
            yield after_epoch
    except BaseException as error:
        after_epoch()
        if tell is not None:
            tell(folder, 0, {}, error)
        raise
    after_epoch()


def _begin_with(module: MacroPretrainModule, first: Path) -> None:
    """Let a network begin with the backbone and the classifier of a checkpoint."""
    state = read_checkpoint(first)["state_dict"]
    parts = ("backbone.", "classifier.")
    found = {name: values for name, values in state.items() if name.startswith(parts)}
    missing, _ = module.load_state_dict(found, strict=False)
    raise_all(f"{first} lacks tensors of the network:", [n for n in missing if n.startswith(parts)])


def _amount(settings: Settings, persons: dict[str, list[str]], real: Real | None) -> str:
    """How much a network is trained on, in words."""
    words = []
    if settings.macro.motion is not None:
        words.append(f"{settings.macro.motion.samples} samples of synthetic motion")
    if real is not None:
        words.append(
            f"{len(real.train)} samples of {len(persons['train'])} persons, "
            f"{len(persons['validation'])} kept apart"
        )
    return " and ".join(words)


def _check_sides(module: MacroPretrainModule, real: Real | None, folder: Path) -> None:
    """Refuse a training that has used samples of another side."""
    sides = sides_of(real)
    others = [
        *np.setdiff1d(module.seen.positions("train"), sides["train"]),
        *np.setdiff1d(module.seen.positions("val"), sides["validation"]),
    ]
    if others:
        for name in ("last.ckpt", WEIGHTS):
            (folder / name).unlink(missing_ok=True)
        raise_all(
            "Macro-pretraining has used samples on another side than theirs:",
            evidence.ids_of(real.dataset.table, others[:3]) if real else [str(others[:3])],
        )
