"""What a network costs, and whether something else ran while it was measured."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from mer.models import cost


class Doubler(pl.LightningModule):
    """Five parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(5))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 2 * image


def test_other_processes_are_counted_in_cores() -> None:
    # In four seconds everybody used five processor seconds, this process two of them.
    assert cost._others((100.0, 1.0), (105.0, 3.0), 4.0) == 0.75
    assert cost._others((100.0, 1.0), (101.0, 3.0), 4.0) == 0.0  # the clocks tick apart
    assert cost._others(None, (105.0, 3.0), 4.0) is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux tells")
def test_a_measurement_says_how_many_cores_others_used() -> None:
    measured = cost.measure(Doubler(), torch.zeros(3, 8, 8), torch.device("cpu"), repeats=3)
    assert measured["parameters"] == 5
    assert measured["other_cores"] >= 0
