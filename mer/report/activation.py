"""Where in the face the networks of a run look: Grad-CAM, pooled over facial regions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.errors import MerError
from mer.models.grad_cam import GRID, NAMES, class_activation, find_layer, region_shares
from mer.report.fold_networks import Absent, Networks

BATCH = 128


@dataclass
class Activation:
    """What the networks of a run see in the samples that they were tested on, in dataset order.

    Attributes:
        layer: Step of the backbone whose feature map was used.
        predicted: Class that the softmax predicts for each sample.
        maps: Class activation of each sample. Shape: (N, GRID, GRID).
    """

    layer: str
    predicted: NDArray[np.object_]
    maps: NDArray[np.float32]


def activate(networks: Networks) -> Activation:
    """Send each sample through the network that was tested on it.

    Raises:
        Absent: If a network cannot be loaded, or has no usable feature map.
    """
    count = len(networks.dataset)
    seen = Activation("", np.empty(count, object), np.zeros((count, GRID, GRID), np.float32))
    for tested, module in networks.modules():
        try:
            seen.layer = seen.layer or find_layer(module, networks.batch(tested[:1]))
        except MerError as error:
            raise Absent(str(error)) from error
        for part in np.array_split(tested, range(BATCH, len(tested), BATCH)):
            best, seen.maps[part] = class_activation(module, seen.layer, networks.batch(part))
            seen.predicted[part] = np.asarray(module.classes, object)[best]
    return seen


def pool(
    maps: NDArray[np.float32], masks: Sequence[NDArray[np.int64]], predicted: NDArray[np.object_]
) -> tuple[pd.DataFrame, pd.Series]:
    """Share out activation among the facial regions.

    Returns:
        Mean share of each region's activation, a row per predicted class, samples without
        activation left out; and the mean share of the area.
    """
    areas = [region_shares(np.ones_like(cam), mask) for cam, mask in zip(maps, masks, strict=True)]
    shares = [region_shares(cam, mask) for cam, mask in zip(maps, masks, strict=True)]
    table = pd.DataFrame(shares, columns=list(NAMES)).groupby(predicted).mean()
    return table, pd.Series(np.mean(areas, axis=0), index=list(NAMES))
