"""Processes, called ranks, that train one fold: number, places, messages, starting and ending.

`mer.training.distributed` says what they do.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mer.errors import MerError

#: Seconds after which a process that waits for a lost one, and will not hear of it, is ended.
GRACE = 60.0


@dataclass(frozen=True)
class Place:
    """Which of several ranks a process is.

    Args:
        rank: Its number among all.
        local_rank: Its number on this machine.
        size: Number of ranks on all machines.
        address: Machine of rank 0.
        port: Where the store listens there.
        independent: Whether the processes may as well be runs of their own, as tasks of srun.
    """

    rank: int
    local_rank: int
    size: int
    address: str
    port: int
    independent: bool = False

    def variables(self, per_node: int) -> dict[str, str]:
        """Environment variables that say the same to torch and Lightning.

        Args:
            per_node: Ranks on each machine.
        """
        return {
            "RANK": str(self.rank),
            "LOCAL_RANK": str(self.local_rank),
            "NODE_RANK": str((self.rank - self.local_rank) // per_node),
            "WORLD_SIZE": str(self.size),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }


def outside(env: Mapping[str, str] = os.environ) -> Place | None:
    """Read the place that torchrun or srun has given this process; None if it was started alone."""
    if {"RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= set(env):
        size = int(env.get("WORLD_SIZE", 1))
        place = Place(
            int(env["RANK"]),
            int(env["LOCAL_RANK"]),
            size,
            env["MASTER_ADDR"],
            int(env["MASTER_PORT"]),
        )
        return place if size > 1 else None
    # A batch script has SLURM_NTASKS too; only srun has tasks of a step.
    size = int(env.get("SLURM_STEP_NUM_TASKS", 1))
    if size == 1:
        return None
    from lightning_fabric.plugins.environments import SLURMEnvironment

    local_rank, per_node = int(env["SLURM_LOCALID"]), size // int(env["SLURM_STEP_NUM_NODES"])
    nodes = env["SLURM_STEP_NODELIST"]
    # All tasks of a step must choose the same port, and other steps another.
    choice = 31 * int(env["SLURM_JOB_ID"]) + int(env["SLURM_STEP_ID"])
    return Place(
        int(env["SLURM_NODEID"]) * per_node + local_rank,
        local_rank,
        size,
        env.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(nodes),
        int(env.get("MASTER_PORT") or 15000 + choice % 15000),
        independent=True,
    )


def devices(cfg: DictConfig) -> list[Any]:
    """Devices of this machine that train one fold (`torch.device`), as Lightning counts them.

    Raises:
        MerError: If there are no such devices.
    """
    from pytorch_lightning.accelerators import CPUAccelerator, CUDAAccelerator
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    node = OmegaConf.to_container(cfg.trainer, resolve=True)
    wish, kind = node["devices"], node["accelerator"]
    gpu = kind in ("gpu", "cuda") or (kind == "auto" and CUDAAccelerator.is_available())
    accelerator = CUDAAccelerator if gpu else CPUAccelerator
    count = accelerator.auto_device_count() if wish == "auto" else wish
    try:
        return list(accelerator.get_parallel_devices(accelerator.parse_devices(count)))
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise MerError(f"trainer.devices={wish} on trainer.accelerator={kind}: {error}") from error


def number(cfg: DictConfig) -> int:
    """Number of ranks that a configuration asks for."""
    wish, nodes = cfg.trainer.devices, int(cfg.trainer.get("num_nodes", 1))
    if str(wish) == "1" or cfg.trainer.accelerator not in ("auto", "cpu", "gpu", "cuda"):
        return nodes
    return nodes * len(devices(cfg))


class Child:
    """A rank on this machine that this process has started.

    Args:
        place: Its place.
        folder: Where what it prints goes.
    """

    def __init__(self, place: Place, folder: Path) -> None:
        self.place, self.log = place, folder / f"{place.rank}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mer.training.distributed", str(os.getpid())],
                env={**os.environ, **place.variables(place.size)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches this process, which ends the others
            )

    def last_words(self) -> str:
        """Say how it ended."""
        code, lines = self.process.returncode, self.log.read_text(errors="replace").splitlines()
        how = f"with status {code}" if code > 0 else f"by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += ", as a system does that is out of memory"
        said = "".join(f"\n  {line}" for line in lines[-15:])
        return f"rank {self.place.rank} ended {how}.{said and ' It said last:'}{said}"

    def end(self) -> None:
        """End it, if it has not ended by itself."""
        for stop in (self.process.terminate, self.process.kill):
            if self.process.poll() is None:
                stop()
                try:
                    self.process.wait(3)
                except subprocess.TimeoutExpired:
                    continue


class RunEnded(Exception):
    """Rank 0 has said that nothing more comes."""


class Ranks:
    """All ranks, as one of them sees them.

    Args:
        place: Which of them this process is.
        store: Key-value store that all of them reach, kept by rank 0 or by torchrun.
        children: The ranks that this process has started.
    """

    def __init__(self, place: Place, store: Any, children: Sequence[Child] = ()) -> None:
        self.place, self.store, self.children = place, store, children
        self.count = 0

    def say(self, message: Any) -> None:
        """Tell the other ranks a plain value; None ends what they are doing."""
        self.store.set(f"said/{self.count}", json.dumps(message))
        self.count += 1

    def hear(self) -> Any:
        """Wait, for as long as it takes, for what rank 0 says next.

        Raises:
            RunEnded: If it says that nothing more comes.
        """
        key = f"said/{self.count}"
        while not self.store.check([key]):
            time.sleep(0.02)
        self.count += 1
        message = json.loads(self.store.get(key))
        if message is None:
            raise RunEnded
        return message

    def gather(self, what: str, seconds: float) -> bool:
        """Wait until every other rank has left the mark `what`; say whether all did in time."""
        marks = [f"{what}/{rank}" for rank in range(1, self.place.size)]
        end = time.monotonic() + seconds
        while not self.store.check(marks):
            if failure := self.failure():
                raise MerError(failure)
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def mark(self, what: str) -> None:
        """Leave a mark that rank 0 may gather."""
        self.store.set(f"{what}/{self.place.rank}", "")

    def dismiss(self) -> None:
        """Tell the other ranks that no more runs come, and wait a little until they have heard."""
        self.say(None)
        with contextlib.suppress(MerError):  # the runs are done: what fails now changes nothing
            self.gather("gone", 20)
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(10)

    def report(self, error: BaseException) -> None:
        """Let rank 0 know why this rank fails; the first report counts."""
        text = str(error) if isinstance(error, MerError) else traceback.format_exc().strip()
        self.store.compare_set("failed", "", f"rank {self.place.rank} failed: {text}")

    def failure(self, patience: float = 0.0) -> str | None:
        """Say what has happened to another rank, if anything has, or does within some seconds."""
        end = time.monotonic() + patience
        while True:
            dead = [child for child in self.children if child.process.poll()]
            if killed := [child for child in dead if child.process.returncode < 0]:
                return killed[0].last_words()
            if self.store.check(["failed"]):
                return self.store.get("failed").decode()
            if dead:
                return dead[0].last_words()
            if time.monotonic() > end:
                return None
            time.sleep(0.1)


def watch(ranks: Ranks, over: threading.Event) -> None:
    """End this process when another rank is lost and the training waits for it all the same.

    As a rule the training fails by itself; some transports between GPUs just wait.
    """
    while not over.wait(1):
        if (failure := ranks.failure()) and not over.wait(GRACE):
            print(f"mer: error: {failure}", file=sys.stderr, flush=True)
            os._exit(1)


def end_with(parent: int) -> None:
    """End this process when the one that started it is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
