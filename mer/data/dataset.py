"""UnifiedDataset: samples of every dataset, micro or macro, as the same kind of tensor."""

import logging
import random
from collections.abc import Sequence
from typing import Any

import albumentations as A
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from mer.data import inputs
from mer.errors import MerError, raise_all
from mer.prepare.store import Store

log = logging.getLogger(__name__)


class UnifiedDataset:
    """All samples of a run, micro or macro, and the one way to their inputs.

    Args:
        table: Index table with `label` (class name), `store` (position in `stores`) and `row`
            (position in that store's arrays); its order is the order of the samples.
        stores: Opened prepared stores.
        classes: Class names; a label's number is its place here.
        settings: The `input` node: `name`, `size`, `center`, and `cache_gb`, the memory that built
            inputs may take. Beyond it they are built anew each time.

    Raises:
        MerError: If the input needs pictures or flow that a store does not hold.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        stores: Sequence[Store],
        classes: Sequence[str],
        settings: dict[str, Any],
    ) -> None:
        self.table = table.reset_index(drop=True)
        self.stores, self.classes, self.settings = list(stores), list(classes), dict(settings)
        self.kind = inputs.kind_of(self.settings)
        number = {name: i for i, name in enumerate(self.classes)}
        self.labels = self.table["label"].map(number).to_numpy(dtype=np.int64)
        self._place = self.table[["store", "row"]].to_numpy(dtype=np.int64)
        self._check()
        size = int(self.settings["size"])
        gigabytes = len(self) * size * size * self.kind.channels * 4 / 2**30
        self._cache: NDArray[np.float32] | None = None
        if gigabytes <= float(self.settings.get("cache_gb", 4)):
            self._cache = np.stack([self._build(i) for i in range(len(self))])
        else:
            log.info("%.1f GB of inputs exceed input.cache_gb; they are built as needed", gigabytes)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.table)

    def image(self, position: int) -> NDArray[np.float32]:
        """The input of one sample, not augmented and not normalised. Shape: (S, S, C), float32."""
        return self._build(position) if self._cache is None else self._cache[position]

    def positions(self, sample_ids: Sequence[str]) -> NDArray[np.int64]:
        """Positions of samples in this dataset.

        Raises:
            MerError: If an id is not here.
        """
        place = pd.Index(self.table["sample_id"]).get_indexer(pd.Index(list(sample_ids)))
        unknown = [sample for sample, at in zip(sample_ids, place, strict=True) if at < 0]
        raise_all("Samples that the dataset does not hold:", unknown)
        return place.astype(np.int64)

    def statistics(
        self, positions: NDArray[np.int64], frame_stats: tuple[Sequence[float], Sequence[float]]
    ) -> tuple[list[float], list[float]]:
        """Normalisation constants, fitted on some samples (the training side) alone.

        Grey-level channels take the backbone's own mean and standard deviation. Signed motion keeps
        its zero and is divided by its root mean square; strain is centred and divided by its
        spread.

        Args:
            positions: Samples to fit on. Shape: (M,).
            frame_stats: Mean and standard deviation per RGB channel of the backbone.

        Returns:
            Mean and standard deviation per channel, each of length C.
        """
        total = np.zeros(self.kind.channels)
        squares = np.zeros(self.kind.channels)
        for position in positions:
            image = self.image(int(position)).reshape(-1, self.kind.channels)
            total += image.mean(axis=0, dtype=np.float64)
            squares += np.square(image, dtype=np.float64).mean(axis=0)
        mean, square = total / len(positions), squares / len(positions)
        mean[list(self.kind.signed)] = 0.0
        std = np.sqrt(np.maximum(square - mean**2, 0))
        for place, channel in enumerate(self.kind.frames):
            mean[channel] = frame_stats[0][place % 3]
            std[channel] = frame_stats[1][place % 3]
        flat = [c for c in range(self.kind.channels) if std[c] < 1e-8]
        if flat:
            raise MerError(
                f"Channels {flat} of input `{self.settings['name']}` are constant over the "
                "training side: no motion was found. Look at the contact sheet of the store."
            )
        return mean.tolist(), std.tolist()

    def class_weights(self, positions: NDArray[np.int64]) -> list[float]:
        """Balanced weights N / (K n_k) of the classes among some samples; 0 for an absent class."""
        counts = np.bincount(self.labels[positions], minlength=len(self.classes))
        weights = counts.sum() / (len(counts) * np.maximum(counts, 1))
        return np.where(counts > 0, weights, 0.0).tolist()

    def _build(self, position: int) -> NDArray[np.float32]:
        store_number, row = self._place[position]
        store = self.stores[store_number]
        needs = self.kind.needs
        frames = store.frames[row] if {"apex", "onset"} & set(needs) else (None, None)
        flow = store.flow[row] if "flow" in needs else None
        return inputs.build(self.settings, frames[0], frames[1], flow)

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
            if {"onset", "flow"} & set(self.kind.needs) and not here["has_onset"].all():
                problems.append(f"{names}: samples without a neutral frame; set input=apex")
        name = self.settings["name"]
        raise_all(f"Input `{name}` cannot be built from the prepared samples:", problems)


class FoldView(Dataset[dict[str, Any]]):
    """Some samples of a `UnifiedDataset`, augmented or plain, with labels or sealed.

    Args:
        dataset: All samples.
        positions: Which samples, by position. Shape: (M,).
        transform: Augmentation, or None.
        sealed: Whether labels are withheld; every label then is -1.
    """

    def __init__(
        self,
        dataset: UnifiedDataset,
        positions: NDArray[np.int64],
        transform: A.Compose | None = None,
        sealed: bool = False,
    ) -> None:
        self.dataset, self.positions = dataset, positions
        self.transform, self.sealed = transform, sealed

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.positions)

    def __getitem__(self, item: int) -> dict[str, Any]:
        """One sample: `image` float32 (C, S, S), `label` int (-1 when sealed), `index` int."""
        position = int(self.positions[item])
        image = self.dataset.image(position)
        if self.transform is not None:
            # Torch's generator is seeded per epoch and per loader worker; Albumentations follows
            # it. One state serves all steps: with `set_random_seed` each step would start from the
            # same number, and whether a sample is mirrored would tell its contrast.
            seed = int(torch.randint(2**31, ()))
            self.transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
            image = self.transform(image=image)["image"]
        label = -1 if self.sealed else int(self.dataset.labels[position])
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))
        return {"image": tensor, "label": label, "index": position}
