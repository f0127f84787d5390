"""A finished run for the audit."""

import shutil
from pathlib import Path

import pytest

from mer.training import runner
from tests.builders import Config


@pytest.fixture(scope="session")
def finished(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with macro weights and validation persons."""
    run_dir = tmp_path_factory.mktemp("audited") / "run"
    runner.run(tiny_config("protocol.validation=0.3", "selection=validation"), run_dir)
    return run_dir


@pytest.fixture
def run_dir(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to tamper with."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
