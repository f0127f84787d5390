"""TV-L1 optical flow, solved with Chambolle and Pock's primal-dual algorithm in NumPy.

It minimises the total variation of u and v plus `weight` times the absolute difference of the onset
and the warped apex (Zach, Pock and Bischof, DAGM 2007; Chambolle and Pock, JMIV 40, 2011, alg. 1).
"""

import functools

import numpy as np

#: Primal step in px; the dual step follows from it: 1 / 8 is the most that their product may be.
STEP = 0.1
RADIUS = 8 * STEP  # of the dual variable, which is kept divided by the dual step

#: Side of the smallest level of the pyramid in px.
SMALLEST = 16


def tvl1(
    onset: np.ndarray, apex: np.ndarray, weight: float, scales: int, warps: int, iterations: int
) -> np.ndarray:
    """Compute the flow from the onset to the apex.

    Args:
        onset: float32 (H, W) in grey levels, smoothed as far as noise demands.
        apex: float32 (H, W).
        weight: Weight of the data term, per grey level; a smaller one gives a smoother flow.
        scales: Levels of the pyramid, each half as large as the one before.
        warps: Times that the apex is warped and its difference is taken anew, per level.
        iterations: Per warp on the full size, twice as many on each smaller level.

    Returns:
        float32 (H, W, 2), u and v in px.
    """
    import cv2

    levels = [(onset, apex)]
    while len(levels) < scales and min(levels[-1][0].shape) >= 2 * SMALLEST:
        half = tuple(side // 2 for side in reversed(levels[-1][0].shape))
        levels.append(
            tuple(cv2.resize(picture, half, interpolation=cv2.INTER_AREA) for picture in levels[-1])
        )
    flow = np.zeros((2, *levels[-1][0].shape), np.float32)
    for level in reversed(range(len(levels))):
        first, last = levels[level]
        flow = _enlarge(flow, first.shape)
        dual = np.zeros((2, 2, *first.shape), np.float32)
        for _ in range(warps):
            _solve(flow, dual, *_linearise(first, last, flow), weight, iterations * 2**level)
            # Single vectors that the pictures led astray would otherwise steer the next warp.
            for part in flow:
                part[...] = cv2.medianBlur(part, 5)
    return np.moveaxis(flow, 0, -1)


def _enlarge(flow: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    import cv2

    if flow.shape[1:] == shape:
        return flow
    factor = np.float32(shape[1] / flow.shape[2]), np.float32(shape[0] / flow.shape[1])
    enlarged = [cv2.resize(part, shape[::-1], interpolation=cv2.INTER_LINEAR) for part in flow]
    return np.stack([part * f for part, f in zip(enlarged, factor, strict=True)])


@functools.lru_cache(maxsize=8)
def _grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return columns, rows


def _linearise(
    first: np.ndarray, last: np.ndarray, flow: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give gradient (2, H, W) and rest (H, W): the difference at a flow w is gradient . w + rest.

    The warp is linear, which takes a ramp to its right place. The cubic of `cv2.remap` (a = -0.75)
    moves a ramp by 0.136 px where 0.1 px are asked for, so that a flow found with it is too short.
    """
    import cv2

    columns, rows = _grid(first.shape)
    border = cv2.BORDER_REPLICATE
    warped = cv2.remap(last, columns + flow[0], rows + flow[1], cv2.INTER_LINEAR, borderMode=border)
    middle = (first + warped) / 2
    # Five points: the difference of two neighbours is a tenth too small on the finest texture.
    slope = np.array([[1, -8, 0, 8, -1]], np.float32) / 12
    gradient = np.stack(
        [cv2.filter2D(middle, -1, kernel, borderType=border) for kernel in (slope, slope.T)]
    )
    return gradient, warped - first - (gradient * flow).sum(axis=0)


def _solve(
    flow: np.ndarray,
    dual: np.ndarray,
    gradient: np.ndarray,
    rest: np.ndarray,
    weight: float,
    iterations: int,
) -> None:
    """Improve flow (2, H, W) and dual (u or v, along x or y, H, W) in place."""
    inverse = 1 / ((gradient**2).sum(axis=0) + np.float32(0.01))
    limit = np.float32(STEP * weight)
    scale, radius = np.float32(1 / 8), np.float32(RADIUS)  # step times dual step is 1 / 8
    ahead, moved, product = flow.copy(), np.empty_like(flow), np.empty_like(flow)
    length, squares = np.empty_like(flow), np.empty_like(dual)
    error = np.empty_like(rest)
    for _ in range(iterations):
        dual[:, 0, :, :-1] += ahead[:, :, 1:] - ahead[:, :, :-1]
        dual[:, 1, :-1] += ahead[:, 1:] - ahead[:, :-1]
        np.multiply(dual, dual, out=squares)
        np.add(squares[:, 0], squares[:, 1], out=length)
        np.sqrt(length, out=length)
        np.maximum(length, radius, out=length)
        np.divide(radius, length, out=length)
        dual *= length[:, None]
        # The divergence, then the step along it.
        np.add(dual[:, 0], dual[:, 1], out=moved)
        moved[:, :, 1:] -= dual[:, 0, :, :-1]
        moved[:, 1:] -= dual[:, 1, :-1]
        moved *= scale
        moved += flow
        # The data term has a closed solution along the gradient.
        np.multiply(moved, gradient, out=product)
        np.add(product[0], product[1], out=error)
        error += rest
        error *= inverse
        np.clip(error, -limit, limit, out=error)
        np.multiply(gradient, error, out=product)
        moved -= product
        np.multiply(moved, 2, out=ahead)
        ahead -= flow
        flow[...] = moved
