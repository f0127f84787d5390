"""The ways to train folds on one device, and which of them a run takes."""

from collections.abc import Sequence
from typing import Protocol

from mer.protocols import Fold
from mer.runs.observers import RunContext
from mer.training import fold
from mer.training.engines import frozen, parallel


class Engine(Protocol):
    """Trains folds of one run.

    Attributes:
        width: Folds that it takes at a time.
        trains_networks: Whether a fold takes longer than the start of a process.
    """

    width: int
    trains_networks: bool

    def run_folds(self, folds: Sequence[Fold], announce: bool) -> None:
        """Train some folds and write what `mer.training.fold.run_fold` writes."""


class OneByOne:
    """Trains each fold by Lightning's loop."""

    width = 1
    trains_networks = True

    def __init__(self, run: RunContext) -> None:
        self.run = run

    def run_folds(self, folds: Sequence[Fold], announce: bool) -> None:
        """Train some folds, one after the other."""
        for one in folds:
            fold.run_fold(self.run, one, announce=announce)


def choose(run: RunContext, pending: int) -> Engine:
    """The fastest engine that can train the folds of a run."""
    return frozen.engine(run, pending) or parallel.engine(run, pending) or OneByOne(run)
