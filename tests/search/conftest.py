"""Fixtures of searches from the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from mer.cli import main, train

Toy = Callable[[DictConfig], object]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "search"


@pytest.fixture
def search(
    home: Path, tiny_words: list[str], monkeypatch: pytest.MonkeyPatch, no_figures: None
) -> Callable[..., int]:
    """Run a search with a formula in place of training; returns the exit status."""

    def run(toy: Toy, *words: str, name: str = "optuna") -> int:
        monkeypatch.setattr(train, "train", lambda cfg, *_: toy(cfg))
        return main(["train", "-m", f"search={name}", f"search.dir={home}", *tiny_words, *words])

    return run
