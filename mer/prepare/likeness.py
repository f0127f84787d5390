"""How alike the grey levels of two face crops are."""

import numpy as np

#: Least likeness of one face: real faces of different persons reach .59, 95 % of synthetic
#: macro-expressions .63, micro-expressions .95 and more.
ALIKE = 0.6


def likeness(onset: np.ndarray, apex: np.ndarray, inside: np.ndarray) -> float:
    """Correlate the grey levels of two crops: -1 to 1; 1 for two plain surfaces.

    Args:
        onset: uint8 (H, W), gray.
        apex: uint8 (H, W), gray.
        inside: bool (H, W), where to look.
    """
    grey = [picture[inside] for picture in (onset, apex)]
    spread = [float(one.std()) for one in grey]
    if min(spread) == 0:
        return 1.0 if spread[0] == spread[1] else 0.0
    return float(np.corrcoef(grey[0], grey[1])[0, 1])
