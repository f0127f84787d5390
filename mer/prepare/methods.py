"""The flow methods, set up for motion below one pixel, and what each is worth.

The defaults of `mer.config.settings.Flow` come from `experiments/2026-11-flow-speed`: synthetic
face crops of 224 px, moved by known fields and given noise of 2 grey levels. The table lists the
mean end-point error in px inside the face where nothing moves and where it moves by up to 0.1, 0.5
and 2 px; the recovered share of 0.1, 0.5 and 2 px; CPU milliseconds of a pair.

========= ===== ====== ====== ===== ====== ====== ===== ==
method    still 0.1 px 0.5 px 2 px  0.1 px 0.5 px 2 px  ms
========= ===== ====== ====== ===== ====== ====== ===== ==
dis       .035  .034   .042   .053  1.01   1.00   .98   25
farneback .051  .055   .059   .101  1.13   1.02   .99   15
tvl1      .023  .028   .036   .069  1.09   1.00   .93   85
========= ===== ====== ====== ===== ====== ====== ===== ==

DIS is the default: about as true as TV-L1 in a third of the time. TV-L1 bears noise better:
0.061 px at 5 grey levels, DIS 0.105. OpenCV's own TV-L1 takes 1,100 ms and shortens motion
below half a pixel, because its cubic warp goes too far (see `tvl1.py`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from mer.config.settings import DIS, TVL1, Farneback
from mer.prepare.tvl1 import tvl1


def _smooth(picture: np.ndarray, sigma: float) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0 else picture


def _dis(onset: np.ndarray, apex: np.ndarray, options: DIS) -> np.ndarray:
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(options.finest_scale)
    search.setPatchSize(options.patch_size)
    search.setPatchStride(options.patch_stride)
    sigma = options.smooth
    field = search.calc(_smooth(onset, sigma), _smooth(apex, sigma), None)
    if options.refinements:
        # The search ends at half resolution on 8-bit pictures; a last variational step at full
        # resolution on floats takes a quarter of the error away.
        last = cv2.VariationalRefinement.create()
        last.setAlpha(options.smoothness)
        last.setSorIterations(options.refinements)
        if options.relaxation is not None:
            last.setOmega(options.relaxation)
        first, second = (_smooth(p.astype(np.float32), sigma) for p in (onset, apex))
        field = last.calc(first, second, field)
    return field


def _farneback(onset: np.ndarray, apex: np.ndarray, options: Farneback) -> np.ndarray:
    import cv2

    sigma = options.smooth
    return cv2.calcOpticalFlowFarneback(
        _smooth(onset, sigma),
        _smooth(apex, sigma),
        None,
        pyr_scale=options.pyramid_scale,
        levels=options.levels,
        winsize=options.window,
        iterations=options.iterations,
        poly_n=options.neighbourhood,
        poly_sigma=options.sigma,
        flags=0,
    )


def _tvl1(onset: np.ndarray, apex: np.ndarray, options: TVL1) -> np.ndarray:
    # Blurring 8-bit pictures would round away motion below 0.1 px.
    pair = [_smooth(picture.astype(np.float32), options.smooth) for picture in (onset, apex)]
    return tvl1(pair[0], pair[1], options.weight, options.scales, options.warps, options.iterations)


#: Method -> function of onset, apex (uint8 (H, W)) and options, giving float32 (H, W, 2): u and v.
COMPUTE: dict[str, Callable[[np.ndarray, np.ndarray, Any], np.ndarray]] = {
    "dis": _dis,
    "farneback": _farneback,
    "tvl1": _tvl1,
}
