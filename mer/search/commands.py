"""The commands that a search ends with: repeat a trial, train it for good, make one file of it.

Each repeats what it says in whatever folder it is typed: places are absolute, and every run has a
directory of its own below that of the search.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial

from mer.config.composition import compose
from mer.config.quoting import is_readable, quoted
from mer.loggers import typed_words
from mer.models import ready_weights
from mer.protocols import EVERYBODY
from mer.runs import rundir
from mer.search import trials
from mer.search.space import Space, words

#: Keys of words that concern the search itself, or one run's directory.
SEARCH_KEYS = (
    *("search", "trial", "run", "hydra.sweep", "hydra.sweeper", "hydra.launcher"),
    *("hydra.mode", "hydra.run"),
)

#: Keys of files and folders. Those of datasets lie below `data.root`.
PLACES = ("data.root", "paths.cache", "backbone.weights")


@dataclass(frozen=True)
class Typed:
    """What was typed for a search, as far as its trials share it.

    Args:
        fixed: Overrides as typed.
        settings: Overrides for what the search config sets besides the parameters.
        places: Overrides that name files and folders of this machine, absolute.
        options: Options before the overrides, such as `--config-dir` and its folder.
        seeds: Seeds of the runs that make up a trial; empty for one run.
        withheld: Whether validation persons are withheld that the method itself has no use for.
        search: The shell command of the search itself.
    """

    fixed: Sequence[str]
    settings: Sequence[str] = ()
    places: Sequence[str] = ()
    options: Sequence[str] = ()
    seeds: Sequence[int] = ()
    withheld: bool = False
    search: str = ""


class Command(NamedTuple):
    """A shell command, its name in files, and what it does."""

    name: str
    does: str
    line: str


def typed(
    config: DictConfig, cfg: DictConfig, space: Space, fixed: Sequence[str], seeds: int
) -> Typed:
    """Collect what a plain run needs to repeat a trial.

    Args:
        config: Hydra's configuration of the search.
        cfg: Configuration that all trials share.
        space: Searched parameters and shared overrides.
        fixed: Overrides as typed that are not searched.
        seeds: Runs of a trial.
    """
    options = _options(config.hydra.runtime.config_sources)
    return Typed(
        fixed=fixed,
        settings=_settings(cfg, space, fixed, options),
        places=_places(cfg),
        options=options,
        seeds=range(cfg.seed, cfg.seed + seeds) if seeds > 1 else (),
        withheld=cfg.protocol.validation > 0 and cfg.selection != "validation",
        search=typed_words.command(OmegaConf.to_container(config.hydra)),
    )


def _settings(
    cfg: DictConfig, space: Space, fixed: Sequence[str], options: Sequence[str]
) -> list[str]:
    """What the search itself sets, as words."""
    own = [one for one in fixed if not one.startswith(("search=", "search."))]
    plain = compose(own, config_dir=options[-1] if options else None)
    before = rundir.flatten(OmegaConf.to_container(plain, resolve=True))
    changed = {
        key if key in before else f"+{key}": value
        for key, value in rundir.flatten(cfg).items()
        if before.get(key) != value
        and (not rundir.is_volatile(key) or key == "reuse_networks")
        and not any(key == k or key.startswith(f"{k}.") for k in space.params)
    }
    return words(changed, space)


def _places(cfg: DictConfig) -> list[str]:
    """The overrides that make the places of a configuration absolute."""
    found = {key: OmegaConf.select(cfg, key) for key in PLACES}
    return [
        word(key, Path(path).expanduser().absolute())
        for key, path in found.items()
        if path and not str(path).startswith(ready_weights.PREFIX)
    ]


def _options(sources: Sequence[Any]) -> list[str]:
    """The option `--config-dir` of Hydra's `config_sources`, absolute."""
    own = [one.path for one in sources if one.provider == "command-line"]
    return ["--config-dir", str(Path(own[0]).absolute())] if own else []


def of_search(study: optuna.Study, trial: FrozenTrial, typed: Typed, folder: Path) -> list[Command]:
    """The commands of a trial: repeat it, train it for good, export a model like it.

    Args:
        study: The study of the search.
        trial: The trial, usually the best.
        typed: What was typed.
        folder: Directory of the search.
    """
    last = folder.absolute() / f"best-{trial.number}"
    found = [Command("repeat", "Repeat it", repeat(study, trial, typed, last))]
    if typed.withheld:
        last = folder.absolute() / f"final-{trial.number}"
        line = repeat(study, trial, typed, last, "protocol.validation=0")
        does = "Train it for good, with nobody withheld for validation; its test scores count"
        found.append(Command("final", does, line))
    like = last / "0" if typed.seeds else last
    # The run that stands for the model says which weights it began with.
    places = [one for one in typed.places if not one.startswith("backbone.")]
    everybody = [f"protocol={EVERYBODY}", word("protocol.like", like), *places]
    line = shlex.join(["mer", "train", *everybody])
    export = shlex.join(["mer", "export", f"{like}-all"])
    does = "Then train one model on everybody, and export it"
    found.append(Command("export", does, f"{line} && {export}"))
    return found


def repeat(
    study: optuna.Study, trial: FrozenTrial, typed: Typed, run_dir: Path, *changes: str
) -> str:
    """The command of a trial; text that a custom search space suggested is quoted for Hydra.

    Args:
        study: The study of the search.
        trial: The trial.
        typed: What was typed.
        run_dir: Directory of the new run; of several seeds, the directory of their runs.
        *changes: Further overrides, which count before the trial's.
    """
    searched = trials.noted(study).get("space", trial.params)
    written = dict(one.split("=", 1) for one in words(trial.params, Space(searched, [])))
    several = [f"seed={','.join(map(str, typed.seeds))}"] if typed.seeds else []
    key = "hydra.sweep.dir" if several else "run.dir"
    return command(typed, written, *several, *changes, word(key, run_dir))


def command(typed: Typed, params: Mapping[str, Any], *more: str) -> str:
    """The shell command of a plain run.

    Args:
        typed: What was typed.
        params: Override key -> value of the trial; text as Hydra reads it.
        *more: Overrides that count before all others.

    Returns:
        One line. Of a key given twice, the last of these counts: settings, typed, places, params.
    """
    chosen = words(dict(params), Space(dict.fromkeys(params), []))  # type: ignore[arg-type]
    parser = OverridesParser.create()
    last: dict[str, str] = {}
    for one in (*typed.settings, *typed.fixed, *typed.places):
        if one.startswith("-"):
            continue
        override = parser.parse_override(one)
        path = override.key_or_group.replace("/", ".")
        if not any(path == key or path.startswith(f"{key}.") for key in SEARCH_KEYS):
            _put(last, override.get_key_element(), one)
    for key, one in zip(params, chosen, strict=True):
        _put(last, key, one)
    for one in more:
        _put(last, one.partition("=")[0], one)
    start = ["mer", "train", *(["-m"] if typed.seeds else []), *typed.options]
    return shlex.join([*start, *last.values()])


def word(key: str, path: Path) -> str:
    """The override that names a file or folder."""
    plain = f"{key}={path}"
    return plain if is_readable(plain) else f"{key}={quoted(str(path))}"


def _put(words_of: dict[str, str], key: str, one: str) -> None:
    """Let a word take the place of an earlier one for the same key, at the end."""
    name = key.lstrip("+~")
    words_of.pop(name, None)
    words_of[name] = one
