"""Synthetic motion as a network's input: its layouts, its classes, and samples by number."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mer.config.settings import Motion, Settings
from mer.data import inputs
from mer.data.dataset import normalisation
from mer.datasets.labels import load_scheme
from mer.errors import MerError, raise_all
from mer.prepare.faces import FACE_BOTTOM, FACE_TOP
from mer.prepare.sample import Sample
from mer.synthetic.motion_draws import Combinations, combinations
from mer.synthetic.motion_fields import BLOCK, Fields, MotionFields
from mer.synthetic.motion_layout import MEGC2019, Layout
from mer.synthetic.unit_motion import COMBINATIONS

#: Name of the dataset in label schemes.
NAME = "synthetic_motion"
#: Samples whose mean and spread normalise the input.
MEASURED = 2048

Batch = dict[str, torch.Tensor]


def motion_of(settings: Settings) -> Motion:
    """Return the settings `macro.motion` of a run that has them."""
    assert settings.macro.motion is not None
    return settings.macro.motion


def layouts_of(settings: Settings) -> list[Layout]:
    """How faces lie in the samples that a run will see; blocks of samples take turns."""
    chosen = motion_of(settings).layout
    if chosen == "auto":
        micro = [node or {} for node in settings.data.micro.values()]
        published = bool(micro) and all(node.get("array_kind") == "flow" for node in micro)
        chosen = "megc2019" if published else "aligned"
    layouts = {"aligned": [_aligned(settings)], "megc2019": [MEGC2019]}
    layouts["both"] = layouts["aligned"] + layouts["megc2019"]
    return layouts[chosen]


def _aligned(settings: Settings) -> Layout:
    """Give the layout of mer's own crops, as it follows from the canonical face.

    The spreads are those of the landmarks of neutral faces after alignment.
    """
    side = (FACE_BOTTOM - FACE_TOP) * (1 + 2 * settings.prepare.margin)
    return Layout(
        width=side,
        height=side,
        middle=(FACE_TOP + FACE_BOTTOM) / 2,
        scale=(0.04, 0.045),
        shift=(0.015, 0.02),
        angle=0.02,
        head=0.3 if settings.prepare.flow.stabilise else 1.0,
        masked=settings.prepare.flow.face_only,
    )


def shown_by(settings: Settings) -> Combinations:
    """Which units show the classes of `macro.labels`, and how often.

    Raises:
        MerError: If a class has no emotion of synthetic motion, or `macro.motion.shares` names
            other classes.
    """
    scheme, shares = load_scheme(settings.macro.labels), motion_of(settings).shares
    classes = scheme["classes"]
    of_emotion = scheme["map"].get(NAME, {name: name for name in classes})
    number = {
        emotion: classes.index(name)
        for emotion, name in of_emotion.items()
        if emotion in COMBINATIONS
    }
    without = [name for place, name in enumerate(classes) if place not in number.values()]
    problems = [
        f"no emotion of synthetic motion has the class {name} of macro.labels={scheme['name']}; "
        f"choose a scheme (macro/labels=...) that maps {', '.join(COMBINATIONS)} to its classes"
        for name in without
    ]
    if shares is not None and set(shares) != set(classes):
        problems.append(
            f"macro.motion.shares names {', '.join(shares)}; the classes are {', '.join(classes)}"
        )
    raise_all("macro.motion cannot be used:", problems)
    return combinations(number, {k: (shares or {}).get(c, 1.0) for k, c in enumerate(classes)})


class MotionSamples:
    """Synthetic motion of one seed as inputs of a network.

    Args:
        settings: Settings of the run.
        seed: Seed of the samples.
        free: Share of samples without a class; None for that of the settings.

    Attributes:
        classes: Names of the K classes.
        shares: How often each is shown. Shape: (K,).
        kind: What the channels are.
        gain: Factor on each channel. Shape: (C,).
    """

    def __init__(self, settings: Settings, seed: int, free: float | None = None) -> None:
        self.input = inputs.make(settings.input)
        self.kind = self.input.kind
        self.classes = load_scheme(settings.macro.labels)["classes"]
        shown, free = shown_by(settings), motion_of(settings).free if free is None else free
        self.shares = np.bincount(shown.classes, shown.shares)
        self.fields = [
            MotionFields(seed, layout.pixels or settings.input.size, layout, shown, free)
            for layout in layouts_of(settings)
        ]
        self.gain = np.ones(self.kind.channels, np.float32)

    def take(self, start: int, count: int) -> Batch:
        """Return samples from number `start` on.

        Returns:
            `image` float32 (B, C, S, S), `label` int64 (B,), -1 for none, `units` float32
            (B, 2 U), `index` int64 (B,), -1: no sample of a dataset.
        """
        parts = list(self._parts(start, count))
        images = [self.input.build(Sample(flow=flow)) for part in parts for flow in part.flow]
        classes, units = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("classes", "units")
        )
        return {
            "image": torch.from_numpy(np.stack(images) * self.gain).permute(0, 3, 1, 2),
            "label": torch.from_numpy(classes),
            "units": torch.from_numpy(units.reshape(count, -1)),
            "index": torch.full((count,), -1),
        }

    def _parts(self, start: int, count: int) -> Iterator[Fields]:
        """Fields of samples block by block, since the layouts take turns."""
        while count:
            turn, size = start // BLOCK % len(self.fields), min(count, BLOCK - start % BLOCK)
            yield self.fields[turn].take(start, size)
            start, count = start + size, count - size

    def statistics(
        self, positions: NDArray[np.int64], frame_stats: tuple[Sequence[float], Sequence[float]]
    ) -> tuple[list[float], list[float]]:
        """Constants of the first samples, see `normalisation`; `positions` say nothing."""
        return normalisation(self.kind, *self.moments(), frame_stats)

    def class_weights(self, positions: NDArray[np.int64]) -> list[float]:
        """Balanced weights 1 / (K share) of the classes; `positions` say nothing."""
        weights: list[float] = (1 / (len(self.shares) * self.shares)).tolist()
        return weights

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and mean square of each channel over the first samples. Shape: (C,) each."""
        images = self.take(0, MEASURED)["image"].double()
        return images.mean((0, 2, 3)).numpy(), images.square().mean((0, 2, 3)).numpy()

    def match(self, square: NDArray[np.float64]) -> None:
        """Make motion as strong as that of other samples; u and v keep their proportion.

        Args:
            square: Their mean square per channel. Shape: (C,).
        """
        self.gain[:] = 1
        gain = square / self.moments()[1]
        for pair in map(list, self.kind.vectors):
            gain[pair] = gain[pair].mean()
        self.gain = np.sqrt(gain).astype(np.float32)


def problems(settings: Settings) -> list[str]:
    """Find what contradicts `macro.motion` in a configuration."""
    found = []
    try:
        needs = set(inputs.make(settings.input).needs)
        if needs != {"flow"}:
            found.append(
                f"macro.motion makes flow alone, and input={settings.input.name} reads "
                f"{', '.join(sorted(needs))}; set input=flow, or choose macro=default"
            )
        shown_by(settings)
    except MerError as error:
        found.append(str(error))
    if settings.macro.devices > 1:
        found.append("macro.motion trains on one device; set macro.devices=1")
    return found
