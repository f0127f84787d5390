"""Samples that a network has seen in its training.

Evidence for `mer.runs.evidence`: samples of the loss are known by their positions in the batches;
other inputs that the network gets while it is trained (from a callback, say) by a hash of each.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray


class SeenSamples:
    """Positions of the samples of a training's batches, and hashes of other inputs.

    Attributes:
        inputs: Hashes of the inputs that came while `watch` was on, outside of `named`.
    """

    def __init__(self) -> None:
        self.inputs: set[bytes] = set()
        self._batches: dict[str, list[NDArray[np.int64] | torch.Tensor]] = {}
        self._watching = False

    def add(self, stage: str, batch: Mapping[str, torch.Tensor]) -> None:
        """Remember a batch; samples without a position (`index`) count as -1."""
        index = batch["index"] if "index" in batch else torch.full_like(batch["label"], -1)
        self._batches.setdefault(stage, []).append(index.detach())

    def extend(self, stage: str, positions: NDArray[np.int64]) -> None:
        """Remember the positions of a batch."""
        self._batches.setdefault(stage, []).append(positions)

    def positions(self, stage: str) -> NDArray[np.int64]:
        """Positions of the samples of a stage (train, val), each once. Shape: (M,)."""
        batches = [torch.as_tensor(batch).cpu().numpy() for batch in self._batches.get(stage, [])]
        return np.unique(np.concatenate([np.empty(0, np.int64), *batches]))

    def watch(self, on: bool) -> None:
        """Begin, or cease, to remember inputs."""
        self._watching = on

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Inside, the batches name their samples, so that inputs need not be remembered."""
        before, self._watching = self._watching, False
        try:
            yield
        finally:
            self._watching = before

    def look(self, images: torch.Tensor) -> None:
        """Remember inputs, if they are watched. Shape: (B, C, H, W)."""
        if self._watching:
            self.inputs.update(digests(images))


def digests(images: torch.Tensor) -> list[bytes]:
    """Hash each input. Shape: (B, C, H, W)."""
    arrays = images.detach().cpu().contiguous()
    return [
        hashlib.blake2b(array.view(torch.uint8).numpy().tobytes(), digest_size=16).digest()
        for array in arrays
    ]
