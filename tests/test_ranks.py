"""Which rank a process is, what the ranks say to each other, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from mer.errors import MerError
from mer.training import distributed, runner
from mer.training.ranks import Place, Ranks, RunEnded, number, outside
from mer.training.trainer import batch_size

Config = Callable[..., DictConfig]

TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "a"}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_STEP_ID": "2",
    "SLURM_JOB_ID": "1000",
    "SLURM_NODEID": "1",
    "SLURM_LOCALID": "0",
}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Ranks:
    """Let this process be rank 0 of two, without a process group."""
    ranks = Ranks(Place(0, 0, 2, "here", 1), torch.distributed.HashStore())
    monkeypatch.setattr(distributed, "_active", ranks)
    return ranks


def test_places_are_read_from_torchrun_and_srun_but_not_from_a_batch_script() -> None:
    assert outside({}) is None
    assert outside({**TORCHRUN, "MASTER_PORT": "9"}) == Place(3, 1, 4, "a", 9)
    assert outside({**TORCHRUN, "MASTER_PORT": "9", "WORLD_SIZE": "1"}) is None
    # The port depends on job and step alone: 15000 + (31 x 1000 + 2) mod 15000.
    assert outside(SRUN) == Place(2, 0, 4, "gpu07", 16002, independent=True)
    assert outside({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"}) is None


def test_third_rank_of_the_second_node_is_node_one() -> None:
    variables = Place(5, 2, 6, "a", 9).variables(per_node=3)
    assert (variables["NODE_RANK"], variables["LOCAL_RANK"], variables["RANK"]) == ("1", "2", "5")


@pytest.mark.parametrize(
    ("words", "ranks"),
    [
        (["trainer.devices=1"], 1),
        (["trainer.devices=auto"], 1),  # of CPUs Lightning counts one
        (["trainer.devices=3"], 3),
        (["trainer.devices=2", "+trainer.num_nodes=2"], 4),
        (["trainer.devices=1", "+trainer.num_nodes=2"], 2),
    ],
)
def test_number_of_ranks(words: list[str], ranks: int, tiny_config: Config) -> None:
    assert number(tiny_config(*words)) == ranks


def test_all_that_cannot_work_is_refused_at_once(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny_config("+trainer.num_nodes=2", "trainer.devices=2", "trainer.strategy=ddp_spawn")
    with pytest.raises(MerError) as refusal:
        runner.run(cfg, tmp_path / "run")
    for text in ("ddp_spawn", "set auto or ddp", "torchrun --nnodes=2 --nproc-per-node=2"):
        assert text in str(refusal.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(MerError, match=r"trainer.devices=\[0, 1\] on trainer.accelerator=cpu"):
        runner.run(tiny_config("trainer.devices=[0,1]"), tmp_path / "run")
    for key, value in {**TORCHRUN, "MASTER_PORT": "9"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(MerError, match=r"4 processes were started, but .* is 1"):
        runner.run(tiny_config(), tmp_path / "run")


def test_tasks_of_srun_with_one_device_each_are_runs_of_their_own(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in SRUN.items():
        monkeypatch.setenv(key, value)
    distributed.check(tiny_config())
    assert not distributed.follows(tiny_config())
    assert distributed.follows(tiny_config("trainer.devices=2", "+trainer.num_nodes=2"))
    assert distributed.lead_or_follow(["seed=1"], lambda: 7) == 7


def test_ranks_hear_what_rank_0_says_in_order_until_it_ends(two: Ranks) -> None:
    other = Ranks(Place(1, 1, 2, "here", 1), two.store)
    for value in ("group-01", False):
        assert distributed.share(value) == value
    two.say(None)
    assert [other.hear(), other.hear()] == ["group-01", False]
    with pytest.raises(RunEnded):
        other.hear()


def test_rank_0_goes_no_further_when_another_has_failed(two: Ranks) -> None:
    for rank, text in ((1, "the disk is full"), (2, "the connection was closed")):
        Ranks(Place(rank, rank, 3, "here", 1), two.store).report(MerError(text))
    with pytest.raises(
        MerError, match=r"^rank 1 failed: the disk is full$"
    ):  # the first, the cause
        distributed.share("group-00")


def test_every_device_has_a_batch_even_of_few_samples(two: Ranks) -> None:
    node = OmegaConf.create({"batch_size": 32})
    assert [batch_size(node, samples) for samples in (200, 64, 41)] == [32, 32, 20]
