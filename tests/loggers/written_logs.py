"""What loggers have written of a run, read back from the files of W&B and TensorBoard."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Log(NamedTuple):
    """What one start of a run has written: the records in order, and the summary they add up to."""

    file: Path
    records: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in self.records if record["type"] == kind]

    @property
    def run(self) -> dict[str, Any]:
        return self.of("run")[-1]

    @property
    def history(self) -> list[dict[str, Any]]:
        return [record["item"] for record in self.of("history")]

    @property
    def summary(self) -> dict[str, Any]:
        return {k: v for record in self.of("summary") for k, v in record["update"].items()}

    @property
    def artifacts(self) -> dict[str, dict[str, Any]]:
        return {artifact["name"]: artifact for artifact in self.of("artifact")}

    @property
    def exit_code(self) -> int:
        return self.of("exit")[0].get("exit_code", 0)

    def media(self, key: str) -> dict[str, Any]:
        """The content of a table that was logged."""
        path = next(self.file.parent.glob(f"files/media/table/{key}_*.table.json"))
        return json.loads(path.read_text())


def read_logs(run_dir: Path) -> list[Log]:
    """Read what each start of a run has written, with the reader that comes with W&B.

    It is the program that `wandb leet inspect` starts, which itself would import all of W&B.
    """
    from wandb.util import get_core_path

    command = [get_core_path(), "leet", "inspect", "--json", "--no-observability", "--run-file"]
    logs = []
    for file in sorted(
        run_dir.glob("wandb/offline-run-*/*.wandb"), key=lambda f: f.stat().st_mtime
    ):
        words = [*command, str(file), str(file.parent.parent)]
        lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        logs.append(Log(file, [json.loads(line) for line in lines.splitlines()]))
    return logs


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home directory for W&B, so that the user's is neither read nor written."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "WANDB_DATA_DIR", "WANDB_MODE", "WANDB_BASE_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("WANDB_CACHE_DIR", str(folder / "cache"))
        patch.setenv("WANDB_CONFIG_DIR", str(folder / "config"))
        patch.setenv("NETRC", str(folder / "netrc"))
        yield folder


def events(run_dir: Path) -> "EventAccumulator":  # noqa: F821
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"images": 0}).Reload()


def scalars(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value) as they were written."""
    read = events(run_dir)
    return {
        tag: [(event.step, event.value) for event in read.Scalars(tag)]
        for tag in read.Tags()["scalars"]
    }
