"""Remarks counted: how many samples were dropped or mended, and for which reasons."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mer.datasets.index import Remark

#: Reasons that a line names, and items of each; `dropped.csv` has all.
_MOST, _ITEMS = 4, 2


class Reason(NamedTuple):
    """Remarks whose reasons differ in numbers and in what they cite alone.

    Attributes:
        action: See `Remark`.
        samples: Number of samples that they are about.
        example: The first one.
        more: Number of further ones.
        items: The first items that they are about.
    """

    action: str
    samples: int
    example: str
    more: int
    items: tuple[str, ...] = ()


def reasons(remarks: Sequence[Remark]) -> list[Reason]:
    """Group remarks by action and reason: dropped ones first, then those of most samples."""
    groups: dict[tuple[str, str], list[Remark]] = {}
    for remark in remarks:
        groups.setdefault((remark.action, _general(remark.reason)), []).append(remark)
    found = [
        Reason(
            action,
            sum(remark.samples for remark in group),
            group[0].reason,
            len({remark.reason for remark in group}) - 1,
            tuple(dict.fromkeys(remark.item for remark in group))[: _ITEMS + 1],
        )
        for (action, _), group in groups.items()
    ]
    return sorted(found, key=lambda one: (one.action != "dropped", -one.samples, one.example))


def samples(remarks: Sequence[Remark], action: str) -> int:
    """Count the samples that were `dropped` or `mended`."""
    return sum(remark.samples for remark in remarks if remark.action == action)


def summary(kept: int, remarks: Sequence[Remark]) -> str:
    """Say how many samples were dropped, and why; empty where none was.

    >>> summary(3, [Remark("samm", "dropped", "emotion `other` without class in megc2019", 2)])
    '2 of 5 samples dropped: 2 emotion `other` without class in megc2019 (samm)'
    """
    dropped = [one for one in reasons(remarks) if one.action == "dropped"]
    count = sum(one.samples for one in dropped)
    if not count:
        return ""
    shown = [
        f"{one.samples} {_short(one.example)} ({', '.join(one.items[:_ITEMS])}"
        f"{', ...' if len(one.items) > _ITEMS else ''})"
        for one in dropped[:_MOST]
    ]
    rest = sum(one.samples for one in dropped[_MOST:])
    shown += [f"{rest} for other reasons"] if rest else []
    return f"{count} of {kept + count} samples dropped: {', '.join(shown)}"


def _general(reason: str) -> str:
    """A reason without its numbers and without what it cites, unless that is plain words."""
    reason = re.sub(r"`[^`]*[^`A-Za-z_ -][^`]*`", "", _without_row(reason))
    return re.sub(r"(?<!\w)\d+(\.\d+)?(?!\w)", "", reason)


def _short(reason: str) -> str:
    reason = _without_row(reason)
    return reason if len(reason) <= 80 else f"{reason[:77]}..."


def _without_row(reason: str) -> str:
    return re.sub(r"^row \d+( of [^:]*)?: ", "", reason)
