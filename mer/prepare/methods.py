"""The flow methods of OpenCV, set up for motion below one pixel, and what each is worth."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mer.prepare.tvl1 import tvl1

#: Method -> settings with defaults. From `experiments/2026-11-flow-speed`: synthetic face crops of
#: 224 px, moved by known fields and given noise of 2 grey levels. Mean end-point error in px inside
#: the face where nothing moves and where it moves by up to 0.1, 0.5 and 2 px; recovered share of
#: 0.1, 0.5 and 2 px; CPU milliseconds of a pair.
#:
#: ========= ===== ====== ====== ===== ====== ====== ===== ==
#: method    still 0.1 px 0.5 px 2 px  0.1 px 0.5 px 2 px  ms
#: ========= ===== ====== ====== ===== ====== ====== ===== ==
#: dis       .035  .034   .042   .053  1.01   1.00   .98   25
#: farneback .051  .055   .059   .101  1.13   1.02   .99   15
#: tvl1      .023  .028   .036   .069  1.09   1.00   .93   85
#: ========= ===== ====== ====== ===== ====== ====== ===== ==
#:
#: DIS is the default: about as true as TV-L1 in a third of the time. TV-L1 bears noise better:
#: 0.061 px at 5 grey levels, DIS 0.105. OpenCV's own TV-L1 takes 1,100 ms and shortens motion
#: below half a pixel, because its cubic warp goes too far (see `tvl1.py`).
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
    "tvl1": {"smooth": 1.0, "weight": 0.05, "scales": 3, "warps": 2, "iterations": 24},
}


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
    # Blurring 8-bit pictures would round away motion below 0.1 px.
    pair = [_smooth(picture.astype(np.float32), options["smooth"]) for picture in (onset, apex)]
    scales, warps, iterations = (int(options[k]) for k in ("scales", "warps", "iterations"))
    return tvl1(*pair, float(options["weight"]), scales, warps, iterations)


#: Method -> function of onset, apex (uint8 (H, W)) and options, giving float32 (H, W, 2): u and v.
COMPUTE = {"dis": _dis, "farneback": _farneback, "tvl1": _tvl1}
