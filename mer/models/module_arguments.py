"""What is wrong with the arguments of a Lightning module."""

from collections.abc import Mapping
from typing import Any

from mer.models import insertion


def problems(given: Mapping[str, Any]) -> list[str]:
    """Find values that contradict each other or lie out of their range.

    Returns:
        A sentence for each.
    """
    n_classes, in_chans = len(given["classes"]), given["in_chans"]
    found = [
        f"{name} has {len(given[name])} values, the input {in_chans} channels"
        for name in ("input_mean", "input_std")
        if len(given[name]) != in_chans
    ]
    if not all(value > 0 for value in given["input_std"]):
        found.append(f"input_std must be positive, found {given['input_std']}")
    if n_classes < 2 or len(set(given["classes"])) < n_classes:
        found.append(f"classes must be two or more different names: {given['classes']}")
    weights = given["class_weights"]
    if weights is not None and len(weights) != n_classes:
        found.append(f"class_weights has {len(weights)} values for {n_classes} classes")
    for name in ("label_smoothing", "dropout"):
        if not 0 <= given[name] < 1:
            found.append(f"{name}={given[name]} must lie in [0, 1)")
    if given["transformers"] not in insertion.WAYS:
        found.append(f"transformers={given['transformers']}; set {', '.join(insertion.WAYS)}")
    if given["lr_scale"] < 0:
        found.append(f"lr_scale={given['lr_scale']} must be 0 or more")
    return found
