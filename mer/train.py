"""`mer train`: compose a configuration, carry out the run, print the table."""

import logging
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from mer.config import check_words, conf_dir
from mer.errors import MerError

log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Run with Hydra overrides such as `data=megc2019 backbone=resnet18 seed=1`.

    Returns:
        Exit status: 0 when every fold is done, 3 when the run is incomplete.
    """
    check_words(argv)
    sys.argv = ["mer train", *argv]
    _entry()
    return _STATUS.pop() if _STATUS else 0


#: Exit statuses of the jobs of this process; Hydra gives a job no other way to answer.
_STATUS: list[int] = []


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def _entry(cfg: DictConfig) -> float | None:
    hydra_config = HydraConfig.get()
    try:
        return train(cfg, Path(hydra_config.runtime.output_dir))
    except MerError as error:
        if hydra_config.mode == RunMode.MULTIRUN or os.environ.get("MER_DEBUG"):
            raise
        print(f"mer: error: {error}", file=sys.stderr)
        sys.exit(2)


def train(cfg: DictConfig, run_dir: Path) -> float | None:
    """Carry out a run and print its table.

    Returns:
        The pooled UF1 of the validation persons, which is what a sweep may optimise; None without
        any. The test score is never returned.
    """
    from mer import results, runner

    result = runner.run(cfg, run_dir)
    console = results.console()
    if result["status"] == "incomplete":
        missing = result["missing_folds"]
        console.print(
            f"{len(missing)} of {result['folds']} folds are missing ({', '.join(missing[:3])}): "
            f"no score. Start the same command with run.dir={run_dir} to do them."
        )
        _STATUS.append(3)
        return None
    title = f"{cfg.data.name}, {cfg.protocol.name}, {cfg.backbone.name} on {cfg.input.name}"
    title += ", macro-pretrained" if cfg.macro.enabled else ", not macro-pretrained"
    console.print(
        results.to_table(result, f"{title}: pooled scores and 95 % intervals over persons")
    )
    console.print(f"Run directory: {run_dir}", soft_wrap=True)
    if "validation" not in result:
        return None
    head = "svm" if "svm" in result["validation"] else "softmax"
    return float(result["validation"][head]["pooled"]["uf1"])
