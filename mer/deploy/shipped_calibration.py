"""Calibration of the weights that come with the package, by `mer.runs.calibration.judge`."""

from mer.runs.calibration import Calibration
from mer.runs.coverage import SHARES, Covered

_MEGC2019 = "442 real clips of MEGC 2019, published as flow pictures, none of which trained it"


def _made(
    temperature: float, errors: tuple[float, float], points: list[tuple[float, float]]
) -> Calibration:
    covered = (Covered(share, *point) for share, point in zip(SHARES, points, strict=True))
    return Calibration(
        temperature, "probabilities", _MEGC2019, 442, 68, *errors, coverage=tuple(covered)
    )


#: Name -> temperature; calibration error before and after; of the surest share of the clips the
#: least confidence, and how many were right.
CALIBRATIONS = {
    "motion-xxs": _made(
        2.080,
        (0.156, 0.032),
        [(0.358, 0.697), (0.533, 0.780), (0.675, 0.816), (0.790, 0.870), (0.892, 0.944)],
    ),
    "motion-mlps": _made(
        2.307,
        (0.175, 0.035),
        [(0.337, 0.706), (0.539, 0.757), (0.675, 0.846), (0.787, 0.904), (0.905, 0.978)],
    ),
}
