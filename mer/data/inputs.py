"""Inputs: what a network sees of a sample, built in one place for every stage.

Training, evaluation, prediction on a video and export all call `make(settings).build(sample)`, so
they cannot disagree. A built-in input and an own one are the same thing: a subclass of
`SampleInput` that says what its channels are and what it reads.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from mer.config import trust
from mer.config.settings import Input
from mer.errors import MerError, raise_all
from mer.prepare.sample import Sample

#: What a channel may be. Augmentation and normalisation follow from it.
#:
#: ======== ===================================================================================
#: frame    grey level in [0, 1]; normalised as the backbone expects; frames come first
#: u        motion to the right in pixels of the input; its v is the next channel
#: v        motion downwards
#: signed   any other value whose 0 means nothing, such as a difference; keeps its zero
#: unsigned any other value, such as a strain; centred when it is normalised
#: ======== ===================================================================================
CHANNELS = ("frame", "u", "v", "signed", "unsigned")

#: Arrays of a prepared sample that an input may read.
ARRAYS = ("onset", "apex", "flow", "landmarks")


#: Least root mean square by which a sample is divided: one without any motion stays at zero.
STILL = 1e-6


@dataclass(frozen=True)
class InputKind:
    """The channels of an input, by position, and the arrays that it reads.

    Args:
        words: One of `CHANNELS` for each channel.
        needs: Some of `ARRAYS`.
    """

    words: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return len(self.words)

    @property
    def frames(self) -> tuple[int, ...]:
        """Channels that hold grey levels."""
        return tuple(i for i, word in enumerate(self.words) if word == "frame")

    @property
    def signed(self) -> tuple[int, ...]:
        """Channels whose sign means a direction (mean 0 by nature)."""
        return tuple(i for i, word in enumerate(self.words) if word in ("u", "v", "signed"))

    @property
    def vectors(self) -> tuple[tuple[int, int], ...]:
        """Pairs of channels that hold u and v of a flow field."""
        return tuple((i, i + 1) for i, word in enumerate(self.words) if word == "u")

    @property
    def needs_onset(self) -> bool:
        """Whether a sample without a picture of the onset has no such input."""
        return not {"onset", "flow"}.isdisjoint(self.needs)

    def problems(self) -> list[str]:
        """Everything that contradicts the rules of `CHANNELS` and `ARRAYS`."""
        unknown = sorted({*self.words} - {*CHANNELS})
        found = [f"a channel is `{word}`; it may be {', '.join(CHANNELS)}" for word in unknown]
        if not self.words:
            found.append("`channels` is empty; name what each channel is")
        found += [
            f"`needs` has `{name}`; it may have {', '.join(ARRAYS)}"
            for name in self.needs
            if name not in ARRAYS
        ]
        if self.frames != tuple(range(len(self.frames))):
            found.append("frames must be the first channels")
        pairs = [self.words[u : u + 2] for u, _ in self.vectors]
        if any(pair != ("u", "v") for pair in pairs) or self.words.count("v") != len(pairs):
            found.append("each u must be followed by its v")
        return found


@dataclass(frozen=True)
class SampleInput(ABC):
    """Builds the network's input of a sample, before augmentation and normalisation.

    A subclass sets `channels` and `needs` and defines `draw`. A further option, such as a
    threshold, is a field of a subclass that is a dataclass too; `input.kwargs` gives its value.

    Args:
        size: Side S of the input in pixels.
        center: median or none: whether the median motion of the face, which is head motion, is
            taken out of u and v.
        scale: none, joint or channel: whether each sample's motion is divided by its own root mean
            square, that of u and v together or each by its own. Every other channel but frames is
            divided by its own, after its median was taken out if `center` says so.
        blur: Standard deviation of a Gaussian blur of all channels but frames, in pixels.
    """

    size: int
    center: str = "none"
    scale: str = "none"
    blur: float = 0.0

    channels: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def draw(self, sample: Sample) -> NDArray[np.floating]:
        """Compute the channels.

        Args:
            sample: Holds the arrays that `needs` names, for `onset`, `apex` and `flow` below;
                `sample.landmarks` (2, 478, 2) are x and y in pixels of the stored crop, of the
                onset and the apex.

        Returns:
            Shape: (S, S, C).
        """

    @property
    def kind(self) -> InputKind:
        """What the channels are."""
        return InputKind(tuple(self.channels), tuple(self.needs))

    def build(self, sample: Sample) -> NDArray[np.float32]:
        """Compute the channels and check them.

        Returns:
            Shape: (S, S, C), float32. Frames in [0, 1], u and v in pixels of the S x S input.

        Raises:
            MerError: If the sample lacks an array, or the result has another shape.
        """
        arrays = {"landmarks": sample.landmarks, "flow": sample.flow}
        missing = [name for name in self.needs if arrays.get(name, sample.frames) is None]
        if missing:
            raise MerError(
                f"Input `{type(self).__name__}` needs {', '.join(missing)} of every sample, and "
                "one has none. Set another input, or prepare.flow.method if it is the flow."
            )
        image = np.ascontiguousarray(self.draw(sample), dtype=np.float32)
        expected = (self.size, self.size, len(self.channels))
        if image.shape != expected:
            raise MerError(
                f"Input `{type(self).__name__}` gave an array of {image.shape}, expected "
                f"{expected}: input.size twice, then a value for each of its channels."
            )
        return self._finish(image)

    def onset(self, sample: Sample) -> NDArray[np.float32]:
        """The onset picture, grey levels 0 to 255. Shape: (S, S, 3)."""
        return self.resize(_given(sample.frames)[0])

    def apex(self, sample: Sample) -> NDArray[np.float32]:
        """The apex picture, grey levels 0 to 255. Shape: (S, S, 3)."""
        return self.resize(_given(sample.frames)[1])

    def flow(self, sample: Sample) -> NDArray[np.float32]:
        """Flow in pixels of the input (u, v) and strain, which has no unit. Shape: (S, S, 3)."""
        flow = np.asarray(_given(sample.flow), dtype=np.float32)
        resized = self.resize(np.moveaxis(flow, 0, 2))
        resized[..., :2] *= self.size / flow.shape[-1]
        if self.center == "median":
            resized[..., :2] -= np.median(resized[..., :2], axis=(0, 1))
        return resized

    def _finish(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale and blur the channels that are no frames, as `scale` and `blur` say."""
        if self.scale == "none" and not self.blur:
            return image
        kind, image = self.kind, image.copy()
        motion = image[..., len(kind.frames) :]  # a view; frames come first
        if self.scale != "none":
            for place, word in enumerate(kind.words[len(kind.frames) :]):
                if word == "unsigned" and self.center == "median":
                    motion[..., place] -= np.median(motion[..., place])
            square = np.square(motion, dtype=np.float64).mean(axis=(0, 1))
            if self.scale == "joint":
                for u, v in kind.vectors:
                    pair = [u - len(kind.frames), v - len(kind.frames)]
                    square[pair] = square[pair].mean()
            motion /= np.maximum(np.sqrt(square), STILL).astype(np.float32)
        if self.blur:
            smooth = cv2.GaussianBlur(motion, (0, 0), self.blur, borderType=cv2.BORDER_REFLECT_101)
            motion[...] = smooth.reshape(motion.shape)
        return image

    def resize(self, picture: NDArray[Any]) -> NDArray[np.float32]:
        """Resize (H, W, C) to (S, S, C) in float32, averaging when it shrinks."""
        picture = np.asarray(picture, dtype=np.float32)
        if picture.shape[:2] == (self.size, self.size):
            return picture
        shrinks = picture.shape[0] > self.size
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, (self.size, self.size), interpolation=method))


def _given(array: NDArray[Any] | None) -> NDArray[Any]:
    if array is None:
        raise MerError("an input reads an array that its `needs` does not name")
    return array


class Apex(SampleInput):
    """The apex picture, RGB."""

    channels = ("frame",) * 3
    needs = ("apex",)

    def draw(self, sample: Sample) -> NDArray[np.floating]:
        """See `SampleInput`."""
        return self.apex(sample) / 255


class OnsetApex(SampleInput):
    """Onset and apex picture, six channels."""

    channels = ("frame",) * 6
    needs = ("onset", "apex")

    def draw(self, sample: Sample) -> NDArray[np.floating]:
        """See `SampleInput`."""
        return np.concatenate([self.onset(sample), self.apex(sample)], axis=2) / 255


class Difference(SampleInput):
    """Apex minus onset, RGB, in [-1, 1]."""

    channels = ("signed",) * 3
    needs = ("onset", "apex")

    def draw(self, sample: Sample) -> NDArray[np.floating]:
        """See `SampleInput`."""
        return (self.apex(sample) - self.onset(sample)) / 255


class Flow(SampleInput):
    """Optical flow from onset to apex: u, v, strain."""

    channels = ("u", "v", "unsigned")
    needs = ("flow",)

    def draw(self, sample: Sample) -> NDArray[np.floating]:
        """See `SampleInput`."""
        return self.flow(sample)


class ApexFlow(SampleInput):
    """The apex picture and the flow from onset to apex, six channels."""

    channels = ("frame",) * 3 + ("u", "v", "unsigned")
    needs = ("apex", "flow")

    def draw(self, sample: Sample) -> NDArray[np.floating]:
        """See `SampleInput`."""
        return np.concatenate([self.apex(sample) / 255, self.flow(sample)], axis=2)


INPUTS: dict[str, type[SampleInput]] = {
    "apex": Apex,
    "onset_apex": OnsetApex,
    "difference": Difference,
    "flow": Flow,
    "apex_flow": ApexFlow,
}


def make(settings: Input) -> SampleInput:
    """Make the input that settings name, a built-in one or an own class.

    Raises:
        MerError: If there is no such input, or it breaks the contract of `SampleInput`.
    """
    if settings.target is None:
        if settings.name not in INPUTS:
            known = ", ".join(INPUTS)
            raise MerError(
                f"Unknown input.name `{settings.name}`. Set one of: {known}; or input._target_ to "
                "a class of your own."
            )
        if settings.kwargs:
            raise MerError("input.kwargs are options of a class of your own; set input._target_")
        kind = INPUTS[settings.name]
        if (settings.scale != "none" or settings.blur) and not {*kind.channels} - {"frame"}:
            raise MerError(
                f"input.scale and input.blur change motion, and input={settings.name} has none; "
                "set input.scale=none input.blur=0"
            )
        return kind(settings.size, settings.center, settings.scale, settings.blur)
    kind = trust.resolve(settings.target, "input")
    if not (isinstance(kind, type) and issubclass(kind, SampleInput)):
        raise MerError(
            f"input._target_={settings.target} is no subclass of mer.data.inputs.SampleInput"
        )
    options = {
        "size": settings.size,
        "center": settings.center,
        "scale": settings.scale,
        "blur": settings.blur,
        **settings.kwargs,
    }
    made = trust.call(kind, "input", settings.target, options)
    assert isinstance(made, SampleInput)
    raise_all(f"input._target_={settings.target} cannot be used:", made.kind.problems())
    return made
