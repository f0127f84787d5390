"""What was typed for a run, as Hydra knows it: names and settings of the W&B run are made of it."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from mer.config import stored
from mer.config.short_names import short_names
from mer.runs.rundir import is_volatile

#: Keys that say nothing of what a run computes, or that a name says already.
ASIDE = ("hydra", "data.root", "experiment")


class Typed(NamedTuple):
    """What was typed.

    Args:
        command: The shell command, sweeps included; None for a run that was started from Python.
        words: Key -> value, as this run has them: its own out of a sweep's.
        varied: Keys that differ among the runs of its sweep; empty outside a sweep.
        sweep: Name of the sweep's or search's directory; None outside one.
        job: Number of the job in its sweep.
        experiment: Name of the experiment; None for none.
    """

    command: str | None = None
    words: Mapping[str, str] = {}
    varied: Sequence[str] = ()
    sweep: str | None = None
    job: int | None = None
    experiment: str | None = None

    @property
    def differences(self) -> str:
        """What differs among the runs of the sweep, or from the defaults, as short words."""
        kept = {
            key: value
            for key, value in self.words.items()
            if (key in self.varied if self.sweep else not is_aside(key) and not is_volatile(key))
        }
        names = short_names(list(kept))
        return " ".join(f"{names[key]}={short(value)}" for key, value in kept.items())


def short(value: str) -> str:
    """A value as a name shows it: a drawn number with four digits."""
    long = re.fullmatch(r"-?\d*\.\d{5,}(e[-+]?\d+)?", value)
    return f"{float(value):.4g}" if long else value


def is_aside(key: str) -> bool:
    """Whether a key says nothing of what a run computes."""
    return any(key == one or key.startswith(f"{one}.") for one in ASIDE)


def read() -> Typed:
    """What was typed for the run of this process."""
    if not HydraConfig.initialized():
        return Typed()
    hydra: Any = HydraConfig.get()
    plain: Any = OmegaConf.to_container(hydra)  # interpolations as they were typed
    words = _values(plain["overrides"]["task"])
    experiment = (plain.get("runtime", {}).get("choices") or {}).get("experiment")
    alone = Typed(command(plain), words, experiment=experiment)
    if os.environ.get("WANDB_SWEEP_ID"):
        return alone._replace(varied=_agent_keys(words), sweep=os.environ["WANDB_SWEEP_ID"])
    if hydra.mode != RunMode.MULTIRUN:
        return alone
    folder = Path(hydra.runtime.cwd, hydra.sweep.dir)
    path = folder / "multirun.yaml"  # what was typed; a job knows its own words alone
    sweep = stored.read_plain(path)["hydra"] if path.exists() else plain
    params = sweep.get("sweeper", {}).get("params") or {}
    varied = [*params, *_swept(sweep["overrides"]["task"])]
    job = plain["job"].get("num")
    return alone._replace(command=command(sweep), varied=varied, sweep=folder.name, job=job)


def _agent_keys(words: Mapping[str, str]) -> list[str]:
    """Keys that a sweep of W&B varies, from the file that its agent has written."""
    path = Path(os.environ.get("WANDB_SWEEP_PARAM_PATH", ""))
    known = stored.read_plain(path) if path.is_file() else words
    return [key for key in words if key in known and not is_volatile(key)]


def command(hydra: Any) -> str:
    """The command as it is typed in a shell, without the password of a search's storage.

    Args:
        hydra: Hydra's own configuration, as plain values with their interpolations.
    """
    overrides = hydra["overrides"]
    multirun = "MULTIRUN" in str(hydra.get("mode"))
    sources = (hydra.get("runtime") or {}).get("config_sources") or []
    folders = [one["path"] for one in sources if one["provider"] == "command-line"]
    kept = [word for word in overrides.get("hydra") or [] if not word.startswith("hydra.mode=")]
    for word in overrides["task"]:
        if word == "trial.test=true":
            kept.append("--test")
        elif not word.startswith("trial."):
            kept.append(word)
    options = ["-m"] * multirun + [word for path in folders for word in ("--config-dir", path)]
    line = shlex.join(["mer", "train", *options, *kept])
    return re.sub(r"(://[^\s:/@]*):[^\s@]*@", r"\1:...@", line)


def _values(words: Sequence[str]) -> dict[str, str]:
    """Key, without signs and package -> value of each word."""
    pairs = (str(word).lstrip("+~").partition("=") for word in words)
    return {key.partition("@")[0].replace("/", "."): value.strip("'\"") for key, _, value in pairs}


def _swept(words: Sequence[str]) -> list[str]:
    parser = OverridesParser.create()
    overrides = (parser.parse_override(word) for word in words)
    return [one.key_or_group.replace("/", ".") for one in overrides if one.is_sweep_override()]
