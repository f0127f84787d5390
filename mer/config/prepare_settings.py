"""Settings of the preparation: face crop and optical flow; see `mer.config.settings`."""

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictStr

from mer.config.validation import (
    Count,
    NotNegative,
    Number,
    Positive,
    Probability,
    Whole,
    Workers,
    made_by,
    settings,
)


@settings
class DIS:
    """Dense inverse search (OpenCV)."""

    smooth: NotNegative = 1.5
    finest_scale: Whole = 1
    patch_size: Count = 8
    patch_stride: Count = 3
    refinements: Whole = 20
    relaxation: Annotated[Number, Field(gt=0, lt=2)] | None = None
    smoothness: NotNegative = 40.0


@settings
class Farneback:
    """Polynomial expansion (OpenCV)."""

    smooth: NotNegative = 0.0
    levels: Count = 3
    pyramid_scale: Annotated[Number, Field(gt=0, lt=1)] = 0.5
    window: Count = 21
    iterations: Count = 5
    neighbourhood: Count = 5
    sigma: Positive = 1.1


@settings
class TVL1:
    """Total variation with an L1 data term."""

    smooth: NotNegative = 1.0
    weight: Positive = 0.05
    scales: Count = 3
    warps: Count = 2
    iterations: Count = 24


@settings
class Flow:
    """Optical flow from onset to apex, by a built-in method or an own function."""

    method: Literal["dis", "farneback", "tvl1"] | None = "dis"
    stabilise: StrictBool = True
    face_only: StrictBool = True
    dis: DIS = made_by(DIS)
    farneback: Farneback = made_by(Farneback)
    tvl1: TVL1 = made_by(TVL1)
    kwargs: dict[str, Any] = made_by(dict)
    target: StrictStr | None = Field(default=None, alias="_target_")

    @property
    def used(self) -> str | None:
        """Name of the method, or of an own function; None for no flow."""
        return None if self.method is None else self.target or self.method


@settings
class Prepare:
    """From pictures to aligned faces and optical flow."""

    apex: Literal["annotated", "missing", "spotted", "midpoint"] = "annotated"
    faces: Literal["landmarks", "as_is"] = "landmarks"
    size: Annotated[int, Field(strict=True, ge=32, le=1024)] = 224
    margin: Annotated[Number, Field(ge=-0.3, le=2)] = 0.15
    confidence: Probability = 0.5
    min_face: Whole = 60
    flow: Flow = made_by(Flow)
    array_channels: list[Literal["strain", "u", "v"]] = made_by(lambda: ["strain", "v", "u"])
    workers: Workers | None = None
