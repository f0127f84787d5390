"""Pictures of single samples: what they look like, and where the network looked.

Faces are shown only where they may be; motion fields tell no more than the movement.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.config.settings import Input
from mer.data import inputs
from mer.data.dataset import UnifiedDataset
from mer.pages.plots import Picture, heat_over
from mer.prepare.sample import Sample
from mer.prepare.sheet import wheel
from mer.runs.head_columns import SOFTMAX
from mer.runs.pictures import SIDE, choose
from mer.runs.stored_run import Run

SHOWN = 6  # samples of each kind

OVERLAYS = 4  # samples with their activation


def hardest(
    predictions: pd.DataFrame, classes: Sequence[str], heads: Sequence[str], count: int = SHOWN
) -> dict[str, pd.DataFrame]:
    """Choose samples that are worth a look; none is chosen twice.

    Returns:
        `sure`: wrong ones whose predicted class leads by most, by the first head. `hard`: ones that
        no head gets right and whose own class is the least probable to the softmax, or has the
        lowest score of the first head where there is no softmax.
    """
    judge = SOFTMAX if SOFTMAX in heads else heads[0]
    first = choose(predictions, list(classes), len(predictions))
    sure = first[~first[f"{heads[0]}_correct"].astype(bool)].head(count)
    rest = predictions[~predictions["sample_id"].isin(sure["sample_id"])]
    rest = rest[~rest[[f"{head}_correct" for head in heads]].any(axis=1)]
    probable = [row[f"{judge}_{row['label']}"] for _, row in rest.iterrows()]
    hard = rest.assign(probable=probable).sort_values(["probable", "sample_id"]).head(count)
    return {"sure": sure, "hard": hard}


def surest(run: Run) -> pd.DataFrame:
    """The surest right sample of each class, then the surest wrong ones, by the softmax."""
    frame = run.predictions.assign(sure=run.confidence, softmax=run.most_probable)
    ranked = frame.sort_values("sure", ascending=False)
    right = ranked["softmax"] == ranked["label"]
    best = ranked[right].groupby("label", sort=False).head(1)
    return pd.concat([best.head(OVERLAYS - 1), ranked[~right]]).head(OVERLAYS)


def describe(row: pd.Series, heads: Mapping[str, str]) -> str:
    """Say what a sample is and what each head takes it for."""
    emotion = "" if row["emotion"] in (row["label"], None) else f" ({row['emotion']})"
    predicted = "; ".join(f"{title}: {row[head]}" for head, title in heads.items())
    words = f"{row['sample_id']} is {row['label']}{emotion}. {predicted}"
    if SOFTMAX not in heads:
        return words
    probability = row[f"{SOFTMAX}_{row['label']}"]
    return f"{words}; the softmax gives {row['label']} {100 * probability:.0f} %"


class Painter:
    """Draws samples of a run in one scale of motion."""

    def __init__(self, dataset: UnifiedDataset, faces: bool) -> None:
        self.dataset, self.faces = dataset, faces
        self.center = dataset.settings.center
        self.scale = self._scale()

    @property
    def kinds(self) -> list[str]:
        """What the pictures show, from left to right."""
        store = self.dataset.stores[0]
        frames = ["onset", "apex"] if store.index["has_onset"].any() else ["apex"]
        kinds = frames if self.faces and store.frames is not None else []
        return kinds + (["motion", "strain"] if store.flow is not None else [])

    @property
    def hides_faces(self) -> bool:
        """Whether there are faces that may not be shown."""
        return not self.faces and any(store.frames is not None for store in self.dataset.stores)

    @property
    def ground(self) -> str:
        """What an overlay lies on."""
        return "apex" if "apex" in self.kinds else "strain" if self.kinds else "grey"

    def draw(self, sample: str, caption: str) -> Picture | None:
        """Onset, apex, motion and strain of a sample, as far as there are any and may be shown."""
        position = self._position(sample)
        parts = self._frames(position) + self._motion(position)
        gap = np.full((SIDE, 4, 3), 255, np.uint8)
        spaced = [piece for part in parts for piece in (part, gap)][:-1]
        return Picture(np.concatenate(spaced, axis=1), caption, caption) if spaced else None

    def overlay(self, sample: str, maps: NDArray[np.floating], caption: str) -> Picture:
        """A sample's class activation over the apex, or over the motion, or over nothing."""
        position = self._position(sample)
        shown = self._frames(position)[-1:] or self._motion(position)[1:]
        ground = shown[0] if shown else np.full((SIDE, SIDE, 3), 128, np.uint8)
        return Picture(heat_over(ground, maps[position]), f"Activation of {caption}", caption)

    def landmarks(self, position: int) -> tuple[NDArray[np.floating] | None, int]:
        """Landmarks (478, 2) of a sample's onset or apex, None without; side of the crop."""
        store, row = self._stored(position)
        frames = [] if store.landmarks is None else store.landmarks[row]
        return next((np.asarray(f) for f in frames if np.isfinite(f).all()), None), store.size

    def _position(self, sample: str) -> int:
        return int(self.dataset.positions([sample])[0])

    def _stored(self, position: int) -> tuple[Any, int]:
        row = self.dataset.table.iloc[position]
        return self.dataset.stores[int(row["store"])], int(row["row"])

    def _frames(self, position: int) -> list[NDArray[np.uint8]]:
        from PIL import Image

        store, row = self._stored(position)
        if not self.faces or store.frames is None:
            return []
        first = 0 if self.dataset.table["has_onset"].iloc[position] else 1
        return [
            np.asarray(Image.fromarray(np.asarray(frame)).resize((SIDE, SIDE)))
            for frame in store.frames[row][first:]
        ]

    def _flow(self, position: int) -> NDArray[np.float32] | None:
        store, row = self._stored(position)
        if store.flow is None:
            return None
        settings = Input("flow", size=SIDE, center=self.center)
        return inputs.make(settings).build(Sample(flow=store.flow[row]))

    def _motion(self, position: int) -> list[NDArray[np.uint8]]:
        flow = self._flow(position)
        if flow is None:
            return []
        strain = np.clip(flow[..., 2:] / self.scale[1], 0, 1) * 255
        return [
            wheel(flow[..., 0], flow[..., 1], self.scale[0]),
            np.repeat(strain.astype(np.uint8), 3, axis=2),
        ]

    def _scale(self) -> tuple[float, float]:
        """One scale for all pictures, from samples spread over the table."""
        spread = np.linspace(0, len(self.dataset) - 1, min(24, len(self.dataset))).astype(int)
        flows = [flow for position in spread if (flow := self._flow(int(position))) is not None]
        if not flows:
            return 1.0, 1.0
        stack = np.stack(flows)
        length = float(np.quantile(np.hypot(stack[..., 0], stack[..., 1]), 0.98))
        return max(length, 1e-3), max(float(np.quantile(stack[..., 2], 0.98)), 1e-4)
