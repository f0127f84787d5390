"""The flow methods of OpenCV, set up for motion below one pixel, and what each is worth."""

from collections.abc import Mapping
from typing import Any

import numpy as np

#: Method -> settings with defaults. Measured on 6 real face crops of 224 px, moved by known fields
#: (by splines of order 5; `cv2.remap` itself is off by up to .05 px) and given noise of 2 grey
#: levels: recovered share of a constant shift of 0.1, 0.3 and 1 px; mean error in px if brows and
#: mouth move by up to 0.5 and 3 px, and where nothing moves; milliseconds of one core.
#:
#: ========= ====== ====== ====== ====== ====== ===== ======
#: method    0.1 px 0.3 px 1 px   0.5 px 3 px   still ms
#: ========= ====== ====== ====== ====== ====== ===== ======
#: dis       .97    1.03   1.01   .058   .127   .034  33
#: farneback .96    .96    .92    .080   .197   .071  17
#: tvl1      .78    .86    1.00   .055   .121   .043  320
#: ========= ====== ====== ====== ====== ====== ===== ======
#:
#: OpenCV's own TV-L1 settings recover .69, .87 and 1.00, and 64 % of the 0.5 px of brows and mouth
#: (these: 76 %), in 1100 ms. DIS is the default: true to small motion, and in every OpenCV wheel.
DEFAULTS: dict[str, dict[str, float]] = {
    "dis": {
        "smooth": 1.5,
        "finest_scale": 1,
        "patch_size": 8,
        "patch_stride": 3,
        "refinements": 20,
        "smoothness": 40.0,
    },
    "farneback": {
        "smooth": 0.0,
        "levels": 3,
        "pyramid_scale": 0.5,
        "window": 21,
        "iterations": 5,
        "neighbourhood": 5,
        "sigma": 1.1,
    },
    "tvl1": {
        "smooth": 1.0,
        "lambda": 0.3,
        "theta": 0.3,
        "scales": 4,
        "scale_step": 0.5,
        "warps": 2,
        "iterations": 5,
    },
}


def has_tvl1() -> bool:
    """Whether this OpenCV has its contrib modules, and TV-L1 with them."""
    import cv2

    return hasattr(cv2, "optflow") and hasattr(cv2.optflow, "DualTVL1OpticalFlow_create")


def _smooth(picture: np.ndarray, sigma: float) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0 else picture


def _dis(onset: np.ndarray, apex: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(int(options["finest_scale"]))
    search.setPatchSize(int(options["patch_size"]))
    search.setPatchStride(int(options["patch_stride"]))
    sigma = options["smooth"]
    field = search.calc(_smooth(onset, sigma), _smooth(apex, sigma), None)
    if options["refinements"]:
        # The search ends at half resolution on 8-bit pictures; a last variational step at full
        # resolution on floats takes a quarter of the error away.
        last = cv2.VariationalRefinement.create()
        last.setAlpha(float(options["smoothness"]))
        last.setSorIterations(int(options["refinements"]))
        first, second = (_smooth(p.astype(np.float32), sigma) for p in (onset, apex))
        field = last.calc(first, second, field)
    return field


def _farneback(onset: np.ndarray, apex: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    import cv2

    sigma = options["smooth"]
    return cv2.calcOpticalFlowFarneback(
        _smooth(onset, sigma),
        _smooth(apex, sigma),
        None,
        pyr_scale=float(options["pyramid_scale"]),
        levels=int(options["levels"]),
        winsize=int(options["window"]),
        iterations=int(options["iterations"]),
        poly_n=int(options["neighbourhood"]),
        poly_sigma=float(options["sigma"]),
        flags=0,
    )


def _tvl1(onset: np.ndarray, apex: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    import cv2

    flow = cv2.optflow.DualTVL1OpticalFlow_create()
    flow.setLambda(float(options["lambda"]))
    flow.setTheta(float(options["theta"]))
    flow.setScalesNumber(int(options["scales"]))
    flow.setScaleStep(float(options["scale_step"]))
    flow.setWarpingsNumber(int(options["warps"]))
    flow.setOuterIterations(int(options["iterations"]))
    # Blurring 8-bit pictures would round away motion below 0.1 px; the method takes floats in 0-1.
    pair = [
        _smooth(picture.astype(np.float32) / 255, options["smooth"]) for picture in (onset, apex)
    ]
    return flow.calc(*pair, None)


#: Method -> function of onset, apex (uint8 (H, W)) and options, giving float32 (H, W, 2): u and v.
COMPUTE = {"dis": _dis, "farneback": _farneback, "tvl1": _tvl1}
