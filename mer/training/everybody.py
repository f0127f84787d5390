"""A model on everybody with the settings of a run that a protocol has judged."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mer.config import maker
from mer.config.composition import typed
from mer.config.settings import Protocol, Settings, Trial
from mer.errors import MerError, raise_all
from mer.protocols import EVERYBODY
from mer.runs import untested
from mer.training.evaluate import load_config

#: Words that may stand beside `protocol.like`: which machine, where data and results are.
BESIDE = r"(trainer|paths)\.|data\.(root|(micro|macro)\.[^.]+\.root)="

#: Words that this process has followed already.
FOLLOWED = r"\+*(protocol(\.like)?|run\.dir|logger[.\w]*|hydra[./\w]*)="


def settings_like(composed: Settings, words: Sequence[str]) -> Settings:
    """Take over the settings of the run that `protocol.like` names.

    What a run chose inside its folds (`protocol.inner`, the epoch of `selection=validation`) is
    chosen anew, on everybody.

    Raises:
        MerError: If the run cannot stand for a model, or words would change its settings.
    """
    like = Path(str(composed.protocol.like))
    if composed.protocol.name != EVERYBODY:
        raise MerError(f"protocol.like={like} goes with protocol=all: {untested.command(like)}")
    judged = untested.open_like(like)
    raise_all(
        f"protocol.like={like} takes over all settings but where and how fast (trainer.KEY=..., "
        "paths.KEY=..., data.root=..., logger=...); leave these words out:",
        (word for word in words if not re.match(f"{BESIDE}|{FOLLOWED}", word)),
    )
    cfg = load_config(like, [one for one in words if re.match(BESIDE, one)])
    if maker.is_own(like / "config.yaml"):
        cfg.data.generate = bool(judged.get("data.generate"))
    theirs = typed(cfg)
    return replace(settings_of(theirs, str(like)), logger=composed.logger, run=composed.run)


def settings_of(judged: Settings, like: str) -> Settings:
    """Settings of a model on everybody, made of those of the run that stands for it.

    Persons are kept apart for validation only where they choose the epoch.
    """
    validation = judged.protocol.validation if judged.selection == "validation" else 0.0
    protocol = Protocol(name="all", like=like, validation=validation, inner=judged.protocol.inner)
    return replace(judged, protocol=protocol, trial=Trial())
