"""What a run ran on: versions, revision, machine, seed, data hash."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from mer import __version__
from mer.config.settings import Settings
from mer.files import write_json
from mer.runs import run_files

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "timm",
    "scikit-learn",
    "numpy",
    "pandas",
    "albumentations",
    "mediapipe",
    "hydra-core",
)


def describe() -> dict[str, Any]:
    """Versions, git revision of a checkout and the machine, as plain values."""
    import cv2
    import torch

    # Several packages bring OpenCV: only cv2 knows which of them is imported.
    versions: dict[str, str | None] = {"opencv": cv2.__version__}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    cuda = torch.cuda.is_available()
    return {
        "mer": __version__,
        "git": git_revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if cuda else "cpu",
        "packages": versions,
    }


def git_revision() -> str | None:
    """Revision of the checkout that this package runs from, with `-dirty` when it was changed."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def write(run_dir: Path, settings: Settings, data_hash: str) -> None:
    """Write `environment.json`; a continued run adds an entry, it does not replace one."""
    path = run_dir / "environment.json"
    entry = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": settings.seed,
        "data_hash": data_hash,
        "distinct": settings.data.distinct,
        **describe(),
    }
    with FileLock(run_dir / ".lock"):
        entries = run_files.read_json(path, list) if path.exists() else []
        write_json([*entries, entry], path)
