"""Training one fold on several devices: one process, called rank, per device.

Rank 0 runs Hydra, decides and writes; the others get from it the resolved configuration and then
the name of each fold, and only take part in the trainings. They are started here, for one run at a
time: Lightning would start them with this process's command line, in a multirun the whole multirun
again. Or torchrun or srun has started them, as is needed on several nodes, and they follow rank 0
until it ends.

What rank 0 says goes through a key-value store, tensors through the process group.
"""

import contextlib
import functools
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mer.errors import MerError, raise_all
from mer.training.ranks import (
    Child,
    Place,
    Ranks,
    RunEnded,
    devices,
    end_with,
    number,
    outside,
    watch,
)

#: Seconds that the ranks have to find each other.
MEETING = 600.0

#: The ranks of the run that this process takes part in; None when it trains alone.
_active: Ranks | None = None


def rank() -> int:
    """Number of this process among those that train together; 0 decides and writes."""
    return 0 if _active is None else _active.place.rank


def size() -> int:
    """Number of processes that train together."""
    return 1 if _active is None else _active.place.size


def share(value: Any = None) -> Any:
    """Give rank 0's value, plain and not None, on every rank.

    Raises:
        RunEnded: On the other ranks, if rank 0 ends the run instead.
        MerError: On rank 0, if another rank has failed.
    """
    if _active is None:
        return value
    if _active.place.rank:
        return _active.hear()
    if failure := _active.failure():
        raise MerError(failure)
    _active.say(value)
    return value


def own_device(cfg: DictConfig) -> Any:
    """The device (`torch.device`) of this rank."""
    return devices(cfg)[0 if _active is None else _active.place.local_rank]


def check(cfg: DictConfig) -> None:
    """Refuse what cannot work, and meet the ranks that were started from outside.

    Raises:
        MerError: With every key that must change.
    """
    wanted, place = number(cfg), outside()
    nodes, strategy = int(cfg.trainer.get("num_nodes", 1)), str(cfg.trainer.strategy)
    problems = []
    if any(word in strategy for word in ("spawn", "fork", "notebook")):
        problems.append(
            f"trainer.strategy is {strategy}: its processes end with each training and take the "
            "model along, so the fold could not be predicted; set auto or ddp"
        )
    if nodes > 1 and place is None:
        problems.append(
            f"trainer.num_nodes is {nodes}: processes on other machines are started with srun or "
            f"torchrun, e.g. torchrun --nnodes={nodes} --nproc-per-node={wanted // nodes} "
            "--rdzv-backend=c10d --rdzv-endpoint=FIRST_NODE:29500 -m mer.cli train ..."
        )
    if place and place.size != wanted and (wanted > 1 or not place.independent):
        problems.append(
            f"{place.size} processes were started, but trainer.devices x trainer.num_nodes is "
            f"{wanted}; let trainer.devices be the processes per node, +trainer.num_nodes the nodes"
        )
    if wanted > 1 and hasattr(sys, "ps1"):
        problems.append("trainer.devices: an interactive session trains on one; set 1")
    raise_all("The trainer cannot be set up:", problems)
    if place and wanted > 1:
        _meet()


@contextlib.contextmanager
def together(cfg: DictConfig, run_dir: Path) -> Iterator[None]:
    """Let all ranks take part in what rank 0 does inside; nothing happens for one device.

    Afterwards there is no process group, and variables, threads and processes are as before.

    Raises:
        MerError: If another rank fails.
    """
    wanted = number(cfg)
    if wanted == 1:
        yield
        return
    with contextlib.nullcontext(_meet()) if outside() else _started(wanted) as ranks:
        if not ranks.gather("here", MEETING):
            raise MerError(f"Not all of {wanted} ranks have come within {MEETING:.0f} seconds.")
        job = {"config": OmegaConf.to_yaml(cfg, resolve=True), "run_dir": str(run_dir.absolute())}
        ranks.say(job)
        with _group(ranks, cfg):
            try:
                yield
            except BaseException as error:
                # A rank that is lost shows as a broken connection, a moment before it is gone.
                failure = ranks.failure(5) if isinstance(error, RuntimeError) else None
                for child in ranks.children:
                    child.end()
                if failure:
                    raise MerError(failure) from error
                raise
            finally:
                ranks.say(None)


def lead_or_follow(words: Sequence[str], command: Callable[[], int]) -> int:
    """Carry out `mer train`, which torchrun or srun may have started once per rank; rank 0 does it.

    Tasks of srun are ranks of one training only where trainer.devices or trainer.num_nodes is among
    the words; otherwise they are commands of their own.

    Args:
        words: What was typed after `mer train`.
        command: Does it and returns the exit status, as the other ranks do when it is over.
    """
    place = outside()
    named = any("trainer.devices=" in word or "trainer.num_nodes=" in word for word in words)
    if place is None or (place.independent and not named):
        return command()
    if place.rank:
        return _follow()
    try:
        return command()
    finally:
        _meet().dismiss()


def follows(cfg: DictConfig) -> bool:
    """Whether this process was started from outside as another rank than 0."""
    place = outside()
    return place is not None and place.rank > 0 and number(cfg) > 1


def follow_once() -> Path | None:
    """Take part in rank 0's next run; return its directory, or None if there is none."""
    from mer.training import runner

    ranks = _meet()
    logging.getLogger("mer").setLevel(logging.ERROR)  # rank 0 says it
    warnings.simplefilter("ignore")
    try:
        job = ranks.hear()
    except RunEnded:
        ranks.mark("gone")
        return None
    run_dir = Path(job["run_dir"])
    cfg = OmegaConf.create(job["config"])
    with _group(ranks, cfg):
        try:
            runner.follow(cfg, run_dir)
        except RunEnded:
            pass
        except Exception as error:
            ranks.report(error)
            raise
    return run_dir


def _follow() -> int:
    while follow_once():
        pass
    return 0


@functools.cache
def _meet() -> Ranks:
    """Reach the ranks that somebody else has started."""
    import torch.distributed as dist

    place = outside()
    url = f"tcp://{place.address}:{place.port}"
    meeting = dist.rendezvous(url, place.rank, place.size, timeout=timedelta(seconds=MEETING))
    ranks = Ranks(place, dist.PrefixStore("mer", next(meeting)[0]))
    ranks.mark("here")
    return ranks


@contextlib.contextmanager
def _started(wanted: int) -> Iterator[Ranks]:
    """Start the other ranks on this machine; none is left afterwards."""
    import torch.distributed as dist

    # Port 0 takes a free one.
    store = dist.TCPStore("127.0.0.1", 0, wanted, is_master=True, wait_for_workers=False)
    places = [Place(r, r, wanted, "127.0.0.1", store.port) for r in range(wanted)]
    over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="mer-ranks-") as folder:
        children: list[Child] = []
        ranks = Ranks(places[0], dist.PrefixStore("mer", store), children)
        try:
            children += [Child(place, Path(folder)) for place in places[1:]]
            threading.Thread(target=watch, args=(ranks, over), daemon=True).start()
            yield ranks
            ranks.dismiss()
        finally:
            over.set()
            for child in children:
                child.end()


@contextlib.contextmanager
def _group(ranks: Ranks, cfg: DictConfig) -> Iterator[None]:
    """Make the process group, which Lightning takes over, and what it reads of the environment."""
    import torch
    import torch.distributed as dist

    global _active
    place, local = ranks.place, devices(cfg)
    device = local[place.local_rank]
    if device.type == "cuda":
        torch.cuda.set_device(device)
    variables = place.variables(len(local))
    before = {key: os.environ.get(key) for key in (*variables, "OMP_NUM_THREADS")}
    threads = torch.get_num_threads()
    os.environ.update(variables)
    dist.init_process_group(
        dist.Backend.default_device_backend_map[device.type],
        store=dist.PrefixStore(f"group{ranks.count}", ranks.store),
        rank=place.rank,
        world_size=place.size,
        device_id=device if device.type == "cuda" else None,
    )
    _active, failed = ranks, True
    try:
        yield
        failed = False
    finally:
        _active = None
        if not (failed and place.rank):  # closing may wait for the others, who are to hear of it
            dist.destroy_process_group()
        torch.set_num_threads(threads)
        for key, value in before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value


def main() -> int:
    """Be a rank that another process has started: the first word is that process's id."""
    threading.Thread(target=end_with, args=(int(sys.argv[1]),), daemon=True).start()
    return _follow()


if __name__ == "__main__":
    from mer.training import (
        distributed,  # this file under its own name, whose state the others share
    )

    sys.exit(distributed.main())
