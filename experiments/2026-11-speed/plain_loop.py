"""The baseline: leave-one-subject-out as a plain PyTorch script writes it.

Every picture is read from its file, decoded and resized each time that it is needed, by the process
that trains; every fold builds a new network, optimizer and loader. Network, epochs, batch size,
learning rate and augmentation are those of the configuration that it is compared with; weight
decay, loss and SVM are those of the default configuration, and the learning rate is constant.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import nn
from torch.utils.data import DataLoader, Dataset

Transform = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What a script would have at its top.

    Attributes:
        backbone: timm's name of the network.
        size: Side of the inputs in pixels.
        n_classes: Number of classes K.
        epochs: Whole passes; 0 trains nothing and fits the SVM on the untrained network.
        batch_size: Samples per step.
        lr: Learning rate of AdamW.
        augment: Callable on `image=` float32 (S, S, 3), as Albumentations has it, or None.
        frozen: Names of the network's parameters that are not trained.
        seed: Seed of everything random.
    """

    backbone: str
    size: int
    n_classes: int
    epochs: int
    batch_size: int
    lr: float = 1e-3
    augment: Transform | None = None
    frozen: frozenset[str] = frozenset()
    seed: int = 0


def augmentation(settings: Mapping[str, Any] | None, seed: int = 0) -> Transform | None:
    """Write the augmentation with Albumentations, as strong as that of `conf/model/finetune.yaml`.

    Args:
        settings: The `model.augment` node, or None.
        seed: Seed of its draws.
    """
    if settings is None:
        return None
    flip, shift, scale, rotate, gain, offset, noise = (
        settings[name] for name in ("flip", "shift", "scale", "rotate", "gain", "offset", "noise")
    )
    steps = [
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
        labels: NDArray[np.int64],
        size: int,
        augment: Transform | None = None,
    ) -> None:
        self.paths, self.labels, self.size, self.augment = paths, labels, size, augment

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.paths)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int]:
        """Decode a picture (3, S, S), float32 from -1 to 1, with its label."""
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
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Train and test one fold.

    Args:
        plan: The settings.
        paths: Picture file of every sample.
        labels: Class number of every sample. Shape: (N,).
        train: Positions of the training samples.
        test: Positions of the test person's samples. Shape: (M,).

    Returns:
        Predicted class numbers of the test samples by the softmax and by the SVM. Shape: (M,).
    """
    torch.manual_seed(plan.seed)

    def pictures(side: NDArray[np.int64], augment: Transform | None = None) -> Pictures:
        return Pictures([paths[position] for position in side], labels[side], plan.size, augment)

    model = timm.create_model(plan.backbone, num_classes=plan.n_classes)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in plan.frozen)
    if plan.epochs:
        _train(model, plan, pictures(train, plan.augment), labels[train])
    embeddings, _ = _predict(model, pictures(train), plan.batch_size)
    scaler = StandardScaler().fit(embeddings)
    svm = SVC(class_weight="balanced").fit(scaler.transform(embeddings), labels[train])
    embeddings, logits = _predict(model, pictures(test), plan.batch_size)
    return logits.argmax(axis=1), svm.predict(scaler.transform(embeddings))


def _train(model: nn.Module, plan: Plan, pictures: Pictures, labels: NDArray[np.int64]) -> None:
    loader = DataLoader(
        pictures,
        batch_size=plan.batch_size,
        shuffle=True,
        drop_last=len(pictures) > plan.batch_size,
    )
    counts = np.bincount(labels, minlength=plan.n_classes)
    weights = torch.tensor(len(labels) / (plan.n_classes * np.maximum(counts, 1))).float()
    loss_of = nn.CrossEntropyLoss(weight=weights, label_smoothing=0.1)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=plan.lr, weight_decay=0.05)
    model.train()
    for _ in range(plan.epochs):
        for image, label in loader:
            optimizer.zero_grad()
            loss_of(model(image), label).backward()
            optimizer.step()


def _predict(
    model: nn.Module, pictures: Pictures, batch_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute embeddings (M, E) and logits (M, K)."""
    model.eval()
    embeddings, logits = [], []
    with torch.no_grad():
        for image, _ in DataLoader(pictures, batch_size=batch_size):
            features = model.forward_features(image)
            embeddings.append(model.forward_head(features, pre_logits=True).double().numpy())
            logits.append(model.forward_head(features).double().numpy())
    return np.concatenate(embeddings), np.concatenate(logits)
