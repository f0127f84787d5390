"""Where in the face a network looks: Grad-CAM, pooled over facial regions.

Grad-CAM (Selvaraju et al., ICCV 2017) weights the channels of a feature map by the mean gradient of
the predicted class's logit and keeps the positive part of their sum.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mer.errors import MerError
from mer.models.modules import MERModule

#: A map of fewer cells than this to a side says nothing about where.
LEAST = 4

GRID = 56  # side in cells of maps and region masks

#: Facial regions by landmarks of MediaPipe's face mesh; where two overlap, the first one counts.
# fmt: off
LANDMARKS: dict[str, tuple[tuple[int, ...], ...]] = {
    "brows": ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
              (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)),
    "eyes": ((33, 133, 159, 145, 160, 158, 153, 144), (362, 263, 386, 374, 385, 387, 373, 380)),
    "nose": ((168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 129, 358),),
    "mouth": ((61, 291, 0, 17, 13, 14, 37, 267, 84, 314),),
    "cheeks": ((50, 101, 118, 117, 123, 187, 205, 36), (280, 330, 347, 346, 352, 411, 425, 266)),
}

#: The same for crops that came without landmarks and fit the face tightly, as left, top, right,
#: bottom in shares of the side; looked up on the crops published with HTNet.
BOXES: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "brows": ((.08, .10, .46, .21), (.54, .10, .92, .21)),
    "eyes": ((.08, .21, .46, .34), (.54, .21, .92, .34)),
    "nose": ((.34, .30, .66, .62),),
    "mouth": ((.22, .66, .78, .90),),
    "cheeks": ((.04, .38, .34, .64), (.66, .38, .96, .64)),
}
# fmt: on

NAMES = (*LANDMARKS, "elsewhere")

PADDING = 0.03  # of the side of the crop: landmarks lie on the line of a brow, not around it


def region_mask(landmarks: NDArray[np.floating] | None, size: int) -> NDArray[np.int64]:
    """Say of every cell of a crop in which region it lies.

    Args:
        landmarks: (478, 2) in pixels of the crop, or None for `BOXES`.
        size: Side of the crop in pixels.

    Returns:
        Place in `NAMES`. Shape: (GRID, GRID).
    """
    boxes = BOXES
    if landmarks is not None:
        points = (landmarks + 0.5) / size
        boxes = {
            name: tuple(
                (
                    *(points[list(group)].min(axis=0) - PADDING),
                    *(points[list(group)].max(axis=0) + PADDING),
                )
                for group in groups
            )
            for name, groups in LANDMARKS.items()
        }
    middle = (np.arange(GRID) + 0.5) / GRID
    mask = np.full((GRID, GRID), NAMES.index("elsewhere"))
    for name in reversed(boxes):
        for left, top, right, bottom in boxes[name]:
            rows = (middle >= top) & (middle <= bottom)
            columns = (middle >= left) & (middle <= right)
            mask[np.ix_(rows, columns)] = NAMES.index(name)
    return mask


def region_shares(cam: NDArray[np.floating], mask: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of a map's mass in each region of `NAMES`; NaN where the map is empty."""
    mass = np.bincount(mask.ravel(), weights=cam.ravel(), minlength=len(NAMES))
    total = mass.sum()
    return mass / total if total > 0 else np.full(len(NAMES), np.nan)


def find_layer(module: MERModule, image: torch.Tensor) -> str:
    """Name the step of the backbone whose feature map is used: the last that is fine enough.

    Args:
        module: A trained model.
        image: One input. Shape: (1, C, S, S).

    Raises:
        MerError: If the backbone ends in no map, as vision transformers do, or has no fine one.
    """
    steps = _steps(module.backbone)
    seen: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _, __, output: seen.update(
            {name: tuple(output.shape) if isinstance(output, torch.Tensor) else ()}
        )

    hooks = [step.register_forward_hook(note(name)) for name, step in steps.items()]
    try:
        with torch.no_grad():
            end = module.backbone.forward_features(
                (image - module.input_mean) / module.input_std
            ).shape
    finally:
        for hook in hooks:
            hook.remove()
    kind = type(module.backbone).__name__
    if len(end) != 4 or end[2] != end[3]:
        raise MerError(
            f"{kind} ends in no feature map (channels, height, width), so it has no CAM."
        )
    fine = [n for n, shape in seen.items() if len(shape) == 4 and min(shape[2:]) >= LEAST]
    if not fine:
        raise MerError(f"No feature map of {kind} has {LEAST} x {LEAST} cells at this input size.")
    return fine[-1]


def class_activation(
    module: MERModule, layer: str, images: torch.Tensor
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Grad-CAM of the predicted class of each image.

    Args:
        module: A trained model in evaluation mode.
        layer: Name of a layer of its backbone, from `find_layer`.
        images: Shape: (B, C, S, S).

    Returns:
        Predicted classes, shape (B,), and maps that are 0 or more, shape (B, GRID, GRID).
    """
    kept: list[torch.Tensor] = []

    def start_here(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1]

    hook = module.backbone.get_submodule(layer).register_forward_hook(start_here)
    try:
        with torch.enable_grad():
            best = module(images).max(dim=1)
            (slope,) = torch.autograd.grad(best.values.sum(), kept[-1])
    finally:
        hook.remove()
    weights = slope.mean(dim=(2, 3), keepdim=True)
    cam = torch.relu((weights * kept[-1].detach()).sum(dim=1, keepdim=True))
    large = nn.functional.interpolate(cam, (GRID, GRID), mode="bilinear", align_corners=False)
    return best.indices.numpy(), large[:, 0].numpy()


def explain(module: MERModule, image: torch.Tensor) -> NDArray[np.float32] | None:
    """Grad-CAM of the class that a network favours; other threads may use the network meanwhile.

    Args:
        module: A trained model in evaluation mode.
        image: One input. Shape: (1, C, S, S).

    Returns:
        Shape: (GRID, GRID); None where there is no usable feature map.
    """
    module = copy.deepcopy(module)  # its layers get hooks
    try:
        layer = find_layer(module, image)
    except MerError:
        return None
    map_of_image: NDArray[np.float32] = class_activation(module, layer, image)[1][0]
    return map_of_image


def _steps(backbone: nn.Module) -> dict[str, nn.Module]:
    """Modules that run one after another: children, and children of those that are lists."""
    found: dict[str, nn.Module] = {}
    for name, child in backbone.named_children():
        inner = dict(child.named_children())
        if isinstance(child, nn.ModuleList) or (
            inner and type(child).forward is nn.Sequential.forward
        ):
            found |= {f"{name}.{part}": step for part, step in inner.items()}
        else:
            found[name] = child
    return found
