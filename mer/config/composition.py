"""Where the configuration lives, and how tests, notebooks and commands compose it with Hydra.

Mistyped keys and choices come out as one `MerError` that lists all of them with the closest names
that exist.
"""

import difflib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer.config import sweeps, yaml_parser
from mer.config.hydra_options import own_classes, search_path, split_config_dir
from mer.config.quoting import is_readable, quoted, readable, sentence
from mer.config.sentences import closest
from mer.errors import MerError, one_line, raise_all

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mer.config.settings import Settings


def conf_dir() -> Path:
    """Return the absolute folder of the configuration files.

    A wheel carries them inside the package as `mer/conf`; a checkout and an editable install have
    them beside the package as `conf`.

    Raises:
        MerError: If neither folder exists.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if folder.is_dir():
            return folder
    raise MerError(
        f"no configuration folder: neither {package / 'conf'} nor {package.parent / 'conf'} exists."
        " Install the package again: pip install --force-reinstall --no-deps mer"
    )


def compose(
    overrides: list[str], config_name: str = "train", config_dir: str | Path | None = None
) -> "DictConfig":
    """Compose a configuration as `mer train` does.

    Safe to call in a running Hydra application, whose global state is left as it was.

    Args:
        overrides: Words as typed after `mer train`, for example `["backbone=resnet18", "seed=0"]`.
        config_name: The primary file in `conf_dir()`, without its ending.
        config_dir: Folder with the user's own files, in groups as in `conf_dir()`.

    Raises:
        MerError: If an override names a key or choice that does not exist or cannot be parsed; all
            such overrides are listed. If `config_dir` is no folder.
    """
    from hydra.errors import HydraException

    _require_lists(overrides)
    overrides = [*own_classes(overrides), *search_path(config_dir)]
    try:
        return _compose(overrides, config_name)
    except HydraException as error:
        explain(error, overrides, config_name)
        raise MerError(f"cannot compose conf/{config_name}.yaml: {_tidy(error)}") from error


def check_words(words: list[str]) -> "DictConfig | None":
    """Report mistyped overrides of a Hydra command line before Hydra itself starts.

    Of a sweep such as `seed=1,2` every value is tried, of `interval(0, 1)` both ends. Command lines
    with options other than `-m` and `--config-dir` (`--help`, ...) are left to Hydra, which may
    then read other files.

    Returns:
        The configuration, or None where Hydra has to compose it.

    Raises:
        MerError: As `compose` does; or if a sweep has a value that no run can have.
    """
    yaml_parser.use()
    words, config_dir = split_config_dir(own_classes(sweeps.plain(words)))
    options = {word for word in words if word.startswith("-")}
    if options - {"-m", "--multirun"}:
        return None
    overrides = [word for word in words if word not in options]
    if options and not overrides:
        raise MerError(
            "-m goes through several values: type some, such as seed=0,1,2, or leave out -m"
        )
    if options:
        folders = config_folders(config_dir)
        firsts = [sweeps.first_value(word, folders) for word in overrides]
        try:
            config = compose(firsts, config_dir=config_dir)
        except MerError as error:
            said = str(error)
            for first, word in zip(firsts, overrides, strict=True):
                said = said.replace(f"  - {first}: ", f"  - {word}: ")
            raise MerError(said) from error
        sweeps.check(overrides, config, folders)
        return config
    sweeps.require_multirun(overrides)
    return compose(overrides, config_dir=config_dir)


def config_folders(config_dir: str | Path | None = None) -> list[Path]:
    """The folders with configuration files: that of the package and the user's own."""
    return [conf_dir(), *([] if config_dir is None else [Path(config_dir).expanduser()])]


def explain(error: Exception, overrides: list[str], config_name: str = "train") -> None:
    """Raise a `MerError` that names every bad override, if overrides are to blame for `error`.

    Wrong values among the good ones are named, too.

    Bad overrides are set aside one by one until the rest composes, so that all of them are reported
    at once and suggestions come from the configuration that the good ones give.
    """
    from hydra.errors import HydraException

    good = list(overrides)
    bad: list[tuple[str, Exception]] = []
    current: Exception | None = error
    config = None
    while current is not None:
        culprit = _culprit(current, good)
        if culprit is None and not isinstance(current.__cause__, HydraException | None):
            culprit = _failing_alone(good, config_name)
        if culprit is None:
            break
        bad.append((culprit, current))
        good.remove(culprit)
        if "=" in culprit and not is_readable(culprit) and (meant := readable(culprit)) is not None:
            good.append(meant)  # so that what else is wrong with it is said too
        try:
            config, current = _compose(good, config_name), None
        except HydraException as next_error:
            current = next_error
    keys = [] if config is None else list(_flat_keys(config))
    raise_all(
        f"conf/{config_name}.yaml does not accept:",
        [
            *(_sentence(override, problem, keys) for override, problem in bad),
            *(_wrong_values(config, good) if bad and config is not None else []),
        ],
    )


def _require_lists(overrides: list[str]) -> None:
    """Refuse a second choice of a group by its package, of which Hydra would use the first twice.

    Raises:
        MerError: With the list that is to be typed.
    """
    listed = {"logger": "", "callbacks": "svm_head"}
    for word in overrides:
        key, _, value = word.lstrip("+").partition("=")
        group = key.partition("@")[0]
        if "@" in key and group in listed:
            first = next((w.partition("=")[2] for w in overrides if w.startswith(f"{group}=")), "")
            both = ",".join(filter(None, [(first or listed[group]).strip("[]"), value.strip("[]")]))
            raise MerError(f"{word} would choose nothing. Type both at once: '{group}=[{both}]'")


def _wrong_values(config: "DictConfig", overrides: list[str]) -> list[str]:
    """Say which values of overrides are wrong, unless their configuration lacks others."""
    from mer.config.conversion import problems

    try:
        found = problems(to_plain(config))
    except MerError:
        return []
    typed_keys = tuple(_key(override) for override in overrides)
    return [problem for problem in found if problem.startswith(typed_keys)]


def to_plain(config: "DictConfig") -> dict[str, Any]:
    """Return `config` as plain dictionaries, lists and values, every interpolation resolved.

    Raises:
        MerError: If a mandatory value (`???`) is missing or an interpolation leads nowhere.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        plain = OmegaConf.to_container(config, resolve=True)
        missing = OmegaConf.missing_keys(config) if "???" in str(plain) else ()  # which takes long
    except OmegaConfBaseException as error:
        raise MerError(f"cannot resolve the configuration: {_tidy(error)}") from error
    raise_all(
        "these settings have no value yet:",
        (f"{key}: give it one on the command line, {key}=VALUE" for key in sorted(missing)),
    )
    if not isinstance(plain, dict):
        raise MerError(f"the configuration must be a mapping, found {type(plain).__name__}")
    return {str(key): value for key, value in plain.items()}


def typed(config: "DictConfig") -> "Settings":
    """Read the settings of a composed configuration.

    Raises:
        MerError: With every wrong value, unknown key and missing value.
    """
    from mer.config.conversion import read

    return read(to_plain(config))


def _compose(overrides: list[str], config_name: str) -> "DictConfig":
    """Compose without explaining errors, leaving Hydra's global state as it was."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import ConfigCompositionException, HydraException

    yaml_parser.use()
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra.compose(config_name, overrides)
    except HydraException:
        raise
    except Exception as error:  # some words fail an assertion of Hydra's, or in OmegaConf
        raise ConfigCompositionException(one_line(error)) from error
    finally:
        GlobalHydra.instance().hydra = outer


def _culprit(error: Exception, overrides: list[str]) -> str | None:
    """Return the override that `error` is about, or None when it is about something else."""
    parsed = getattr(error, "override", None)
    if parsed in overrides:
        return str(parsed)
    missing = getattr(error, "missing_cfg_file", None)
    if missing is not None:
        group, _, choice = str(missing).rpartition("/")
        return next((o for o in overrides if _group(o) == group and choice in o), None)
    named = re.findall(r"'([^'\n]+)'|Error merging override (\S+)", str(error))
    names = {name for pair in named for name in pair if name}
    return next((o for o in overrides if o in names or _key(o) in names), None)


def _failing_alone(overrides: list[str], config_name: str) -> str | None:
    """Return the first override that does not compose by itself, for errors that name none."""
    from hydra.errors import HydraException

    folders = [one for one in overrides if _key(one) == "hydra.searchpath"]
    for override in overrides:
        try:
            _compose([*folders, override], config_name)
        except HydraException:
            return override
    return None


def _sentence(override: str, error: Exception, keys: list[str]) -> str:
    """Say what is wrong with one override and which names come closest."""
    options = getattr(error, "options", None)
    if options:
        typed = override.partition("=")[2]
        close = difflib.get_close_matches(typed, options, n=3, cutoff=0.5)
        hint = f"closest: {', '.join(close)}; " if close else ""
        there = f"{hint}all: {', '.join(options)}"
        return f"{override}: there is no {_group(override)}/{typed} ({there})"
    if override.startswith("-") or ("=" not in override and "run.dir" not in keys):
        return f"{override}: a setting is typed KEY=VALUE, without dashes; `--help` explains them"
    if not is_readable(override):
        return sentence(override, _tidy(error))
    if "Config group override must be" in str(error):
        files = sorted(path.stem for path in (conf_dir() / _group(override)).glob("*.yaml"))
        if not files:
            return f"{override}: a group takes a name"
        return f"{override}: {_group(override)} takes one of {', '.join(files)}"
    key = _key(override)
    if not key:
        return f"{override}: there is no key in it; type KEY=VALUE"
    if "Could not override" in str(error) and key not in keys:
        text = f"{override}: there is no key {key} ({closest(key, keys)})"
        if "/" in key:
            text += f"; to name a directory, type {shlex.quote(f'run.dir={quoted(override)}')}"
        return text
    return f"{override}: {_tidy(error)}"


def _key(override: str) -> str:
    """Return the key of an override, without `+`, `++`, `~` and the package after `@`."""
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def _group(override: str) -> str:
    """Return the key of an override in the form of a config group (`a/b`)."""
    return _key(override).strip("/")


def _flat_keys(config: "DictConfig", prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of `config`, inner nodes included, interpolations unresolved."""
    from omegaconf import DictConfig, OmegaConf

    for key, node in config.items_ex(resolve=False):
        name = f"{prefix}{key!s}"
        yield name
        if isinstance(node, DictConfig) and not OmegaConf.is_interpolation(config, str(key)):
            yield from _flat_keys(node, f"{name}.")


def _tidy(error: Exception) -> str:
    """Put a library's message on one line, without the search path and object dumps."""
    text = re.split(r"\n\s*(?:Config search path|See https|full_key|object_type)", str(error))[0]
    cause = str(error.__cause__ or "").partition("\n")[0]
    if cause not in text:
        text += f": {cause}"
    return " ".join(text.split())
