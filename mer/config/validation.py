"""Dataclasses that check types and ranges as they are made, and the kinds of numbers in them."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, TypeVar, dataclass_transform, get_args, get_type_hints

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from mer.config.sentences import sentences
from mer.errors import raise_all

T = TypeVar("T")

Count = Annotated[int, Field(strict=True, ge=1)]
Pair = Annotated[int, Field(strict=True, ge=2)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Workers = Annotated[int, Field(strict=True, ge=0, le=1024)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
NotNegative = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Probability = Annotated[Number, Field(ge=0, le=1)]


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[T]) -> type[T]:
    """Make a frozen, validated dataclass whose constructor raises `MerError`."""
    made: Any = dataclass(
        frozen=True,
        config=ConfigDict(extra="forbid", validate_by_name=True, validate_by_alias=True),
    )(cls)
    construct: Callable[..., None] = made.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        names = [one.name for one in fields(made)]
        try:
            construct(self, **dict(zip(names, args, strict=False)), **kwargs)
        except ValidationError as error:
            problems = sentences(error, keys(made), nullable=nullable(made))
            raise_all(f"{cls.__name__} cannot be used:", problems)

    made.__init__ = init
    return made


def made_by(kind: Callable[[], Any]) -> Any:
    """A default that is made anew for each object."""
    return Field(default_factory=kind)


def keys(kind: Any, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of a settings class, inner ones included."""
    for one in fields(kind):
        key = prefix + key_of(one)
        yield key
        factory = getattr(one.default, "default_factory", None)
        default = factory() if factory else None
        if is_dataclass(default):
            yield from keys(type(default), f"{key}.")


def nullable(kind: Any, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of a settings class that may be null."""
    hints = get_type_hints(kind)
    for one in fields(kind):
        if type(None) in get_args(hints[one.name]):
            yield prefix + key_of(one)
        factory = getattr(one.default, "default_factory", None)
        default = factory() if factory else None
        if is_dataclass(default):
            yield from nullable(type(default), f"{prefix}{key_of(one)}.")


def key_of(one: Any) -> str:
    """Name of a field in `conf/`."""
    return str(getattr(one.default, "alias", None) or one.name)
