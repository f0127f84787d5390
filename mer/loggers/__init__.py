"""Loggers of a run: the entries of `logger`, ours and Lightning's."""

from collections.abc import Mapping
from typing import Any

from mer.config import trust
from mer.errors import MerError
from mer.loggers.lightning import LightningLogger, is_lightning
from mer.runs.observers import Observer


def make_observers(nodes: Mapping[str, Any] | None) -> list[Observer]:
    """Make the loggers of a configuration.

    Args:
        nodes: The node `logger`: name -> `_target_` and arguments, or null for none. A class with
            the methods of Lightning's loggers is wrapped in a `LightningLogger`.

    Raises:
        MerError: If one cannot be made, or is neither.
    """
    made: list[Observer] = []
    for name, node in (trust.as_plain(nodes) or {}).items():
        if node is None:
            continue
        key = f"logger.{name}"
        if is_lightning(trust.resolve(node.get("_target_"), key)):
            made.append(LightningLogger(node))
            continue
        observer = trust.build(node, key)
        if not isinstance(observer, Observer):
            raise MerError(
                f"{key}._target_={node['_target_']} is neither a subclass of "
                "mer.runs.observers.Observer nor a logger of Lightning's"
            )
        made.append(observer)
    return made
