"""Samples of a run whose pictures are equal or nearly equal.

`signatures.parquet` holds digest and signature (`mer.prepare.signature`) of every sample, those of
macro-pretraining included. Equal are two samples with one digest. Nearly equal are two faces if
both the apexes and their differences from the onsets correlate, and two flows if these do.

The limits were measured. Among different persons the highest correlation of faces was .974 (442
micro-expression clips, 981 pictures of CK+48), that of flows .979 (442 clips of MEGC 2019, 327 of
CK+, 382 others). Copies of these are found after noise of 2 grey levels and JPEG of quality 90 (99
in 100), a shift by a pixel (97 in 100 pictures of 48 pixels, all larger ones); of flow pictures of
28 pixels, half and more after JPEG of quality 75.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.config.settings import Settings
from mer.data.corpus import Corpus
from mer.errors import MerError, raise_all
from mer.files import write_parquet
from mer.prepare.signature import SIDE
from mer.protocols import LEAKY, Fold
from mer.runs import run_files

FILE = "signatures.parquet"

#: Least correlation of the apexes of nearly equal faces, and of nearly equal flows.
ALIKE = 0.985

#: Least correlation of the differences from the onset, where both are known.
ALIKE_MOTION = 0.95

#: Least correlation of planes that are not moved, for flows, for faces, and for the differences of
#: these from the onset, to look closer at them.
ROUGH = (0.8, 0.9)
ROUGH_MOTION = 0.7

#: Moves of one sample's planes against the other's, in cells.
STEPS = (-0.5, -0.25, 0.0, 0.25, 0.5)

#: Samples, or pairs of them, that are compared at a time.
BLOCK = 2048

Planes = NDArray[np.float32]


class Twins(NamedTuple):
    """Two samples with equal or nearly equal pictures."""

    first: str
    second: str
    equal: bool

    def __str__(self) -> str:
        """Both, and how like they are."""
        return f"{self.first} {'equals' if self.equal else 'nearly equals'} {self.second}"


class Split(NamedTuple):
    """What twins mean for a run.

    `leaks` are of different persons, one learnt from where the other is tested; `accepted` would
    be, but stand in `data.distinct`; `others` do no harm (nearly equal ones of one person are left
    out, as the clips of a person often look alike).
    """

    leaks: list[Twins]
    accepted: list[Twins]
    others: list[Twins]


def table_of(corpus: Corpus, macro: Corpus | None) -> pd.DataFrame:
    """Digests and signatures of samples, and of macro samples of other persons.

    Returns:
        sample_id, role, person, kind (face or flow), digest (hexadecimal digits, empty where there
        is no content), signature (bytes).
    """
    parts = [_part(corpus, "micro")]
    if macro is not None:
        known = macro.table["person"].isin(corpus.table["person"])
        parts.append(_part(macro._replace(table=macro.table[~known]), "macro"))
    return pd.concat(parts, ignore_index=True)


def _part(corpus: Corpus, role: str) -> pd.DataFrame:
    table = corpus.table[["sample_id", "person"]].assign(role=role)
    places = list(zip(corpus.table["store"], corpus.table["row"], strict=True))
    digests = [bytes(corpus.stores[store].digest[row]) for store, row in places]
    faces = [corpus.stores[store].frames is not None for store, _ in places]
    return table.assign(
        kind=np.where(faces, "face", "flow"),
        digest=[value.hex() if any(value) else "" for value in digests],
        signature=[corpus.stores[store].signature[row].tobytes() for store, row in places],
    )


def check(
    run_dir: Path, settings: Settings, corpus: Corpus, macro: Corpus | None, folds: Sequence[Fold]
) -> None:
    """Write the signatures of a run, and refuse it if twins leak."""
    table = table_of(corpus, macro)
    path = run_dir / FILE
    if not path.exists():
        write_parquet(table, path)
    elif not _digests(run_files.read_table(path)).equals(_digests(table)):
        raise MerError(
            f"The pictures have changed since {run_dir} was started. Start a new run directory."
        )
    if settings.protocol.name in LEAKY:  # which tests persons who train, and says so
        return
    sides = ((fold.test, {*fold.train, *fold.validation}) for fold in folds)
    raise_all(
        "Samples of different persons have equal or nearly equal pictures, and one is learnt from "
        "where the other is tested. Remove one of the two; or, if both are of one person, say so "
        "in the column `person` of your table, or else in a CSV of subject,person that "
        "data.micro.NAME.persons names; or, if you have looked at them and they are different "
        "recordings, set data.distinct=[[ID,ID]]:",
        map(str, sort_out(table, sides, settings.data.distinct).leaks),
    )


def join(run_dir: Path, parts: Iterable[Path]) -> None:
    """Write the signatures of a run that is assembled from the folds of others."""
    tables = [run_files.read_table(part / FILE) for part in parts if (part / FILE).exists()]
    if tables:
        write_parquet(pd.concat(tables).drop_duplicates("sample_id"), run_dir / FILE)


def _digests(table: pd.DataFrame) -> "pd.Series[str]":
    return table.set_index("sample_id")["digest"].sort_index()


def sort_out(
    table: pd.DataFrame,
    sides: Iterable[tuple[Iterable[str], set[str]]],
    distinct: Iterable[Sequence[str]],
) -> Split:
    """Find the twins of a table and tell which leak."""
    person_of = dict(zip(table["sample_id"], table["person"], strict=True))
    macro = set(table.loc[table["role"] == "macro", "sample_id"])
    learnt = {sample: train for tested, train in sides for sample in tested}
    known = {frozenset(map(str, pair)) for pair in distinct}
    split = Split([], [], [])
    for pair in find(table):
        one, other = pair.first, pair.second
        apart = other in learnt.get(one, ()) or one in learnt.get(other, ())
        apart = apart or (other in macro and one in learnt)
        if person_of[one] == person_of[other] or not apart:
            split.others.extend([pair] if pair.equal or person_of[one] != person_of[other] else [])
        elif {one, other} in known:
            split.accepted.append(pair)
        else:
            split.leaks.append(pair)
    return split


def find(table: pd.DataFrame) -> list[Twins]:
    """Find the twins among the micro samples of a table (`table_of`), and with macro samples."""
    ids, micro = table["sample_id"].to_numpy(), (table["role"] == "micro").to_numpy()
    pairs = {pair: True for pair in _equal(table["digest"].to_numpy(), micro)}
    content = np.frombuffer(b"".join(table["signature"]), np.int8)
    planes: Planes = content.reshape(-1, 2, SIDE, SIDE).astype(np.float32)
    for kind in ("face", "flow"):
        of_kind = table["kind"].to_numpy() == kind
        micros, all_ = np.flatnonzero(of_kind & micro), np.flatnonzero(of_kind)
        for start in range(0, len(micros), BLOCK):
            some = micros[start : start + BLOCK]
            others = all_[~micro[all_] | (all_ >= some[0])]
            for i, j in _nearly_equal(planes[some], planes[others], kind == "face"):
                pair = (int(some[i]), int(others[j]))
                if not micro[pair[1]] or pair[0] < pair[1]:
                    pairs.setdefault(pair, False)
    return [Twins(ids[i], ids[j], equal) for (i, j), equal in sorted(pairs.items())]


def _equal(digests: NDArray[np.object_], micro: NDArray[np.bool_]) -> Iterable[tuple[int, int]]:
    """Pairs of rows with one digest, the first one micro."""
    groups: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        groups.setdefault(digest, []).append(row)
    for digest, rows in groups.items():
        for i in rows:
            if digest and micro[i]:
                yield from ((i, j) for j in rows if not micro[j] or j > i)


def _nearly_equal(first: Planes, second: Planes, face: bool) -> NDArray[np.int64]:
    """Pairs of samples whose planes are nearly equal, as positions. Shape: (M, 2)."""
    here = slice(0, 1) if face else slice(0, 2)
    close = _unmoved(first[:, here], second[:, here]) >= ROUGH[face]
    known = np.zeros_like(close)
    if face:
        moves = [np.asarray(planes[:, 1:].any(axis=(1, 2, 3))) for planes in (first, second)]
        known = np.logical_and.outer(*moves)
        close &= ~known | (_unmoved(first[:, 1:], second[:, 1:]) >= ROUGH_MOTION)
    pairs = np.argwhere(close)
    kept = [pairs[:0]]
    for start in range(0, len(pairs), BLOCK):
        part = pairs[start : start + BLOCK]
        part = part[_correlation(first[part[:, 0], here], second[part[:, 1], here]) >= ALIKE]
        if face:
            one, other = first[part[:, 0], 1:], second[part[:, 1], 1:]
            moved = _correlation(one, other) >= ALIKE_MOTION
            part = part[~known[part[:, 0], part[:, 1]] | moved]
        kept.append(part)
    return np.concatenate(kept)


def _unmoved(first: Planes, second: Planes) -> Planes:
    """Correlation of all pairs. Shape: (N, M)."""
    one, other = (_unit(planes[..., 1:-1, 1:-1]) for planes in (first, second))
    return np.asarray(one @ other.T)


def _correlation(first: Planes, second: Planes) -> Planes:
    """Correlation row by row: the highest when the first planes are moved by up to half a cell."""
    still, highest = _unit(second[..., 1:-1, 1:-1]), np.full(len(first), -1, np.float32)
    for y, x in product(STEPS, STEPS):
        moved = _unit(_moved(_moved(first, y, -2), x, -1))
        highest = np.maximum(highest, (moved * still).sum(axis=1))
    return highest


def _moved(planes: Planes, step: float, axis: int) -> Planes:
    """Planes without their margin along an axis, moved by a part of a cell."""
    side, neighbour = planes.shape[axis], int(np.sign(step))
    cells = np.take(planes, range(1, side - 1), axis)
    beside = np.take(planes, range(1 + neighbour, side - 1 + neighbour), axis)
    return np.asarray((1 - abs(step)) * cells + abs(step) * beside, np.float32)


def _unit(planes: Planes) -> Planes:
    """Each plane without its mean, those of a sample as one vector of length 1 or 0."""
    rows = (planes - planes.mean(axis=(2, 3), keepdims=True)).reshape(len(planes), -1)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))
