"""Evaluation: score a finished run again from its weights, without training.

Every fold's model is loaded, the heads are fitted anew on that fold's training samples and the test
samples are predicted. The scores must equal the stored ones, unless settings of a head are changed.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from mer import protocols
from mer.callbacks.head import fit_on_samples
from mer.config import trust as trusted
from mer.config.composition import typed
from mer.config.settings import MACHINE, Settings
from mer.data import sources
from mer.data.datamodule import MERDataModule
from mer.data.dataset import UnifiedDataset
from mer.errors import MerError
from mer.files import write_json
from mer.models.checkpoints import load_module
from mer.models.modules import MicroFinetuneModule
from mer.models.transfer import refuse_known_persons
from mer.runs import label_access, members, results, run_files, rundir, untested
from mer.runs.head_columns import heads
from mer.runs.run_folders import no_run
from mer.training import head_sources, inner, zero_shot
from mer.training.heads import heads_of, make_callbacks, svm_heads
from mer.training.predictions import predict, to_frame
from mer.training.trainer import fold_threads, make_trainer

#: Beginnings of keys that may change in an evaluation.
CHANGEABLE = r"(callbacks|trainer|paths)\.|data\.(root|(micro|macro)\.[^.]+\.root)$"


def load_config(
    run_dir: Path, overrides: list[str] | None = None, trust: Iterable[str] = ()
) -> DictConfig:
    """Read the configuration of a run.

    Args:
        run_dir: Run directory.
        overrides: `key=value`; only settings below `callbacks`, `trainer` and `paths`, and where
            data are, may change, because the weights were made with the others.
        trust: Packages that the run may name beside the listed objects of mer.

    Raises:
        MerError: If this is no run directory, names other code, or an override is not allowed.
    """
    path = run_dir / "config.yaml"
    if not path.exists():
        raise MerError(no_run(run_dir))
    cfg = trusted.load(path, trust)
    members.require_networks(run_dir, cfg)
    if lacking := [key for key in ("data", "labels", "model", "callbacks") if key not in cfg]:
        raise MerError(
            f"{path} is cut off or damaged (no {', '.join(lacking)} in it): {run_files.mend(path)}"
        )
    for override in overrides or []:
        key, _, value = override.partition("=")
        if not re.match(CHANGEABLE, key) or not value:
            raise MerError(
                f"`{override}` cannot change in an evaluation; write "
                "callbacks.svm_head.<setting>=<value>, or data.root=<folder>."
            )
        if OmegaConf.select(cfg, key, default=KeyError) is KeyError:
            parent = key.rpartition(".")[0]
            while parent and not OmegaConf.is_dict(OmegaConf.select(cfg, parent)):
                parent = parent.rpartition(".")[0]
            node = OmegaConf.select(cfg, parent) or {}
            raise MerError(f"`{key}` is not in {path}; there are: {', '.join(map(str, node))}.")
        OmegaConf.update(cfg, key, OmegaConf.create({"v": OmegaConf.create(f"v: {value}").v}).v)
    return cfg


def fold_config(
    run_dir: Path,
    cfg: DictConfig,
    fold: str,
    overrides: list[str] | None = None,
    trust: Iterable[str] = (),
) -> DictConfig:
    """The configuration of a fold, which a nested search has chosen; else the run's, `cfg`."""
    folder = rundir.fold_folder(run_dir, fold)
    if not (folder / "config.yaml").exists():
        return cfg
    chosen = load_config(folder, overrides, trust)
    machine = {key: cfg.trainer[key] for key in MACHINE if key in cfg.trainer}
    here = {"data": cfg.data, "paths": cfg.paths, "trainer": machine}
    return DictConfig(OmegaConf.merge(chosen, here))


def evaluate(
    run_dir: Path, overrides: list[str] | None = None, trust: Iterable[str] = ()
) -> dict[str, Any]:
    """Predict the test samples of every fold again and score them.

    Returns:
        `heads` as in `metrics.json`, `different_labels` (head -> number of samples whose label
        differs from the stored one) and, with overrides, `written`: the file that keeps the scores.

    Raises:
        MerError: If the run is incomplete, names other code, or its data cannot be read.
    """
    trust = tuple(trust)
    cfg = load_config(run_dir, overrides, trust)
    if untested.tests_nobody(cfg):
        raise MerError(f"{run_dir} trained on everybody, so there is nobody to test it on.")
    settings = typed(cfg)
    stored_path = rundir.find(run_dir, "predictions.parquet")
    if stored_path is None:
        raise MerError(f"{run_dir} is incomplete. Finish it: mer train with the same arguments.")
    stored = run_files.read_table(stored_path)
    corpus = sources.load(settings, "micro")
    folds = sources.folds(settings, corpus.table)
    kept: dict[str, UnifiedDataset] = {}
    without_fit: dict[str, NDArray[np.float64] | None] = {}
    frames = []
    for fold in folds:
        own = typed(fold_config(run_dir, cfg, fold.name, overrides, trust))
        if (key := repr(own.input)) not in kept:
            kept[key] = sources.dataset(own, corpus)
        with fold_threads(own):
            if key not in without_fit:
                pretrained = zero_shot.network(own, run_dir)
                without_fit[key] = zero_shot.scores(own, pretrained, kept[key])
            scores = without_fit[key]
            frames.append(_predict(own, run_dir, fold, kept[key], scores, trust, overrides or []))
    manifest = run_files.read_table(run_dir / "manifest.parquet")
    predictions = results.join(pd.concat(frames, ignore_index=True), manifest)
    result: dict[str, Any] = {"heads": results.score(predictions, corpus.classes, cfg.seed)}
    before, now = (table.set_index("sample_id") for table in (stored, predictions))
    result["different_labels"] = {
        head: int((before[head].reindex(now.index) != now[head]).sum())
        for head in heads(predictions)
        if head in before
    }
    label_access.record(run_dir, stored, "run")
    look = label_access.record(run_dir, predictions, " ".join(["evaluate", *(overrides or [])]))
    state = label_access.state(run_dir)
    _write_state(run_dir, state)
    result |= {"look": look, **state}
    if look > 1:
        before = [str(entry["how"]) for entry in label_access.looks(run_dir)[: look - 1]]
        result["warnings"] = [*state["warnings"], label_access.late(before)]
    if overrides:
        name = "-".join(override.replace("callbacks.", "") for override in overrides)
        path = run_dir / f"evaluation-{name.replace('/', '_')}.json"
        write_json({"overrides": overrides, **result}, path)
        result["written"] = str(path)
    return result


def _write_state(run_dir: Path, state: dict[str, Any]) -> None:
    """Let the stored scores say how often the test labels were looked at."""
    path = rundir.find(run_dir, "metrics.json")
    if path is not None:
        metrics = run_files.read_json(path)
        if {**metrics, **state} != metrics:
            write_json({**metrics, **state}, path)


def _predict(
    settings: Settings,
    run_dir: Path,
    fold: protocols.Fold,
    dataset: UnifiedDataset,
    scores: NDArray[np.float64] | None,
    trust: Iterable[str],
    overrides: list[str],
) -> pd.DataFrame:
    folder = rundir.fold_folder(run_dir, fold.name)
    checkpoint = folder / "model.ckpt"
    module = load_module(MicroFinetuneModule, checkpoint, trust)
    test = dataset.positions(fold.test)
    apart = settings.protocol.name not in protocols.LEAKY
    tested = set(dataset.table["person"].iloc[test]) if apart else set()
    refuse_known_persons(module.provenance, tested)
    data = MERDataModule(
        dataset,
        dataset.positions(fold.train),
        dataset.positions(fold.validation),
        test,
        batch_size=settings.model.batch_size,
        num_workers=settings.trainer.num_workers,
    )
    chosen = dict(module.provenance.get("inner") or {})
    typed_keys = [word.partition("=")[0].split(".") for word in overrides]
    changed = {key[1] for key in typed_keys if key[0] == "callbacks"}
    if changed & set(svm_heads(make_callbacks(settings.callbacks))):
        chosen.pop("svm", None)  # what was typed counts
    callbacks = make_callbacks(settings.callbacks, chosen.get("svm"))
    for head in heads_of({key: one for key, one in callbacks.items() if key in changed}):
        thresholds = chosen.get("thresholds", {})  # are those of the head as it was
        chosen["thresholds"] = {name: one for name, one in thresholds.items() if name != head.name}
    fitted = heads_of(callbacks)
    head_sources.attach(fitted, settings, dataset, tested)
    trainer = make_trainer(
        settings, settings.model, folder, []
    )  # names the device and the precision
    module.to(trainer.strategy.root_device)
    with trainer.precision_plugin.forward_context():
        fit_on_samples(fitted, module, data.embedding_dataloader())
        outputs = predict(module, data.predict_dataloader(), fitted)
    if scores is not None:
        zero_shot.add(outputs, scores)
    frame = to_frame(outputs, dataset.table, dataset.classes, test).assign(fold=fold.name)
    return inner.apply_thresholds(frame, chosen, dataset.classes)
