"""The baseline: leave-one-subject-out as a plain PyTorch script writes it.

Every picture is read from its file, decoded and resized each time that it is needed, by the process
that trains; every fold builds a new network, optimizer and loader. Network, epochs, batch size,
learning rate and augmentation are those of the configuration that it is compared with; weight
decay, loss and SVM are those of the default configuration, and the learning rate is constant.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import timm
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import nn
from torch.utils.data import DataLoader, Dataset


@dataclass(frozen=True)
class Plan:
    """What a script would have at its top.

    Attributes:
        backbone: timm's name.
        size: Side of the inputs in pixels.
        n_classes: K.
        epochs: Whole passes; 0 trains nothing and leaves the network as it is.
        batch_size: Samples per step.
        lr: Learning rate of AdamW.
        augment: Callable on `image=` float32 (S, S, C), as Albumentations has it, or None.
        frozen: Parameters of the network that are not trained, by name.
        seed: Of everything random.
    """

    backbone: str
    size: int
    n_classes: int
    epochs: int
    batch_size: int
    lr: float = 1e-3
    augment: Callable[..., dict[str, Any]] | None = None
    frozen: frozenset[str] = frozenset()
    seed: int = 0


@dataclass
class Outcome:
    """What a fold gave.

    Attributes:
        seconds: Wall time of the whole fold.
        epochs: Seconds of each epoch.
        softmax: Predicted class numbers of the test samples. Shape: (M,).
        svm: The same by an SVM on the embeddings. Shape: (M,).
    """

    seconds: float = 0.0
    epochs: list[float] = field(default_factory=list)
    softmax: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    svm: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def augmentation(
    settings: Mapping[str, Any] | None, seed: int = 0
) -> Callable[..., dict[str, Any]] | None:
    """The augmentation that a script would write with Albumentations, as strong as ours.

    Args:
        settings: The `augment` node (see `mer.data.augmentation.Augmentation`), or None.
        seed: Of its draws.

    Returns:
        A callable on `image=` float32 (S, S, 3) in [0, 1], or None.
    """
    if settings is None:
        return None
    flip, shift, scale, rotate, gain, offset, noise = (
        settings[name] for name in ("flip", "shift", "scale", "rotate", "gain", "offset", "noise")
    )
    steps = [
        *[instantiate(node) for node in settings.get("transforms") or []],
        A.HorizontalFlip(p=flip),
        A.Affine(
            translate_percent=(-shift, shift),
            scale=(1 - scale, 1 + scale),
            rotate=(-rotate, rotate),
            p=1,
        ),
        A.RandomBrightnessContrast(brightness_limit=offset, contrast_limit=gain, p=1),
        A.GaussNoise(std_range=(noise, noise), p=1),
    ]
    return A.Compose(steps, seed=seed)


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Picture files with labels, decoded at each access.

    Args:
        paths: Files of three channels.
        labels: Class numbers.
        size: Side in pixels.
        augment: See `Plan`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labels: Sequence[int],
        size: int,
        augment: Callable[..., dict[str, Any]] | None = None,
    ) -> None:
        self.paths, self.labels, self.size, self.augment = paths, labels, size, augment

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.paths)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int]:
        """A picture (3, S, S) float32 around 0, and its label."""
        picture = cv2.cvtColor(cv2.imread(str(self.paths[item])), cv2.COLOR_BGR2RGB)
        picture = cv2.resize(picture, (self.size, self.size)).astype(np.float32) / 255
        if self.augment is not None:
            picture = self.augment(image=picture)["image"]
        tensor = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
        return (tensor - 0.5) / 0.5, int(self.labels[item])


def run_fold(
    plan: Plan,
    paths: Sequence[Path],
    labels: NDArray[np.int64],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
) -> Outcome:
    """Train and test one fold.

    Args:
        plan: The settings.
        paths: Picture file of every sample.
        labels: Class number of every sample. Shape: (N,).
        train: Positions of the training side.
        test: Positions of the test person.
    """
    started = time.perf_counter()
    torch.manual_seed(plan.seed)
    np.random.seed(plan.seed)
    random.seed(plan.seed)
    outcome = Outcome()

    def pictures(side: NDArray[np.int64], augmented: bool) -> Pictures:
        files = [paths[position] for position in side]
        return Pictures(files, labels[side], plan.size, plan.augment if augmented else None)

    model = timm.create_model(plan.backbone, num_classes=plan.n_classes)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in plan.frozen)
    loader = DataLoader(
        pictures(train, True),
        batch_size=plan.batch_size,
        shuffle=True,
        drop_last=len(train) > plan.batch_size,
    )
    counts = np.bincount(labels[train], minlength=plan.n_classes)
    weights = torch.tensor(len(train) / (plan.n_classes * np.maximum(counts, 1))).float()
    loss_of = nn.CrossEntropyLoss(weight=weights, label_smoothing=0.1)
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=plan.lr, weight_decay=0.05)
    for _ in range(plan.epochs):
        began = time.perf_counter()
        model.train()
        for image, label in loader:
            optimizer.zero_grad()
            loss = loss_of(model(image), label)
            loss.backward()
            optimizer.step()
        outcome.epochs.append(time.perf_counter() - began)
    embeddings, _ = _predict(model, pictures(train, False), plan.batch_size)
    scaler = StandardScaler().fit(embeddings)
    svm = SVC(class_weight="balanced").fit(scaler.transform(embeddings), labels[train])
    embeddings, logits = _predict(model, pictures(test, False), plan.batch_size)
    outcome.softmax = logits.argmax(axis=1)
    outcome.svm = svm.predict(scaler.transform(embeddings))
    outcome.seconds = time.perf_counter() - started
    return outcome


def _predict(
    model: nn.Module, pictures: Pictures, batch_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Embeddings (M, E) and logits (M, K)."""
    model.eval()
    embeddings, logits = [], []
    with torch.no_grad():
        for image, _ in DataLoader(pictures, batch_size=batch_size):
            features = model.forward_features(image)
            embeddings.append(model.forward_head(features, pre_logits=True).double().numpy())
            logits.append(model.forward_head(features).double().numpy())
    return np.concatenate(embeddings), np.concatenate(logits)
