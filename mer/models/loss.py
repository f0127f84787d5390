"""The loss: cross entropy with class weights and label smoothing, or a user's loss."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mer.config import trust
from mer.errors import MerError, raise_all

#: Mean loss of a batch, given logits (B, K) and class numbers (B,).
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build(
    node: Mapping[str, Any] | None, class_weights: Sequence[float] | None, label_smoothing: float
) -> Loss:
    """Build the loss of a `loss` node.

    A user's class gets the node's other keys, and `weight` (K,) and `label_smoothing` if its
    arguments name them.

    Raises:
        MerError: If the loss cannot be built, or does not take weights or smoothing that are set.
    """
    if node is None:
        return CrossEntropy(class_weights, label_smoothing)
    options = {key: value for key, value in node.items() if key != "_target_"}
    made = trust.resolve(node.get("_target_"), "loss")
    where = f"loss._target_={node.get('_target_')}"
    if not callable(made):
        raise MerError(f"{where} is no class or function")
    parameters = inspect.signature(made).parameters
    weight = None if class_weights is None else torch.tensor(class_weights)
    problems = []
    for name, value, needed, mend in (
        ("weight", weight, class_weights is not None, "class_weights=null"),
        ("label_smoothing", label_smoothing, label_smoothing > 0, "label_smoothing=0"),
    ):
        if name in parameters:
            options[name] = value
        elif needed:
            problems.append(f"{where} takes no `{name}`; set {mend}")
    raise_all("The loss cannot be built:", problems)
    loss: Loss = trust.call(made, "loss", str(node["_target_"]), options)
    return loss


def check(loss: Loss, n_classes: int) -> None:
    """Compute a loss once.

    Raises:
        MerError: If the loss is no scalar that the logits' gradient can follow.
    """
    logits = torch.zeros(2, n_classes, requires_grad=True)
    value = loss(logits, torch.tensor([0, n_classes - 1]))
    if not isinstance(value, torch.Tensor) or value.ndim or not value.requires_grad:
        found = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise MerError(
            f"{type(loss).__name__} gave {found} for logits (2, {n_classes}) and two class numbers;"
            " a loss gives one number, the mean over the batch, as a tensor with a gradient"
        )


class CrossEntropy(nn.Module):
    """What `torch.nn.CrossEntropyLoss` computes, in steps that a CUDA graph can hold.

    With weights and label smoothing, torch selects the labels that are not to be ignored, and waits
    for the GPU to know their number. Here no label is ignored.

    Args:
        weight: Weight of each class, or None for equal ones. Shape: (K,).
        label_smoothing: Share of the target that is spread over all classes, in [0, 1).
    """

    weight: torch.Tensor | None

    def __init__(self, weight: Sequence[float] | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        values = None if weight is None else torch.tensor(weight, dtype=torch.float32)
        self.register_buffer("weight", values)
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch, each sample weighted by its class.

        Args:
            logits: Shape: (B, K).
            label: Class numbers. Shape: (B,), int64.
        """
        surprise = -torch.log_softmax(logits.float(), dim=1)
        weight = torch.ones_like(surprise[0]) if self.weight is None else self.weight
        own = weight[label]
        target = (own * surprise.gather(1, label[:, None])[:, 0]).sum()
        spread = (surprise @ weight).sum() / logits.shape[1]
        smoothing = self.label_smoothing
        return ((1 - smoothing) * target + smoothing * spread) / own.sum()

    def targets(self, label: torch.Tensor, n_classes: int) -> torch.Tensor:
        """What the loss asks for: it is `-(targets * log_softmax(logits)).sum()`.

        Args:
            label: Class numbers of all samples. Shape: (M,), int64.
            n_classes: K.

        Returns:
            Probabilities that the loss wants, times the weights of the samples, which add up to 1
            without label smoothing. Shape: (M, K), float64.
        """
        weight = torch.ones(n_classes) if self.weight is None else self.weight
        own = weight.double()[label][:, None]
        sure = own * nn.functional.one_hot(label, n_classes)
        spread = weight.double() / n_classes
        smoothing = self.label_smoothing
        return ((1 - smoothing) * sure + smoothing * spread) / own.sum()
