"""Label permutation test: a run's own training on labels that mean nothing.

The run's configuration is trained again, a few times, on labels that are permuted among the samples
of each person in each dataset (`labels.permutation`). Engine, heads, folds, class counts and class
weights are the run's own. What scores above the bound of `mer.audit.permuted_scores` has learnt
labels of tested samples.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from mer import metrics
from mer.audit.findings import Verdict
from mer.audit.permuted_scores import PermutedScore, compare
from mer.errors import MerError
from mer.runs import run_files, rundir
from mer.runs.head_columns import heads

log = logging.getLogger(__name__)

#: Trainings on permuted labels unless told otherwise.
PERMUTATIONS = 3

#: What permuted labels cannot show.
BLIND = (
    "Permuted labels show whether labels of tested samples are learnt. They do not show a scaler "
    "or class weights fitted on all samples, a network that recognises tested persons, swapped "
    "rows, a stale cache, a micro clip in the macro pool, or settings chosen by hand: see `mer "
    "audit RUN`. A leak into the network shows as far as it learns its training labels by heart, "
    "so more epochs show more; an epoch or a setting that each fold chooses on its test side shows "
    "where it lifts the score above the bound, which is wide for few samples."
)


@dataclass(frozen=True)
class NullTest:
    """The label permutation test of one run.

    Attributes:
        run: Run directory.
        scores: Every score of every head.
        can_show: Whether a head that knew every label would score above its bound.
        remarks: What guessing gives, and what the test cannot show.
    """

    run: str
    scores: list[PermutedScore]
    can_show: bool
    remarks: list[str]

    @property
    def verdict(self) -> Verdict:
        """`fail` if something leaks, `unknown` if no leak could be seen."""
        if any(score.leaks for score in self.scores):
            return "fail"
        return "pass" if self.can_show else "unknown"

    @property
    def sentences(self) -> list[str]:
        """The verdict in plain words, then every score that is too high."""
        if self.verdict == "pass":
            return ["No head scores more on permuted labels than a run without a leak may."]
        if self.verdict == "unknown":
            return [
                "The samples are too few to show a leak: even a head that knew every label would "
                "stay within the bound. Try more --permutations."
            ]
        return [
            "Something leaks: labels of tested samples reach the training, a head or a choice.",
            *(
                f"{score.head}: {score.name.upper()} {score.mean:.3f} on permuted labels, where a "
                f"run without a leak gives {score.expected:.3f}, and 99 of 100 such runs at most "
                f"{score.bound:.3f} in any head and score."
                for score in self.scores
                if score.leaks
            ),
        ]

    def as_json(self) -> dict[str, Any]:
        """Plain values, as they stand in `null.json`."""
        scores = [{**asdict(score), "leaks": score.leaks} for score in self.scores]
        return {
            "run": self.run,
            "verdict": self.verdict,
            "sentences": self.sentences,
            "scores": scores,
            "remarks": self.remarks,
        }


def null_test(
    run_dir: Path,
    permutations: int = PERMUTATIONS,
    epochs: int | None = None,
    trust: Iterable[str] = (),
    places: Sequence[str] = (),
) -> NullTest:
    """Train a run's configuration on permuted labels and compare its scores with the expected ones.

    Each repetition is a run directory `null/permutation-<number>` below the run's own (with
    `-epochs-<epochs>` if those are given). Finished folds stay there, so the next call goes on.

    Raises:
        MerError: If this is no run directory, it names code that is not trusted, the data are
            missing, or another process trains one of the folds.
    """
    from mer.training import runner
    from mer.training.evaluate import load_config

    cfg = load_config(run_dir, list(places), trust)
    ending = "" if epochs is None else f"-epochs-{epochs}"
    folders = [run_dir / "null" / f"permutation-{seed}{ending}" for seed in range(permutations)]
    log.info(_duration(run_dir, folders, epochs))
    frames = []
    for seed, folder in enumerate(folders):
        permuted = _permuted(cfg, folder, seed, epochs)
        result = runner.run(permuted, folder)
        if result["status"] != "complete":
            raise MerError(
                f"{folder} is incomplete: another process trains {len(result['missing_folds'])} of "
                "its folds. Wait for it, then type the same command again."
            )
        frames.append(run_files.read_table(folder / rundir.marked("predictions.parquet", permuted)))
    classes = [str(name) for name in cfg.labels.classes]
    counts = [int((frames[0]["label"] == name).sum()) for name in classes]
    guess = metrics.chance(counts, len(classes))["prior"]
    guessing = f"Guessing by class frequency gives UF1 {guess['uf1']:.3f}, UAR {guess['uar']:.3f}."
    scores = compare(frames, heads(frames[0]), classes)
    constant = sorted({score.head for score in scores if score.bound - score.expected < 1e-9})
    remarks = [
        guessing,
        *(f"{head} gives each person one class, so it can show nothing." for head in constant),
        BLIND,
    ]
    perfect = compare(frames, ["label"], classes)[0]
    return NullTest(str(run_dir), scores, perfect.leaks, remarks)


def _permuted(cfg: DictConfig, folder: Path, seed: int, epochs: int | None) -> DictConfig:
    """The configuration of one repetition."""
    changes: dict[str, Any] = {
        "labels": {"permutation": seed},
        "run": {"dir": str(folder)},
        "protocol": {"folds": None},
        "trial": {"number": None},
        "logger": None,
        "search": None,
        "baseline": None,
        "reuse_networks": False,
    }
    if epochs is not None:
        changes["model"] = {"epochs": epochs}
    return DictConfig(OmegaConf.merge(cfg, changes))


def _duration(run_dir: Path, folders: Sequence[Path], epochs: int | None) -> str:
    """How many folds must be trained, and how long it takes if each takes what the run's took."""
    path = run_dir / "manifest.parquet"
    if not path.exists():
        raise MerError(f"{run_dir} has no manifest.parquet: its training has not begun.")
    names = list(dict.fromkeys(run_files.read_table(path, ["fold"])["fold"]))
    pending = sum(not rundir.is_done(folder, name) for folder in folders for name in names)
    text = f"{len(folders)} permutations of {len(names)} folds, {pending} still to train"
    paths = [rundir.fold_folder(run_dir, name) / "fold.json" for name in names]
    records = [run_files.read_json(path) for path in paths if path.exists()]
    if not records or not pending:
        return text
    seconds = pending * float(
        np.mean([one["seconds"] * (epochs / one["epochs"] if epochs else 1) for one in records])
    )
    long = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
    return f"{text}: about {long}, less where folds train at the same time"
