"""`mer train`: compose a configuration, carry out the run, print the table."""

import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig

from mer.config import check_words, conf_dir
from mer.errors import MerError

log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Run with Hydra overrides such as `data=megc2019 backbone=resnet18 seed=1`.

    With `-m`, `protocol.folds=split(4)` spreads the folds of one run over four jobs, which the
    launcher (`hydra/launcher=joblib`, `submitit_slurm`, `ray`) carries out wherever it does.

    Returns:
        Exit status: 0 when every fold is done, 3 when the run is incomplete.
    """
    words = [_spread(word) for word in argv]
    check_words(words)
    if not {"-m", "--multirun"} & set(words) and any(w.startswith("search=") for w in words):
        raise MerError("a search is a sweep; add -m: mer train -m " + " ".join(argv))
    sys.argv = ["mer train", *words]
    _entry()
    return STATUS.pop() if STATUS else 0


#: Exit statuses of the jobs of this process; Hydra gives a job no other way to answer.
STATUS: list[int] = []


def _spread(word: str) -> str:
    """Write `protocol.folds=split(3)` as the sweep `protocol.folds=1/3,2/3,3/3`."""
    found = re.fullmatch(r"(protocol\.folds=)split\((\d+)\)", word)
    if not found or not int(found[2]):
        return word
    number = int(found[2])
    return found[1] + ",".join(f"{place}/{number}" for place in range(1, number + 1))


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def _entry(cfg: DictConfig) -> float | list[float] | None:
    hydra_config = HydraConfig.get()
    alone = hydra_config.mode != RunMode.MULTIRUN
    # The jobs of a sweep have a directory each, but the jobs that share one run's folds share its.
    shared = not alone and cfg.protocol.folds is not None
    run_dir = Path(cfg.run.dir if shared else hydra_config.runtime.output_dir)
    try:
        return train(cfg, run_dir, alone)
    except MerError as error:
        if not alone or os.environ.get("MER_DEBUG"):
            raise
        print(f"mer: error: {error}", file=sys.stderr)
        sys.exit(2)


def train(cfg: DictConfig, run_dir: Path, alone: bool = True) -> float | list[float] | None:
    """Carry out a run and print its table.

    Args:
        cfg: Composed configuration.
        run_dir: Run directory.
        alone: Whether this is no job of a sweep; only then missing folds give exit status 3.

    Returns:
        The values of `cfg.objective` (a list if that is one), which a sweep may optimise: scores of
        the validation persons, or the cost of the network. None while folds are missing or without
        validation persons. The test score is never returned.
    """
    from hydra.utils import instantiate

    from mer import results, runner

    observers = [instantiate(node) for node in (cfg.logger or {}).values() if node is not None]
    if cfg.trial.number is not None:
        from mer.search.reporting import TrialReporter

        # First, so that no logger takes a pruned trial's last fold for its end.
        observers.insert(0, TrialReporter(HydraConfig.get().sweeper, cfg.trial.number))
    result = runner.run(cfg, run_dir, observers)
    show(cfg, run_dir, result)
    if result["status"] == "incomplete":
        if alone:
            STATUS.append(3)
        return None
    scores = {head: parts["pooled"] for head, parts in result.get("validation", {}).items()}
    single = not isinstance(cfg.objective, list | ListConfig)
    names = [cfg.objective] if single else list(cfg.objective)
    if not scores and set(names) - set(results.COSTS):
        return None
    values = results.objective(scores, result["cost"], names)
    return values[0] if single else values


def show(cfg: DictConfig, run_dir: Path, result: dict[str, Any]) -> None:
    """Print the table of a run, or what is missing."""
    from mer import results

    console = results.console()
    if result["status"] == "incomplete":
        missing = result["missing_folds"]
        console.print(
            f"{len(missing)} of {result['folds']} folds are missing ({', '.join(missing[:3])}): "
            f"no score. Start the same command with run.dir={run_dir} to do them."
        )
        return
    title = f"{cfg.data.name}, {cfg.protocol.name}, {cfg.backbone.name} on {cfg.input.name}"
    title += ", macro-pretrained" if cfg.macro.enabled else ", not macro-pretrained"
    console.print(
        results.to_table(result, f"{title}: pooled scores and 95 % intervals over persons")
    )
    console.print(f"Run directory: {run_dir}", soft_wrap=True)
