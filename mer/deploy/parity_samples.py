"""Samples that an exported file is compared with its model on, and calibrated with."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from mer.config.composition import compose, typed
from mer.data import sources
from mer.data.dataset import UnifiedDataset
from mer.data.synthetic_motion import MotionSamples
from mer.errors import MerError
from mer.models.ready_weights import READY
from mer.randomness import derived_seed
from mer.runs import run_files
from mer.training.evaluate import fold_config, load_config

#: Samples that a file is compared on, at most.
COMPARED = 512

#: Training samples that calibrate the ranges of the activations for int8.
CALIBRATION = 100

Images = NDArray[np.float32]

T = TypeVar("T", bound=np.generic)


class ParitySamples(NamedTuple):
    """Inputs as the data module gives them, not normalised. Shape: (N, C, S, S), float32.

    Attributes:
        images: Samples to compare on.
        labels: Their class numbers. Shape: (N,).
        held_out: Which of them the model has not seen. Shape: (N,), bool.
        calibration: Samples of the training side.
        words: What the samples are.
    """

    images: Images
    labels: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    calibration: Images
    words: str


def of_fold(
    run_dir: Path, fold: str, trust: Iterable[str] = (), places: Sequence[str] = ()
) -> ParitySamples:
    """Build samples of all sides of a fold; `places` says where data are now (`data.root=...`)."""
    trust, overrides = tuple(trust), list(places)
    cfg = load_config(run_dir, overrides, trust)
    settings = typed(fold_config(run_dir, cfg, fold, overrides, trust))
    try:
        corpus = sources.load(settings, "micro")
        dataset = UnifiedDataset(corpus.table, corpus.stores, corpus.classes, settings.input)
    except MerError as error:
        raise MerError(
            "A file is compared with its model on the samples of the run, which are not here; if "
            f"they were moved, add data.root=FOLDER. {error}"
        ) from error
    splits = run_files.read_table(run_dir / "splits.parquet")
    side = splits[splits["fold"] == fold].set_index("sample_id")["side"]
    ids = np.array(sorted(side.index), dtype=object)
    held_out = (side[ids] == "test").to_numpy()
    trained = _spread(ids[(side[ids] == "train").to_numpy()], CALIBRATION)
    ids, held_out = _spread(ids, COMPARED), _spread(held_out, COMPARED)
    positions = dataset.positions(ids.tolist())
    return ParitySamples(
        _images(dataset, positions),
        dataset.labels[positions],
        held_out,
        _images(dataset, dataset.positions(trained.tolist())),
        f"{len(ids)} samples of the run, "
        + (f"{int(held_out.sum())} of them" if held_out.any() else "none")
        + " of persons whom the model has not seen",
    )


def of_shipped(name: str) -> ParitySamples:
    """Draw samples of synthetic motion that did not train the weights of the package."""
    fixed = ["data.macro=null", "run.dir=unused"]
    settings = typed(compose([*READY[name].words, *fixed]))
    checked, calibration = (
        MotionSamples(settings, derived_seed(word, settings.seed), free=0.0).take(0, count)
        for word, count in (("export", COMPARED), ("calibration", CALIBRATION))
    )
    return ParitySamples(
        checked["image"].numpy().copy(),
        checked["label"].numpy(),
        np.ones(COMPARED, dtype=bool),
        calibration["image"].numpy().copy(),
        f"{COMPARED} samples of synthetic motion that the model has not seen",
    )


def _images(dataset: UnifiedDataset, positions: NDArray[np.int64]) -> Images:
    return dataset.images(positions).transpose(0, 3, 1, 2).copy()


def _spread(values: NDArray[T], count: int) -> NDArray[T]:
    """At most so many of some values, evenly spread."""
    places = np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)
    chosen: NDArray[T] = values[places]
    return chosen
