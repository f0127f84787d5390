"""Named variants of a run's input, heads and model, of which each fold chooses one.

`protocol.inner.pipelines` maps a name to keys and values: `{plain: {input.scale: none}, scaled:
{input.scale: channel, input.blur: 0.7}}`. The chosen one is the fold's configuration.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mer.config.conversion import changed, to_plain
from mer.config.settings import Settings
from mer.data import inputs
from mer.errors import MerError
from mer.models import backbones
from mer.runs.observers import RunContext
from mer.training import head_sources
from mer.training.heads import heads_by_key

#: Groups that a pipeline may change; the model where there is a network to train.
GROUPS = ("input", "callbacks", "model")


def names(settings: Settings) -> list[str]:
    """Names of the pipelines to choose from; empty where a run has one alone."""
    inner = settings.protocol.inner
    chooses = inner.n_splits is not None and "pipeline" in inner.choose
    return list(inner.pipelines) if chooses else []


def settings_of(settings: Settings, name: str) -> Settings:
    """Settings of a run under one of its pipelines."""
    return changed(settings, nested(settings.protocol.inner.pipelines[name]))


def run_of(run: RunContext, name: str) -> RunContext:
    """A run under one of its pipelines; its inputs are built once."""
    settings = settings_of(run.settings, name)
    return replace(run, settings=settings, dataset=run.dataset.as_input(settings.input))


def problems(settings: Settings) -> list[str]:
    """What of the pipelines cannot be used, each with the mend."""
    chosen = names(settings)
    if not chosen:
        return [
            "protocol.inner.choose names pipeline, and there is none; name them in a file of "
            "conf/experiment, or by '+protocol.inner.pipelines={NAME: {KEY: VALUE}}'"
        ]
    groups, found = _groups(settings), []
    for name in chosen:
        key = f"protocol.inner.pipelines.{name}"
        keys = nested(settings.protocol.inner.pipelines[name])
        others = [group for group in keys if group not in groups]
        if others:
            found.append(
                f"{key} changes {', '.join(others)}; it may change {', '.join(groups)}"
                + ("" if "model" in groups else ": there is no network to train")
            )
            continue
        try:
            made = settings_of(settings, name)
            kind = inputs.make(made.input).kind
            sources = head_sources.problems(heads_by_key(made.callbacks), made)
            found += [f"{key}: {sentence}" for sentence in sources]
        except MerError as error:
            found.append(f"{key}: {error}")
            continue
        if settings.macro.enabled and made.input != settings.input:
            found.append(
                f"{key} changes the input, and macro.enabled=true pretrains on one input; set "
                "macro.enabled=false"
            )
        if list(made.callbacks) != list(settings.callbacks):
            found.append(f"{key} adds callbacks; name them under callbacks, and change them here")
        if kind.needs_onset and not inputs.make(settings.input).kind.needs_onset:
            found.append(
                f"{key} needs an onset, which input={settings.input.name} does not ask for"
            )
    return found


def nested(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into mappings: {a.b: 1} into {a: {b: 1}}."""
    made: dict[str, Any] = {}
    for key, value in keys.items():
        inner = made
        *groups, last = str(key).split(".")
        for group in groups:
            inner = inner.setdefault(group, {})
        both = isinstance(value, Mapping) and isinstance(inner.get(last), dict)
        inner[last] = {**inner[last], **value} if both else value
    return made


def _groups(settings: Settings) -> tuple[str, ...]:
    channels = inputs.make(settings.input).kind.channels
    learns = backbones.can_learn(to_plain(settings.backbone), channels)
    return GROUPS if learns else GROUPS[:-1]
