"""The entries of `callbacks`: heads, and plain Lightning callbacks.

Heads are fitted when a training ends, and again in an evaluation. Plain callbacks take part in the
training of a fold's network (not in those of `protocol.inner`) and in nothing else.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from mer.callbacks.head import Head, name_problems
from mer.callbacks.svm_head import SVMHead
from mer.config import trust
from mer.errors import MerError, one_line
from mer.files import write_whole


def make_callbacks(
    nodes: Mapping[str, Any], svm: Mapping[str, Any] | None = None
) -> dict[str, pl.Callback]:
    """Make the callbacks of a configuration: key -> callback.

    Args:
        nodes: The node `callbacks`: key -> `_target_` and its arguments, or null for none.
        svm: Settings that replace those of the head named svm, as `protocol.inner` chooses them.
    """
    made = {key: _make(key, node) for key, node in nodes.items() if node is not None}
    if svm:
        made |= {key: _make(key, nodes[key], **svm) for key in svm_heads(made)}
    return made


def heads_of(callbacks: Mapping[str, pl.Callback]) -> list[Head]:
    """The heads among callbacks, in their order; the first one is the main one."""
    return [one for one in callbacks.values() if isinstance(one, Head)]


def heads_by_key(nodes: Mapping[str, Any]) -> dict[str, Head]:
    """Make the heads of the node `callbacks`: key -> head."""
    return {key: one for key, one in make_callbacks(nodes).items() if isinstance(one, Head)}


def plain_of(callbacks: Mapping[str, pl.Callback]) -> dict[str, pl.Callback]:
    """The callbacks that are no heads."""
    return {key: one for key, one in callbacks.items() if not isinstance(one, Head)}


def svm_heads(callbacks: Mapping[str, pl.Callback]) -> dict[str, SVMHead]:
    """The SVM head named svm, whose settings `protocol.inner` chooses; empty if there is none."""
    return {
        key: one for key, one in callbacks.items() if isinstance(one, SVMHead) and one.name == "svm"
    }


def problems(nodes: Mapping[str, Any], classes: Sequence[str]) -> list[str]:
    """Find callbacks that cannot be made, and heads whose names are not theirs alone."""
    sentences: list[str] = []
    heads: dict[str, Head] = {}
    for key, node in nodes.items():
        try:
            made = make_callbacks({key: node}).get(key)
        except MerError as error:
            sentences.append(str(error))
        else:
            if isinstance(made, Head):
                heads[key] = made
    return sentences + name_problems(heads, classes)


def write_states(heads: Iterable[Head], path: Path) -> None:
    """Write the state of fitted heads: name -> `state_dict` of the head."""
    states = {head.name: dict(head.state_dict()) for head in heads}
    try:
        content = _saved(states)
    except MerError:
        for name, state in states.items():
            try:
                _saved(state)
            except MerError as error:
                raise MerError(
                    f"state_dict of the head {name} holds more than tensors, numbers, texts, lists "
                    f"and dictionaries, so it could not be loaded safely: {error}"
                ) from error
        raise
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def _saved(values: Mapping[str, Any]) -> bytes:
    """Bytes of a file of tensors and plain values, which has been loaded to see that it can be."""
    stream = io.BytesIO()
    torch.save(values, stream)
    stream.seek(0)
    try:
        torch.load(stream, weights_only=True)
    except Exception as error:
        raise MerError(one_line(error)) from error
    return stream.getvalue()


def _make(key: str, node: Any, **changes: Any) -> pl.Callback:
    try:
        made = trust.build(node, f"callbacks.{key}", **changes)
    except MerError:
        raise
    except Exception as error:  # whatever the constructor of a user's class raises
        raise MerError(f"callbacks.{key} cannot be made: {one_line(error)}") from error
    if not isinstance(made, pl.Callback):
        raise MerError(
            f"callbacks.{key} is no callback but {type(made).__name__}; let its _target_ name a "
            "class of Lightning callbacks, such as a subclass of mer.callbacks.head.Head"
        )
    return made
