"""One run: one protocol, all its folds, one pooled result.

A fold is finished when its `predictions.parquet` is there. A run started again in its directory
does the folds that are missing; since every fold has a seed of its own, the result is the same as
that of an uninterrupted run. Several processes may work on one run directory: each fold is locked.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from tqdm.contrib.logging import logging_redirect_tqdm

from mer import protocols
from mer.config import trust
from mer.config.composition import typed
from mer.config.conversion import to_plain
from mer.config.settings import (
    Settings,
)
from mer.data import sources
from mer.data.corpus import Corpus
from mer.data.few_samples import shortened
from mer.data.sources import Source
from mer.errors import ctrl_c_restored, when_stopped
from mer.files import write_json
from mer.models import cost
from mer.models.checkpoints import load_module
from mer.models.modules import MicroFinetuneModule
from mer.progress import progress_bar
from mer.protocols import Fold
from mer.runs import (
    claims,
    curves,
    environment,
    fold_order,
    results,
    run_files,
    rundir,
    twins,
    untested,
)
from mer.runs.head_columns import SOFTMAX, ZERO_SHOT
from mer.runs.observers import Observer, PretrainingEpoch, Progress, RunContext, watch
from mer.training import checks, overfit, workers, zero_shot
from mer.training.baseline import write_baseline
from mer.training.devices import check as check_devices
from mer.training.devices import fold_device
from mer.training.engines.engine import choose
from mer.training.heads import heads_of, make_callbacks
from mer.training.pretrain import macro_weights
from mer.training.workers import Outcome

log = logging.getLogger(__name__)


def run(
    config: DictConfig | Settings, run_dir: Path, observers: Sequence[Observer] = ()
) -> dict[str, Any]:
    """Carry out a run in its directory, or finish one that was interrupted.

    Returns:
        The content of `metrics.json`; its `status` is `complete`, `incomplete` or, of a model on
        everybody, `untested`.
    """
    settings = shortened(config if isinstance(config, Settings) else typed(config))
    with when_stopped("Prepared samples are kept; the same command goes on."):
        check(settings, observers)
        found = read(settings)
        claims.check(run_dir, settings)
        corpus = sources.load(settings, "micro", found["micro"])
        macro = sources.load(settings, "macro", found["macro"]) if "macro" in found else None
        folds = sources.folds(settings, corpus.table)
    return carry_out(settings, corpus, folds, macro, run_dir, observers)


def read(settings: Settings) -> dict[str, list[Source]]:
    """Read the datasets of a run, and try its protocol on them before any sample is prepared.

    Returns:
        Role -> its datasets, as `sources.read` gives them.

    Raises:
        MerError: If data are missing, lack a class, or are too few for the protocol.
    """
    roles = ("micro", "macro") if settings.macro.reads_datasets else ("micro",)
    found = sources.read(settings, *roles)
    checks.check_names(settings, found["micro"])
    folds = sources.folds(settings, sources.labelled(settings, found["micro"]))
    checks.check_sides(settings, folds)
    return found


def check(settings: Settings, observers: Sequence[Observer] = ()) -> None:
    """Find out whether a run can be carried out, before any sample is read.

    Raises:
        MerError: If settings contradict each other, or a network, device or logger cannot be had.
    """
    checks.check(settings)
    untested.require_like(settings)
    check_devices(settings)
    for observer in observers:
        observer.check()


@ctrl_c_restored()
def carry_out(
    settings: Settings,
    corpus: Corpus,
    folds: Sequence[Fold],
    macro: Corpus | None,
    run_dir: Path,
    observers: Sequence[Observer],
) -> dict[str, Any]:
    """Freeze the splits, train what is not done yet, and pool."""
    apart = settings.protocol.name not in protocols.LEAKY
    judged = settings.protocol.name != protocols.EVERYBODY
    protocols.check_folds(folds, corpus.table, persons_apart=apart, tested=judged)
    checks.check_sides(settings, folds)
    order = fold_order.running_order(folds, corpus.table)
    fold_order.select_folds(order, settings.protocol.folds)  # a wrong name is refused here
    dataset = sources.dataset(settings, corpus)
    with claims.claimed(run_dir, settings) as computed:
        for observer in observers:
            observer.claimed()
        rundir.write_manifest(run_dir, corpus, folds)
        environment.write(run_dir, settings, corpus.hash)
        twins.check(run_dir, settings, corpus, macro, folds)
        weights = _pretrained(settings, corpus, macro, run_dir, observers, computed)
        claims.claim(run_dir, settings, replace=False)
    scores = None
    pretrained = zero_shot.network(settings, run_dir, weights)
    if judged:
        scores = zero_shot.scores(settings, pretrained, dataset)
    heads = [head.name for head in heads_of(make_callbacks(settings.callbacks))]
    heads += [SOFTMAX] if scores is None else [SOFTMAX, ZERO_SHOT]
    context = RunContext(settings, run_dir, corpus, dataset, order, weights, heads, scores)
    with watch(observers, context), when_stopped(lambda: _kept(context)):
        _run_folds(context, observers)
        _write_cost(context)
        if judged:
            write_baseline(run_dir, settings, dataset, order)
        result = results.pool(run_dir, settings)
        for observer in observers:
            observer.end(result)
    if settings.debug is not None and settings.debug.overfit:
        overfit.check(context)
    return result


def _pretrained(
    settings: Settings,
    corpus: Corpus,
    macro: Corpus | None,
    run_dir: Path,
    observers: Sequence[Observer],
    computed: Callable[[], None],
) -> Path | None:
    """The macro weights that every fold begins with; None without macro-pretraining."""
    if not settings.macro.enabled:
        return None

    def tell(*epoch: Any) -> None:
        if epoch[-1] is None:  # no error
            computed()
        for observer in observers:
            observer.pretraining(PretrainingEpoch(settings, run_dir, *epoch))

    with when_stopped("Finished epochs of macro-pretraining are kept; the same command goes on."):
        # Nobody is tested by a model on everybody, but it takes the weights that were judged.
        persons = set(corpus.table["person"])
        return macro_weights(settings, macro, persons, tell)


def _kept(run: RunContext) -> str:
    """What an interrupted run has finished, in a sentence."""
    done = sum(rundir.is_done(run.run_dir, fold.name) for fold in run.folds)
    kept = f"{done} of {len(run.folds)} folds are done and kept"
    return f"{kept}; the same command with run.dir={run.run_dir} goes on."


def _run_folds(run: RunContext, observers: Sequence[Observer]) -> None:
    """Train the folds that are this process's and not done yet."""
    settings = run.settings
    selected = fold_order.select_folds(run.folds, settings.protocol.folds)
    pending = [fold for fold in selected if not rundir.is_done(run.run_dir, fold.name)]
    if len(pending) < len(selected):
        log.info("%d of %d folds are done already", len(selected) - len(pending), len(selected))
    if not pending:
        return
    ordered = _InRunningOrder(run, selected, pending, observers)
    run = replace(run, after_epoch=ordered.tell_epochs)
    shown = settings.trainer.enable_progress_bar
    bar = progress_bar(len(pending), f"{settings.protocol.name} folds", "fold", shown=shown)
    outcomes = workers.train(run, choose(run, len(pending)), pending)
    # With the redirection a log line pushes the bar down instead of breaking it.
    with bar, logging_redirect_tqdm(), contextlib.closing(outcomes):
        for name, outcome in outcomes:
            bar.update()
            ordered.settle(name, outcome)


def _write_cost(run: RunContext) -> None:
    """Measure what the network costs, once per run, when no fold is being trained here."""
    path = run.run_dir / "cost.json"
    done = [fold.name for fold in run.folds if rundir.is_done(run.run_dir, fold.name)]
    if path.exists() or not done:
        return
    checkpoint = rundir.fold_folder(run.run_dir, done[0]) / "model.ckpt"
    module = load_module(
        MicroFinetuneModule, checkpoint, trust.names(to_plain(run.settings)).values()
    )
    image = torch.from_numpy(run.dataset.image(0).transpose(2, 0, 1).copy())
    write_json(cost.measure(module, image, fold_device(run.settings)), path)


class _InRunningOrder:
    """Calls the observers fold by fold in running order, whatever order the folds finish in.

    Epochs are told as they come, those of workers, too, from the histories on disk.
    """

    def __init__(
        self,
        run: RunContext,
        selected: Sequence[Fold],
        pending: Sequence[Fold],
        observers: Sequence[Observer],
    ) -> None:
        self.run, self.observers = run, observers
        self._waiting = deque(fold.name for fold in pending)
        self._outcomes: dict[str, Outcome] = {}
        self._names = [fold.name for fold in run.folds]
        self._score = results.RunningScore(run.run_dir, run.corpus.table, run.corpus.classes)
        self._epochs = {
            fold.name: curves.NewEpochs(rundir.fold_folder(run.run_dir, fold.name))
            for fold in selected
        }

    def tell_epochs(self) -> None:
        """Call the observers for the epochs that have ended since the last call."""
        for name, epochs in self._epochs.items():
            for epoch, values in epochs.read():
                for observer in self.observers:
                    observer.epoch(name, epoch, values)

    def settle(self, name: str, outcome: Outcome) -> None:
        """Take the outcome of a fold; call the observers for every fold whose turn it is."""
        self.tell_epochs()
        self._outcomes[name] = outcome
        while self._waiting and self._waiting[0] in self._outcomes:
            name = self._waiting.popleft()
            if self._outcomes[name] is Outcome.HELD:
                log.info("fold %s is being trained by another process", name)
            elif self._outcomes[name] is Outcome.TRAINED:
                self._call(name)

    def _call(self, name: str) -> None:
        run_dir = self.run.run_dir
        called = [other for other in self._names if other not in self._waiting]
        done = [other for other in called if rundir.is_done(run_dir, other)]
        record = run_files.read_json(rundir.fold_folder(run_dir, name) / "fold.json")
        progress = Progress(name, len(done), len(self._names), record, self._score(done))
        for observer in self.observers:
            observer.fold(progress)
