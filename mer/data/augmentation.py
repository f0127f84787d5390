"""Augmentation of whole batches that keeps a sample true: one draw for all its frames.

A flow field holds vectors, which turn, stretch and mirror with the picture: under a map with
Jacobian J the vector (u, v) becomes J (u, v). Every step acts on a whole batch, on any device.
"""

import functools
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mer.config import trust
from mer.data.inputs import InputKind
from mer.errors import MerError
from mer.randomness import generator

#: Values of the noise table; a sample's noise is a window of it.
TABLE = 2**20

#: What is drawn for a sample, in the order of the columns.
PARAMETERS = ("mirror", "shift_x", "shift_y", "scale", "angle", "gain", "offset", "window")


class Augmentation:
    """Mirror, move, turn, stretch, and change tone and noise of batches of samples.

    Noise is not drawn per sample but taken from one table of normal numbers, at a place that is
    drawn (Salimans et al. 2017, arXiv:1703.03864, section 2.1, share noise in this way).

    Args:
        settings: The `augment` node: `flip` (probability), `shift` (share of the side), `scale`
            (relative change of size), `rotate` (degrees), `gain` (relative change of contrast and
            of the strength of motion), `offset` (of brightness, on the scale 0 to 1), `noise`
            (standard deviation, relative to 1 for frames and to the spread of the channel for
            motion), and `transforms`, a list of Albumentations transforms that act on the samples
            one by one before all that.
        kind: The input whose channels are changed.
    """

    def __init__(self, settings: Mapping[str, Any], kind: InputKind) -> None:
        self.settings, self.kind = dict(settings), kind
        # In every input the frames come first.
        self.frames = slice(0, len(kind.frames))
        self.motion = slice(len(kind.frames), kind.channels)
        self.before = _compose(self.settings.get("transforms") or [])
        self._table: torch.Tensor | None = None

    def draw(self, names: Sequence[tuple[object, ...]]) -> torch.Tensor:
        """Draw the parameters of some samples.

        Args:
            names: Names of each draw, e.g. (seed, sample, epoch).

        Returns:
            Columns as in `PARAMETERS`: 1 or -1, shifts as shares of the side, factor, radians,
            factor, offset, place in the noise table. Shape: (B, 8), float32.
        """
        s = self.settings
        unit = np.stack([generator(*name).random(len(PARAMETERS)) for name in names])
        mirror, window = unit[:, 0], unit[:, 7]
        spread = 2 * unit - 1
        columns = [
            np.where(mirror < s["flip"], -1.0, 1.0),
            s["shift"] * spread[:, 1],
            s["shift"] * spread[:, 2],
            1 + s["scale"] * spread[:, 3],
            np.deg2rad(s["rotate"]) * spread[:, 4],
            1 + s["gain"] * spread[:, 5],
            s["offset"] * spread[:, 6],
            np.floor(window * TABLE),
        ]
        return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))

    def one_by_one(
        self, images: NDArray[np.float32], names: Sequence[tuple[object, ...]]
    ) -> NDArray[np.float32]:
        """Carry out the Albumentations transforms, if there are any. (B, S, S, C), float32."""
        if self.before is None:
            return images
        changed = []
        for image, name in zip(images, names, strict=True):
            seed = int(generator("transforms", *name).integers(2**31))
            # One state for all steps: with `set_random_seed` each would start from the same number.
            self.before.set_random_state(np.random.default_rng(seed), random.Random(seed))
            changed.append(self.before(image=image)["image"])
        return np.stack(changed).astype(np.float32)

    def __call__(self, images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Change a batch.

        Args:
            images: Shape: (B, C, S, S), float32.
            parameters: Parameters of `draw`, on the same device. Shape: (B, 8).

        Returns:
            Shape: (B, C, S, S), float32.
        """
        mirror, x, y, scale, angle, gain, offset, window = parameters.unbind(1)
        s = self.settings
        if s["flip"] or s["shift"] or s["scale"] or s["rotate"]:
            images = self._move(images, _matrices(mirror, scale, angle), torch.stack([x, y], 1))
        if s["gain"] or s["offset"] or s["noise"]:
            images = self._tone(images, gain, offset, window)
        return images

    def _move(
        self, images: torch.Tensor, matrix: torch.Tensor, shift: torch.Tensor
    ) -> torch.Tensor:
        """Move pictures by p -> A p + t about their centre, and their vectors by A."""
        a, b, c, d = matrix.view(-1, 4, 1, 1).unbind(1)
        determinant = a * d - b * c
        # Places in the sampler's coordinates, in which a picture is 2 wide.
        side = images.shape[2]
        axis = (2 * torch.arange(side, device=images.device) + 1) / side - 1
        x = axis.view(1, 1, -1) - 2 * shift[:, 0].view(-1, 1, 1)
        y = axis.view(1, -1, 1) - 2 * shift[:, 1].view(-1, 1, 1)
        places = (d * x - b * y) / determinant, (a * y - c * x) / determinant
        grid = torch.stack(places, dim=3)
        # Grey levels go on beyond the edge; there is no motion there.
        parts = [
            functional.grid_sample(images[:, channels], grid, padding_mode=how, align_corners=False)
            for channels, how in ((self.frames, "border"), (self.motion, "zeros"))
            if channels.stop > channels.start
        ]
        moved = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        for u, v in self.kind.vectors:
            turned = a * moved[:, u] + b * moved[:, v], c * moved[:, u] + d * moved[:, v]
            moved[:, u], moved[:, v] = turned
        return moved

    def _tone(
        self, images: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor, window: torch.Tensor
    ) -> torch.Tensor:
        images = images * gain.view(-1, 1, 1, 1)
        # Contrast turns about middle grey, so that a bright picture does not become white.
        images[:, self.frames] += (offset + 0.5 * (1 - gain)).view(-1, 1, 1, 1)
        if self.settings["noise"]:
            motion = images[:, self.motion]
            variance = motion.square().mean((2, 3)) - motion.mean((2, 3)).square()
            strength = torch.ones_like(images[:, :, 0, 0])
            strength[:, self.motion] = variance.clamp(min=0).sqrt()
            strength = (self.settings["noise"] * strength)[:, :, None, None]
            images.addcmul_(strength, self._noise(images, window))
        images[:, self.frames].clamp_(0, 1)
        return images

    def _noise(self, images: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
        """Windows of the table, which goes on at its start behind its end."""
        length = images[0].numel()
        if self._table is None or self._table.device != images.device:
            self._table = _noise_table(1 + -(-length // TABLE)).to(images.device)
        windows = self._table.unfold(0, length, 1)[window.long()]
        return windows.view_as(images)


@functools.cache
def _noise_table(rounds: int) -> torch.Tensor:
    """Draw `TABLE` normal numbers, and put them in a row so many times."""
    numbers = generator("noise table").standard_normal(TABLE, dtype=np.float32)
    return torch.from_numpy(np.tile(numbers, rounds))


def _matrices(mirror: torch.Tensor, scale: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Mirror left to right, stretch, then turn clockwise as seen on screen. Shape: (B, 2, 2)."""
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    rows = torch.stack([cosine * mirror, -sine, sine * mirror, cosine], dim=1)
    return rows.view(-1, 2, 2)


def _compose(nodes: Sequence[Mapping[str, Any]]) -> Any:
    """Albumentations' pipeline of some nodes; None for none, without its import of two seconds."""
    if not nodes:
        return None
    try:
        import albumentations
    except ImportError as error:
        raise MerError(
            f"augment.transforms needs albumentations ({error}): pip install 'mer[augment]'"
        ) from error
    key = "augment.transforms"
    return albumentations.Compose([trust.build(node, key, nested=True) for node in nodes])


def augmentation(settings: Mapping[str, Any] | None, kind: InputKind) -> Augmentation | None:
    """The augmentation of an `augment` node; None switches it off."""
    return None if settings is None else Augmentation(settings, kind)
