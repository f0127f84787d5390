"""Sweeps of a command line: `key=1,2`, `choice`, `range`, `glob`, and `interval` of a search."""

import copy
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer.config.quoting import is_readable
from mer.errors import MerError, raise_all

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

#: What Hydra calls a parameter of a search; it takes no dotted key behind that.
PARAMETER = re.compile(r"(~|\+*)hydra\.sweeper\.params\.([^=]+)(=.*)?", re.DOTALL)


def plain(words: Sequence[str]) -> list[str]:
    r"""Write single parameters of Hydra's sweeper as the sweeps that they are.

    >>> plain([r"hydra.sweeper.params.model\.dropout=choice(0.1, 0.2)", "seed=1"])
    ['model.dropout=choice(0.1, 0.2)', 'seed=1']
    >>> plain(["~hydra.sweeper.params.model.dropout"])
    ['search.without=["model.dropout"]']
    """
    found, without = [], []
    for word in words:
        matched = PARAMETER.fullmatch(word)
        if matched is None:
            found.append(word)
            continue
        key = matched[2].replace("\\", "")
        if matched[1] == "~":
            without.append(f'"{key}"')
        else:
            found.append(f"{key}{matched[3] or ''}")
    return [*found, f"search.without=[{','.join(without)}]"] if without else found


def first_value(word: str, folders: Sequence[Path]) -> str:
    """Return an override with a sweep replaced by its first value; other words unchanged.

    Args:
        word: As typed.
        folders: Folders with configuration files, whose names `glob` chooses from.
    """
    override = _sweep(word)
    if override is None:
        return word
    return f"{override.get_key_element()}={next(_values(override, folders))}"


def check(words: Sequence[str], config: "DictConfig", folders: Sequence[Path]) -> None:
    """Find values of sweeps that no run can have, before the first run starts.

    Args:
        words: Overrides as typed, without options.
        config: Configuration with the first value of each sweep.
        folders: Folders with configuration files.

    Raises:
        MerError: With all of them, or if a sweep needs a search.
    """
    from mer.config import absent, conversion
    from mer.config.composition import to_plain

    def problems(config: dict[str, Any]) -> list[str]:
        return conversion.problems(config) + absent.problems(config)

    found: list[str] = []
    base = to_plain(config)
    known = problems(base)
    for word in words:
        if (override := _sweep(word)) is None:
            continue
        key, name = override.get_key_element(), override.key_or_group
        if override.is_interval_sweep() and config.get("search") is None:
            found.append(f"{word}: an interval is searched, not gone through; add search=optuna")
            continue
        if override.is_interval_sweep():
            try:
                ends(override.value())
            except ValueError as error:
                found.append(f"{word}: {error}")
                continue
        choices = _choices(name, folders)
        for value in _values(override, folders):
            if choices:
                if value not in choices:
                    found.append(f"{key}={value}: there is only {', '.join(choices)}")
            elif not key.startswith("+"):
                changed = problems(_with(base, name, f"{key}={value}"))
                found += [
                    f"{word}: {_whole(problem, override)}"
                    for problem in changed
                    if problem not in known or problem.startswith(f"{name} is ")
                ]
    raise_all("The sweep has values that no run can have:", dict.fromkeys(found))


def _whole(problem: str, override: "Override") -> str:
    """What is wrong with an end of an interval; where whole numbers are needed, what to type."""
    if not override.is_interval_sweep() or "; set a whole number" not in problem:
        return problem
    interval: Any = override.value()
    typed = f"int(interval({interval.start:.0f}, {interval.end:.0f}))"
    typed = f"tag(log, {typed})" if "log" in interval.tags else typed
    key = override.get_key_element()
    return f"{key} takes whole numbers; type '{key}={typed}'"


def ends(interval: Any) -> tuple[float, float]:
    """The ends of Hydra's `interval(LOW, HIGH)`.

    Raises:
        ValueError: If a search cannot draw from it.
    """
    low, high = interval.start, interval.end
    if low > high:
        raise ValueError(f"an interval goes up; type interval({high}, {low})")
    if "log" in interval.tags and low <= 0:
        raise ValueError(f"a log scale has no {low}; start the interval above 0")
    return low, high


def require_multirun(words: Sequence[str]) -> None:
    """Refuse sweeps in a command line without `-m`.

    Raises:
        MerError: With what to type.
    """
    swept = [(word, override) for word in words if (override := _sweep(word)) is not None]
    if swept:
        needed = any(override.is_interval_sweep() for _, override in swept)
        searched = any(word.startswith("search=") for word in words)
        options = "-m search=optuna" if needed and not searched else "-m"
        raise MerError(
            f"{', '.join(word for word, _ in swept)} stands for several values; to go through "
            f"them, type mer train {options} ..."
        )


def _sweep(word: str) -> "Override | None":
    """An override that sweeps; None for all other words."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    if word.startswith("-") or not is_readable(word):
        return None  # composing the configuration says what is wrong with it
    override = OverridesParser.create().parse_override(word)
    return override if override.is_sweep_override() else None


def _values(override: "Override", folders: Sequence[Path]) -> Iterator[str]:
    """The values of a sweep as Hydra writes them; of an interval its ends, which may be drawn.

    Raises:
        MerError: If there is none.
    """
    from hydra.core.override_parser.types import Glob, IntervalSweep

    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        yield from (str(value.start), str(value.end))
        return
    if isinstance(value, Glob):
        choices = _choices(override.key_or_group, folders)
        found = value.filter(choices)
    else:
        found = list(override.sweep_string_iterator())
        choices = []
    if not found:
        there = f"; there is {', '.join(choices)}" if choices else ""
        raise MerError(f"{override.input_line}: nothing is meant by it{there}")
    yield from found


def _choices(group: str, folders: Sequence[Path]) -> list[str]:
    """Names of the files of a group; none where it is no group."""
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def _with(config: dict[str, Any], name: str, word: str) -> dict[str, Any]:
    """A plain configuration with another value of one key."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    changed = copy.deepcopy(config)
    *parts, last = name.split(".")
    node: Any = changed
    for part in parts:
        node = node.get(part) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node[last] = OverridesParser.create().parse_override(word).value()
    return changed
