"""What a benchmark was asked for, and the configuration that each part runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from mer.config.composition import compose

#: Configuration of `--quick`: seconds, to see that all parts run. Its figures mean nothing.
QUICK = ("data.preset=tiny", "backbone=tiny", "input.size=32", "prepare.size=96")


@dataclass(frozen=True)
class Settings:
    """What was asked for.

    Attributes:
        folder: Where corpora, stores and runs of the benchmark lie; kept, so that a second call
            need not make the corpora again.
        quick: Whether to measure next to nothing.
        words: Overrides of the configuration, as for `mer train`.
    """

    folder: Path
    quick: bool = False
    words: Sequence[str] = ()

    def compose(self, *words: str) -> DictConfig:
        """The configuration of a part: its own words, those of `--quick`, then the user's."""
        return compose(
            [
                "data.preset=megc2019",
                f"data.root={self.folder.resolve() / 'corpora'}/${{data.preset}}",
                f"paths.cache={self.folder.resolve() / 'cache'}",
                "trainer.accelerator=cpu",
                "trainer.enable_progress_bar=false",
                "run.dir=unused",
                "logger=none",
                *words,
                *(QUICK if self.quick else ()),
                *self.words,
            ]
        )

    def few(self, full: int, quick: int) -> int:
        """A number of repeats, samples or steps."""
        return quick if self.quick else full
