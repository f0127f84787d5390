"""UnifiedDataset: samples of every dataset, micro or macro, as the same kind of tensor."""

import functools
import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer import integrity
from mer.cache import exclusive, hold, make_key
from mer.config import trust
from mer.config.conversion import without_cache
from mer.config.settings import Input
from mer.data import inputs
from mer.data.corpus import Corpus, combine
from mer.datasets.index import Remark
from mer.errors import MerError, raise_all
from mer.files import write_json, write_whole
from mer.prepare.sample import Sample
from mer.prepare.store import Store

log = logging.getLogger(__name__)

#: Samples that are built at a time.
PART = 256


class UnifiedDataset:
    """All samples of a run, micro or macro, and the one way to their inputs.

    Args:
        table: Index table with `label` (class name), `store` (position in `stores`) and `row`
            (position in that store's arrays); its order is the order of the samples.
        stores: Opened prepared stores.
        classes: Class names; a label's number is its place here.
        settings: Kind and size of the input; `cache_gb` is the disk (without `cache` the memory)
            that built inputs may take. Beyond it they are built each time.
        cache: Folder for built inputs, which are memory-mapped and shared by all processes and
            later runs; None keeps them in memory.

    Raises:
        MerError: If the input needs pictures or flow that a store does not hold.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        stores: Sequence[Store],
        classes: Sequence[str],
        settings: Input,
        cache: Path | None = None,
    ) -> None:
        self.table = table.reset_index(drop=True)
        self.stores, self.classes, self.settings = list(stores), list(classes), settings
        self.remarks: list[Remark] = []
        self.cache = cache
        self._others: dict[str, UnifiedDataset] = {repr(without_cache(settings)): self}
        self.input = inputs.make(self.settings)
        self.kind = self.input.kind
        number = {name: i for i, name in enumerate(self.classes)}
        self.labels = self.table["label"].map(number).to_numpy(dtype=np.int64)
        self._place = self.table[["store", "row"]].to_numpy(dtype=np.int64)
        self._check()
        gigabytes = 4 * np.prod(self._shape, dtype=float) / 2**30
        self._built: NDArray[np.float32] | None = None
        self._file: Path | None = None
        if gigabytes > self.settings.cache_gb:
            log.info("%.1f GB of inputs exceed input.cache_gb; they are built as needed", gigabytes)
        elif cache is None:
            self._built = np.stack([self.build(position) for position in range(len(self))])
        else:
            self.keep(cache)

    @classmethod
    def from_stores(
        cls,
        stores: Sequence[Store],
        labels: str | Mapping[str, Any],
        input: Input | None = None,
        cache: Path | None = None,
    ) -> "UnifiedDataset":
        """Label the samples of prepared stores and build their inputs.

        Args:
            stores: Prepared stores (`mer.prepare_samples`).
            labels: Name of a label scheme, or the scheme itself.
            input: Kind and size of the input; by default optical flow of 64 pixels.
            cache: Folder for built inputs; None keeps them in memory.

        Raises:
            MerError: If two stores hold the same sample, or the input needs what a store lacks.
        """
        chosen = input or Input()
        corpus = combine(stores, labels, needs_onset=inputs.make(chosen).kind.needs_onset)
        made = cls(corpus.table, corpus.stores, corpus.classes, chosen, cache)
        made.remarks = corpus.remarks
        return made

    @property
    def corpus(self) -> Corpus:
        """The samples without their inputs."""
        return Corpus(self.table, self.stores, self.classes, self.remarks)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy in another process needs: of built inputs the file alone."""
        state = self.__dict__.copy()
        state.pop("_others")
        state.pop("rows", None)
        if self._file is not None:
            state["_built"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the file of built inputs again."""
        self.__dict__.update(state)
        self._others = {repr(without_cache(self.settings)): self}
        self._open()

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.table)

    def image(self, position: int) -> NDArray[np.float32]:
        """The input of one sample, not augmented and not normalised. Shape: (S, S, C), float32."""
        return self.images(np.array([position]))[0]

    def images(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The inputs of some samples, as `image` gives them. Shape: (B, S, S, C), float32."""
        if self._built is not None:
            return np.asarray(self._built[positions])
        return np.stack([self.build(int(position)) for position in positions])

    def build(self, position: int) -> NDArray[np.float32]:
        """The input of one sample, made of what its store holds. Shape: (S, S, C), float32."""
        return self.input.build(self.sample(position))

    def sample(self, position: int) -> Sample:
        """The arrays of one sample that its input reads, as its store holds them."""
        store_number, row = self._place[position]
        store = self.stores[store_number]
        needs = set(self.kind.needs)
        return Sample(
            frames=store.frames[row] if {"apex", "onset"} & needs else None,
            flow=store.flow[row] if "flow" in needs else None,
            landmarks=store.landmarks[row] if "landmarks" in needs else None,
        )

    @functools.cached_property
    def rows(self) -> NDArray[np.float32]:
        """The input of every sample in one row, channel by channel. Shape: (N, C * S * S)."""
        images = self.images(np.arange(len(self)))
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(self), -1)

    def as_input(self, settings: Input) -> "UnifiedDataset":
        """The same samples as another input, built once.

        Raises:
            MerError: If the input needs what a store does not hold.
        """
        key = repr(without_cache(settings))
        if key not in self._others:
            made = UnifiedDataset(self.table, self.stores, self.classes, settings, self.cache)
            made.remarks = self.remarks
            self._others[key] = made
            made._others = self._others
        return self._others[key]

    def positions(self, sample_ids: Sequence[str]) -> NDArray[np.int64]:
        """Positions of samples in this dataset.

        Raises:
            MerError: If an id is not here.
        """
        place = self._ids.get_indexer(pd.Index(list(sample_ids)))
        unknown = [sample for sample, at in zip(sample_ids, place, strict=True) if at < 0]
        raise_all("Samples that the dataset does not hold:", unknown)
        return place.astype(np.int64)

    def statistics(
        self, positions: NDArray[np.int64], frame_stats: tuple[Sequence[float], Sequence[float]]
    ) -> tuple[list[float], list[float]]:
        """Normalisation constants, fitted on some samples (the training side) alone.

        Args:
            positions: Samples to fit on. Shape: (M,).
            frame_stats: Mean and standard deviation per RGB channel of the backbone.

        Returns:
            See `normalisation`.
        """
        mean, square = (values[positions].mean(axis=0) for values in self.moments)
        constants = normalisation(self.kind, mean, square, frame_stats)
        flat = [c for c in range(self.kind.channels) if constants[1][c] < 1e-8]
        if flat:
            raise MerError(
                f"Channels {flat} of input `{self.settings.name}` are constant over the "
                "training side: no motion was found. Look at the contact sheet of the store."
            )
        return constants

    def class_weights(self, positions: NDArray[np.int64]) -> list[float]:
        """Balanced weights N / (K n_k) of the classes among some samples; 0 for an absent class."""
        counts = np.bincount(self.labels[positions], minlength=len(self.classes))
        weights = counts.sum() / (len(counts) * np.maximum(counts, 1))
        return np.where(counts > 0, weights, 0.0).tolist()

    @functools.cached_property
    def _ids(self) -> pd.Index:
        return pd.Index(self.table["sample_id"])

    @functools.cached_property
    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and mean square of every sample's channels. Shape: (N, C) each."""
        means, squares = [], []
        for part in np.array_split(np.arange(len(self)), -(-len(self) // PART)):
            images = self.images(part)
            means.append(images.mean(axis=(1, 2), dtype=np.float64))
            squares.append(np.square(images, dtype=np.float64).mean(axis=(1, 2)))
        return np.concatenate(means), np.concatenate(squares)

    def keep(self, cache: Path) -> None:
        """Read the inputs from a file below `cache` from now on, which is written if it is absent.

        Raises:
            MerError: If it cannot be written, or is damaged.
        """
        self.cache = cache
        settings = {
            "input": trust.with_sources(without_cache(self.settings)),
            "stores": [store.key for store in self.stores],
            "rows": hashlib.sha256(self._place.tobytes()).hexdigest(),
        }
        key = make_key("inputs", settings)
        folder = cache / f"{self.settings.name}-{key.digest}"
        self._file = folder / "inputs.npy"
        try:
            with exclusive(folder):
                if not integrity.intact(folder, [self._file.name]):
                    folder.mkdir(exist_ok=True)
                    write_json(key.record, folder / "settings.json")
                    write_whole(self._file, self._write)
                    integrity.write(folder, [self._file.name])
                self._open()
        except OSError as error:
            raise MerError(
                f"The built inputs cannot be written to {cache}: {error}. Mend that, set another "
                "folder with paths.cache, or set input.cache_gb=0."
            ) from error

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        return len(self), self.settings.size, self.settings.size, self.kind.channels

    def _write(self, file: Path) -> None:
        # Plain writing: on a full disk a mapped file would end the process without a word.
        header = {"descr": np.dtype(np.float32).str, "fortran_order": False, "shape": self._shape}
        with file.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for position in range(len(self)):
                self.image(position).tofile(stream)

    def _open(self) -> None:
        if self._file is None:
            return
        self._built = integrity.open_array(self._file, self._shape)
        hold(self._file.parent, self)

    def _check(self) -> None:
        problems = []
        for number, store in enumerate(self.stores):
            here = self.table[self.table["store"] == number]
            names = ", ".join(sorted(here["dataset"].unique()))
            if {"apex", "onset"} & set(self.kind.needs) and store.frames is None:
                problems.append(f"{names}: the store has no pictures; set input=flow")
            if "flow" in self.kind.needs and store.flow is None:
                problems.append(
                    f"{names}: the store has no flow; set prepare.flow.method or input=apex"
                )
            if "landmarks" in self.kind.needs and store.landmarks is None:
                problems.append(f"{names}: the store has no landmarks; set prepare.faces=landmarks")
            if self.kind.needs_onset and not here["has_onset"].all():
                problems.append(
                    f"{names}: samples without a neutral frame (onset_path); set input=apex"
                )
        name = self.settings.name
        raise_all(f"Input `{name}` cannot be built from the prepared samples:", problems)


def normalisation(
    kind: inputs.InputKind,
    mean: NDArray[np.float64],
    square: NDArray[np.float64],
    frame_stats: tuple[Sequence[float], Sequence[float]],
) -> tuple[list[float], list[float]]:
    """Constants that normalise channels of a mean and a mean square.

    Grey-level channels take the backbone's own mean and standard deviation. Signed motion keeps its
    zero and is divided by its root mean square; strain is centred and divided by its spread.

    Args:
        kind: The input.
        mean: Shape: (C,).
        square: Shape: (C,).
        frame_stats: Mean and standard deviation per RGB channel of the backbone.

    Returns:
        Mean and standard deviation per channel, each of length C.
    """
    mean = mean.copy()
    mean[list(kind.signed)] = 0.0
    std = np.sqrt(np.maximum(square - mean**2, 0))
    for place, channel in enumerate(kind.frames):
        mean[channel] = frame_stats[0][place % 3]
        std[channel] = frame_stats[1][place % 3]
    return mean.tolist(), std.tolist()
