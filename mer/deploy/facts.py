"""Facts of a model: everything that a prediction needs beside the network and its heads.

A model file keeps them as JSON beside its graph, so that it can be used without its run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mer.config import trust as trusted
from mer.config.conversion import to_plain, updated
from mer.config.settings import Input, Prepare
from mer.errors import MerError, raise_all
from mer.runs.calibration import Calibration, from_plain


@dataclass(frozen=True)
class Facts:
    """What is known of a model.

    Attributes:
        name: Name of the model for people, such as `motion-xxs` or `runs/demo, fold samm-006`.
        classes: Names of the K classes in the order of the scores.
        heads: Names of the heads; the first one decides the label.
        prepare: Settings of the preparation of its samples.
        input: Kind and size of its input.
        offsets: Head -> what is added to the score (the logarithm of a probability) of each class
            before the highest one wins; none where a head is missing.
        calibration: Head -> how its scores become probabilities.
        units: Numbers of the action units of the output `units` (B, 2 U): intensities of the
            person's left half of the face, then of the right half. Empty where there is none.
        warnings: What whoever reads a prediction should know of the model, in sentences.
        provenance: Who trained it on what, as its checkpoint says; plain values.
    """

    name: str
    classes: tuple[str, ...]
    heads: tuple[str, ...]
    prepare: Prepare
    input: Input
    offsets: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    units: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, those of the provenance under their own keys."""
        plain = {one.name: _plain(getattr(self, one.name)) for one in fields(self)}
        return {**plain.pop("provenance"), **plain}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], path: Path, trust: Iterable[str] = ()) -> "Facts":
        """Read what `as_dict` gave."""
        needed = ("classes", "heads", "prepare", "input")
        lacking = [f"no {key}" for key in needed if not plain.get(key)]
        raise_all(f"{path} does not say what a prediction needs; export it again:", lacking)
        trusted.check({key: plain[key] for key in ("prepare", "input")}, path, trust)
        try:
            return cls(
                name=str(plain.get("name") or path.name),
                classes=tuple(map(str, plain["classes"])),
                heads=tuple(map(str, plain["heads"])),
                prepare=updated(Prepare(), plain["prepare"], "prepare"),
                input=updated(Input(), plain["input"], "input"),
                offsets={k: tuple(map(float, v)) for k, v in plain.get("offsets", {}).items()},
                calibration={k: from_plain(v) for k, v in plain.get("calibration", {}).items()},
                units=tuple(map(int, plain.get("units", ()))),
                warnings=tuple(map(str, plain.get("warnings", ()))),
                provenance={k: v for k, v in plain.items() if k not in _NAMES},
            )
        except (TypeError, ValueError, AttributeError, MerError) as error:
            raise MerError(f"{path} is damaged ({error}); export it again") from error


_NAMES = {one.name for one in fields(Facts)}


def _plain(value: Any) -> Any:
    if isinstance(value, Calibration):
        return value.as_dict()
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return to_plain(value)
