"""Synthetic long videos, written once per test session."""

from pathlib import Path

import pytest
from filelock import FileLock

from mer.synthetic.long_trees import write_long_videos


@pytest.fixture(scope="session")
def long_videos(session_folder: Path) -> Path:
    """Folder with a look-alike of CAS(ME)^2: one person, one video of 20 seconds at 30 fps."""
    out = session_folder / "long"
    with FileLock(session_folder / "long.lock"):
        return write_long_videos(out, "casme_sq", subjects=1, seconds=20.0, seed=3)
