"""Settings from a composed configuration, changed settings, and settings as plain values.

Every wrong value and every unknown key is reported at once; neither torch nor Lightning is
imported.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from mer.config.sentences import sentences
from mer.config.settings import SVM, Backbone, Input, Settings, Trainer
from mer.config.validation import key_of, keys, nullable
from mer.errors import raise_all

T = TypeVar("T")

#: Arguments of Lightning's Trainer that `+trainer.NAME=` may add.
LIGHTNING = (
    "accumulate_grad_batches",
    "barebones",
    "benchmark",
    "detect_anomaly",
    "fast_dev_run",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "limit_predict_batches",
    "limit_train_batches",
    "limit_val_batches",
    "max_steps",
    "max_time",
    "overfit_batches",
    "plugins",
    "profiler",
)

#: Settings of callbacks that are checked before their module is imported.
CALLBACKS = {"mer.callbacks.svm_head.SVMHead": SVM}


def read(config: Mapping[str, Any]) -> Settings:
    """Turn a configuration into settings.

    Args:
        config: Plain values, every interpolation resolved (`mer.config.composition.to_plain`).

    Raises:
        MerError: With every wrong value and every unknown key.
    """
    made, wrong = _read(config)
    raise_all("The configuration cannot be used:", wrong)
    return made


def problems(config: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with a configuration, as `read` does; empty if nothing is."""
    return _read(config)[1]


def _read(config: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    plain = {**config, "trainer": _with_options(config.get("trainer"))}
    problems: list[str] = []
    made = Settings()
    try:
        made = TypeAdapter(Settings).validate_python(plain)
    except ValidationError as error:
        known = [*keys(Settings), *(f"trainer.{one}" for one in LIGHTNING)]
        problems += sentences(error, known, nullable=nullable(Settings))
    callbacks = config.get("callbacks")
    for name, node in callbacks.items() if isinstance(callbacks, Mapping) else ():
        kind = CALLBACKS.get(str(node.get("_target_"))) if isinstance(node, Mapping) else None
        if kind is None:
            continue
        try:
            TypeAdapter(kind).validate_python(node)
        except ValidationError as error:
            known = [f"callbacks.{name}.{key}" for key in keys(kind)]
            may_be = nullable(kind, f"callbacks.{name}.")
            problems += sentences(error, known, f"callbacks.{name}", may_be)
    return made, problems


def updated(made: T, changes: Mapping[str, Any], prefix: str) -> T:
    """Change some settings of an object, inner ones included.

    Args:
        made: Settings, which stay as they are.
        changes: Key -> value, or a mapping of inner keys.
        prefix: Dotted key of `made`, for messages.

    Raises:
        MerError: With every wrong value and every unknown key.
    """
    try:
        return TypeAdapter(type(made)).validate_python(_merged(to_plain(made), changes))
    except ValidationError as error:
        known = [f"{prefix}.{key}" for key in keys(type(made))]
        raise_all(
            "The settings cannot be used:",
            sentences(error, known, prefix, nullable(type(made), f"{prefix}.")),
        )
        raise


def changed(made: Settings, changes: Mapping[str, Any]) -> Settings:
    """Change some settings of a run; see `updated`."""
    return read(_merged(to_plain(made), changes))


def without_cache(made: Input) -> dict[str, Any]:
    """What decides the values of an input, as plain values."""
    plain: dict[str, Any] = to_plain(made)
    return {key: value for key, value in plain.items() if key != "cache_gb"}


def to_plain(made: Any) -> Any:
    """Turn settings back into plain values, under the keys of `conf/`."""
    if is_dataclass(made):
        plain = {key_of(one): to_plain(getattr(made, one.name)) for one in fields(made)}
        if isinstance(made, Trainer):
            plain |= plain.pop("options")
        if plain.get("_target_", "") is None:
            del plain["_target_"]
            if not isinstance(made, Backbone) and not plain["kwargs"]:
                del plain["kwargs"]
        return plain
    if isinstance(made, dict):
        return {key: to_plain(value) for key, value in made.items()}
    return [to_plain(value) for value in made] if isinstance(made, list) else made


def _merged(old: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(old[key], value)
        if isinstance(value, Mapping) and isinstance(old.get(key), dict)
        else value
        for key, value in changes.items()
    }
    return {**old, **both}


def _with_options(trainer: Any) -> Any:
    """Move what is Lightning's own into `options`."""
    if not isinstance(trainer, Mapping):
        return {} if trainer is None else trainer
    own = {key: value for key, value in trainer.items() if key not in LIGHTNING}
    return {**own, "options": {key: trainer[key] for key in trainer if key in LIGHTNING}}
