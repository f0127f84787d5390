"""Whether a run is one of several among which something is being chosen.

As long as it is, nobody sees its test scores: they are not shown, logged or sent, since whoever
sees them chooses by them. The run directory has them all the same. `mer train --test` shows them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mer.config.conversion import to_plain
from mer.config.settings import Settings
from mer.runs.rundir import is_volatile

#: Keys whose values are no candidates: chance, and what is asked of a model rather than the model.
NO_CANDIDATES = ("seed", "data", "labels", "protocol.name", "protocol.n_splits")


def choosing(config: Settings | Mapping[str, Any]) -> bool:
    """Whether a run is a trial of a search, or a job of a sweep that compares candidates."""
    trial = to_plain(config.trial) if isinstance(config, Settings) else config.get("trial") or {}
    return not trial.get("test") and (trial.get("number") is not None or bool(trial.get("varied")))


def candidates(keys: Iterable[str]) -> list[str]:
    """Those of the keys that a sweep varies whose values are candidates."""
    # The group `protocol` is another question; keys below it, as in `protocol.inner`, may be none.
    return [
        key
        for key in keys
        if key != "protocol"
        and not is_volatile(key)
        and not any(key == other or key.startswith(f"{other}.") for other in NO_CANDIDATES)
    ]
