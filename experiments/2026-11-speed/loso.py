"""Leave-one-subject-out, ours and the plain loop, in three regimes; they take turns.

    python loso.py                                          # all regimes: an hour
    python loso.py whole-frozen                             # all 68 folds, minutes
    python loso.py whole-frozen protocol.folds=1/17 --rounds 1 --profile
    python loso.py fully-trained input.size=128 --csv loso.csv

Words with `=` are overrides as for `mer train`, and come last. Each round measures the plain loop
and then a whole run of `mer`, on the same folds. Macro weights, prepared pictures and built inputs
are made before, by a run that does not count.
"""

import argparse
import cProfile
import logging
import pstats
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from plain_loop import Plan, augmentation, run_fold

from mer.config.composition import compose
from mer.data.corpus import Corpus
from mer.models import backbones, blocks
from mer.runs.observers import Observer, Progress, RunContext
from mer.training import runner

#: The study's data and machine settings, then those of each regime, as words of `mer train`.
COMMON = [
    "data.preset=megc2019", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
    "logger=none", "run.dir=unused", "model.epochs=3",
]  # fmt: skip
MACRO = ["macro.epochs=1", "model.transfer.input_stats=macro"]
FEW = "protocol.folds=1/17"  # 4 of 68 folds: a whole protocol takes the plain loop hours
REGIMES = {
    "fully-trained": [FEW, "macro.enabled=false"],
    "first-blocks-frozen": [
        FEW, *MACRO, "model.transfer.freeze=[mobilenetv2]", "model.augment_draws=4",
    ],
    "whole-frozen": [
        *MACRO, "model.epochs=30", "model.transfer.blocks=all", "model.transfer.freeze=[all]",
        "model.augment=null",
    ],
}  # fmt: skip


class Watch(Observer):
    """Notes which folds a run trains, when they begin, and when the last one has ended."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0
        self.trained: list[str] = []

    def start(self, run: RunContext) -> None:
        """Called before the first fold."""
        self.run = run
        self.began = time.perf_counter()

    def fold(self, progress: Progress) -> None:
        """Called after each fold."""
        self.ended = time.perf_counter()
        self.trained.append(progress.fold)


class PlainLoop:
    """The plain loop with the settings, samples and folds of a run."""

    def __init__(self, cfg: DictConfig, watch: Watch, epochs: int, folder: Path) -> None:
        corpus = watch.run.corpus
        position = {sample: number for number, sample in enumerate(corpus.table["sample_id"])}
        self.labels = np.array([corpus.classes.index(label) for label in corpus.table["label"]])
        self.paths = write_pictures(cfg, corpus, folder)
        self.plan = plan_of(cfg, epochs)
        self.folds = [
            tuple(
                np.array([position[sample] for sample in side]) for side in (fold.train, fold.test)
            )
            for fold in watch.run.folds
            if fold.name in watch.trained
        ]

    def seconds(self) -> float:
        """Train and test every fold; return the seconds of all."""
        started = time.perf_counter()
        for train, test in self.folds:
            run_fold(self.plan, self.paths, self.labels, train, test)
        return time.perf_counter() - started


def measure(regime: str, words: list[str], rounds: int, profile: bool) -> pd.DataFrame:
    """Measure one regime; one row per round.

    Returns:
        Seconds of all folds by the plain loop (`plain`), of a run's folds (`folds`) and of the
        whole run (`run`): reading, scores and files included.
    """
    cfg = compose([*COMMON, *REGIMES[regime], *words])
    trains = regime != "whole-frozen"
    watch, _ = run_ours(cfg)
    rows = []
    with tempfile.TemporaryDirectory() as pictures:
        loop = PlainLoop(cfg, watch, cfg.model.epochs if trains else 0, Path(pictures))
        for number in range(rounds):
            plain = loop.seconds()
            watch, whole = run_ours(cfg)
            folds = watch.ended - watch.began
            of_all = (regime, cfg.input.size, cfg.model.epochs, len(loop.folds), number)
            rows.append((*of_all, plain, folds, whole))
            print(f"{regime}, round {number}: plain {plain:.2f} s, ours {folds:.2f} s", flush=True)
    if profile:
        with cProfile.Profile() as profiler:
            run_ours(cfg)
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)
    names = ["regime", "size", "epochs", "folds", "round", "plain_s", "folds_s", "run_s"]
    return pd.DataFrame(rows, columns=names)


def run_ours(cfg: DictConfig) -> tuple[Watch, float]:
    """Carry out a run in a new directory; return what was noted, and the seconds of all of it."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        runner.run(cfg, Path(folder, "run"), [watch])
        return watch, time.perf_counter() - started


def write_pictures(cfg: DictConfig, corpus: Corpus, folder: Path) -> list[Path]:
    """Write one PNG per sample, as peers store them: the apex crop, or the flow in 8 bit."""
    if cfg.input.name not in ("flow", "apex"):
        raise SystemExit(f"the plain loop reads pictures: input=flow or apex, not {cfg.input.name}")
    paths = [folder / f"{number:06d}.png" for number in range(len(corpus.table))]
    where = zip(corpus.table["store"], corpus.table["row"], paths, strict=True)
    for number, row, path in where:
        store = corpus.stores[number]
        if cfg.input.name == "flow":
            flow = np.moveaxis(np.asarray(store.flow[row], np.float32), 0, 2)
            picture = np.clip(128 + 16 * flow, 0, 255).astype(np.uint8)
        else:
            picture = np.asarray(store.frames[row][1])
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return paths


def plan_of(cfg: DictConfig, epochs: int) -> Plan:
    """Give the plain loop the settings of a configuration."""
    frozen: list[str] = []
    if cfg.model.transfer.freeze:
        frozen = blocks.select(backbones.build(cfg.backbone, 3), list(cfg.model.transfer.freeze))
    return Plan(
        backbone=cfg.backbone.name,
        size=cfg.input.size,
        n_classes=len(cfg.labels.classes),
        epochs=epochs,
        batch_size=cfg.model.batch_size,
        lr=cfg.model.optimizer.lr,
        augment=augmentation(cfg.model.augment, cfg.seed),
        frozen=frozenset(frozen),
        seed=cfg.seed,
    )


def main() -> None:
    """Measure the regimes named, or all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="REGIME|key=value")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured")
    parser.add_argument("--csv", type=Path, help="append the rows there")
    parser.add_argument("--profile", action="store_true", help="profile one more run")
    given = parser.parse_intermixed_args()
    words = [word for word in given.words if "=" in word]
    regimes = [word for word in given.words if "=" not in word] or list(REGIMES)
    logging.getLogger("mer").setLevel(logging.WARNING)
    print(f"the plain loop has {torch.get_num_threads()} threads; OMP_NUM_THREADS changes that")
    for regime in regimes:
        table = measure(regime, words, given.rounds, given.profile)
        if given.csv:
            table.to_csv(given.csv, mode="a", header=not given.csv.exists(), index=False)
        table["times"], table["times_run"] = (
            table["plain_s"] / table[name] for name in ("folds_s", "run_s")
        )
        print(table.round(3).to_string(index=False), flush=True)
        print(f"median: {table['times'].median():.2f} times faster (whole run: ", end="")
        print(f"{table['times_run'].median():.2f})", flush=True)


if __name__ == "__main__":
    main()
