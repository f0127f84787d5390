"""Shared fixtures: the `tiny` synthetic corpora, generated and prepared once per test session."""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from omegaconf import DictConfig

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # two test processes share the cores
gc.set_threshold(20_000, 10, 10)  # every 700 objects, it took a tenth of the tests' time


def pytest_sessionfinish() -> None:
    """Keep pytest and Python from looking for garbage among a million objects as they end."""
    gc.freeze()


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all parallel test processes of the session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


@pytest.fixture(scope="session", autouse=True)
def state_folder(session_folder: Path) -> None:
    """Keep the secret that marks one's own runs out of the home folder."""
    os.environ["XDG_STATE_HOME"] = str(session_folder / "state")


@pytest.fixture(scope="session", autouse=True)
def quick_composition() -> Iterator[None]:
    """Compose configurations as always, but each choice of files once."""
    from tests.composed import once_per_choice

    with pytest.MonkeyPatch.context() as patch:
        once_per_choice(patch)
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: small networks gain nothing from more; tests share the cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out of pages what takes most of their time: figures."""
    from mer.pages.plots import Plot

    monkeypatch.setattr(Plot, "source", "data:image/svg+xml;base64,")


@pytest.fixture(scope="session")
def tiny_corpora(session_folder: Path) -> Iterator[Path]:
    """Folder with the six synthetic datasets of preset `tiny`; each is read once per process.

    A run on them measures its network once: tests that run beside it would let it try in vain for
    a quiet machine. A contact sheet shows two samples.
    """
    from mer import datasets
    from mer.datasets.index import Reading
    from mer.models import cost
    from mer.prepare import sheet
    from mer.synthetic import generate

    root = session_folder / "tiny"
    with FileLock(session_folder / "tiny.lock"):
        generate("tiny", root, seed=0, workers=1)
    read, known = datasets.read, {}

    def read_once(reader: Any, folder: Any, /, **options: Any) -> Any:
        key = (reader, str(folder), repr(options))
        if "persons" in options or Path(folder).parent != root or not isinstance(reader, str):
            return read(reader, folder, **options)
        if key not in known:
            known[key] = read(reader, folder, **options)
        return Reading(known[key].table.copy(), list(known[key].remarks))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "read", read_once)
        patch.setattr(cost, "ATTEMPTS", 1)
        patch.setattr(cost, "LEAST_SECONDS", 0.0)
        patch.setattr(sheet, "draw", partial(sheet.draw, count=2))
        yield root


@pytest.fixture(scope="session")
def tiny_words(tiny_corpora: Path, session_folder: Path) -> list[str]:
    """Overrides for a run of seconds on the tiny corpora."""
    return [
        "data.preset=tiny",
        f"data.root={tiny_corpora}",
        f"paths.cache={session_folder / 'cache'}",
        "backbone=tiny",
        "input.size=32",
        "prepare.size=96",
        "protocol=group_kfold",
        "trainer.accelerator=cpu",
        "trainer.folds_at_once=1",
        "prepare.workers=1",
    ]


@pytest.fixture(scope="session")
def tiny_config(tiny_words: list[str]) -> Callable[..., DictConfig]:
    """Compose a run of seconds on the tiny corpora; further overrides as arguments."""
    from mer.config.composition import compose

    def make(*overrides: str) -> DictConfig:
        return compose(
            [
                *tiny_words,
                "protocol.n_splits=3",
                "model.epochs=2",
                "macro.epochs=2",
                "model.transfer.blocks=all",
                "trainer.enable_progress_bar=false",
                "run.dir=unused",
                *overrides,
            ]
        )

    return make


@pytest.fixture(scope="session")
def tiny_stores(tiny_config: Callable[..., DictConfig]) -> list[Path]:
    """Folders of the prepared stores of the tiny corpora."""
    from mer.config.composition import typed
    from mer.data import sources

    settings = typed(tiny_config())
    stores = [sources.load(settings, role).stores for role in ("micro", "macro")]
    return [store.path for of_role in stores for store in of_role]


@pytest.fixture(scope="session")
def own_cache(tiny_stores: list[Path]) -> Callable[[Path], str]:
    """Make a cache that has nothing but the prepared stores; gives the override that names it."""

    def make(folder: Path) -> str:
        for store in tiny_stores:
            shutil.copytree(store, folder / "prepared" / store.name)
        return f"paths.cache={folder}"

    return make
