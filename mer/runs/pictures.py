"""Pictures of samples on which a head is sure, rightly and wrongly."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.config.settings import Settings
from mer.data.dataset import UnifiedDataset
from mer.prepare.sheet import wheel
from mer.runs.head_columns import heads

SIDE = 112  # px of one picture


class Example(NamedTuple):
    """A sample as people see it: `picture` (112, 112 n, 3) uint8 RGB, and who and what it is."""

    sample: str
    correct: bool
    caption: str
    picture: NDArray[np.uint8]


def may_be_shown(settings: Settings, dataset: UnifiedDataset, faces: bool) -> bool:
    """Whether pictures of a run may leave its directory."""
    return faces or settings.data.generate or not {"onset", "apex"} & set(dataset.kind.needs)


def examples(dataset: UnifiedDataset, predictions: pd.DataFrame, count: int) -> list[Example]:
    """Draw the surest wrong and right predictions, half of each where there are enough."""
    chosen = choose(predictions, dataset.classes, count)
    positions = dataset.positions(chosen["sample_id"].tolist())
    images = [dataset.image(int(position)) for position in positions]
    scale = _motion(dataset, images)
    head = heads(predictions)[0]
    return [
        Example(
            row["sample_id"],
            bool(row[f"{head}_correct"]),
            f"{row['sample_id']}: {row['label']}, {head} says {row[head]}",
            draw(dataset, image, scale),
        )
        for (_, row), image in zip(chosen.iterrows(), images, strict=True)
    ]


def choose(predictions: pd.DataFrame, classes: list[str], count: int) -> pd.DataFrame:
    """The rows whose best class leads the second best by most: wrong ones first, then right ones.

    Scores of a head need not be probabilities; a lead is what all heads have.
    """
    head = heads(predictions)[0]
    scores = np.sort(predictions[[f"{head}_{name}" for name in classes]].to_numpy(), axis=1)
    order = np.argsort(scores[:, -2] - scores[:, -1], kind="stable")
    ranked = predictions.iloc[order]
    right = ranked[f"{head}_correct"].astype(bool)
    wrong = min(int((~right).sum()), max(count // 2, count - int(right.sum())))
    return pd.concat([ranked[~right].head(wrong), ranked[right].head(count - wrong)])


def draw(
    dataset: UnifiedDataset, image: NDArray[np.float32], scale: tuple[float, float]
) -> NDArray[np.uint8]:
    """Turn the input of a network into pictures side by side.

    Frames are shown as they are, other signed values with grey for 0, flow in the colours of the
    contact sheet (white is still) beside its strain. Three channels of a kind are red, green, blue.

    Args:
        dataset: Knows what the channels are.
        image: Shape: (S, S, C), float32.
        scale: Motion and strain that show at full strength.

    Returns:
        Shape: (112, 112 n, 3), uint8.
    """
    from PIL import Image

    words, shown, first = dataset.kind.words, [], 0
    while first < len(words):
        if words[first] == "u":
            shown.append(wheel(image[..., first], image[..., first + 1], scale[0]))
            first += 2
            continue
        count = 3 if words[first : first + 3] == 3 * (words[first],) else 1
        part: NDArray[Any] = np.broadcast_to(
            image[..., first : first + count], (*image.shape[:2], 3)
        )
        if words[first] == "signed":
            part = (part + 1) / 2
        elif words[first] == "unsigned":
            part = part / scale[1]
        shown.append(_bytes(part))
        first += count
    large = [Image.fromarray(picture).resize((SIDE, SIDE)) for picture in shown]
    return np.concatenate([np.asarray(picture) for picture in large], axis=1)


def _bytes(picture: NDArray[Any]) -> NDArray[np.uint8]:
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)


def _motion(dataset: UnifiedDataset, images: list[NDArray[np.float32]]) -> tuple[float, float]:
    """One scale for all pictures: stretched one by one, noise and a smile would look alike."""
    if not dataset.kind.vectors or not images:
        return 1.0, 1.0
    u, v = dataset.kind.vectors[0]
    stack = np.stack(images)
    length = float(np.quantile(np.hypot(stack[..., u], stack[..., v]), 0.98))
    if dataset.kind.words[v + 1 : v + 2] != ("unsigned",):
        return max(length, 1e-3), 1.0
    return max(length, 1e-3), max(float(np.quantile(stack[..., v + 1], 0.98)), 1e-4)
