"""The prepared store: a folder of memory-mapped arrays, one per settings hash.

Same table and same settings give the same folder, which is then reused; an unfinished one is
continued; a finished one never changes.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from mer import integrity
from mer.cache import Key, exclusive, hold, make_key
from mer.config import trust
from mer.config.settings import Prepare
from mer.datasets.index import validate
from mer.errors import MerError, raise_all
from mer.files import write_csv
from mer.prepare.build import Partial, build
from mer.prepare.layout import layout, relevant, settings_hash, source_kind

log = logging.getLogger(__name__)

TABLES = ("index.parquet", "drops.csv")

ARRAYS = ("frames", "flow", "landmarks", "digest", "signature")


@dataclass(frozen=True)
class Store:
    """An opened store; arrays are read-only memory maps, None where the store has none.

    Attributes:
        path: The folder.
        index: One row per kept sample: the index table's columns, `row` int64 (position in the
            arrays), `has_onset` (False: no onset, so no flow), `still` (onset and apex are the same
            picture, so the flow is zero).
        drops: One row per dropped sample: sample_id, reason, detail.
        frames: uint8 (N, 2, S, S, 3) RGB, onset then apex.
        flow: float16 (N, 3, S, S): u right, v down in pixels of the crop, optical strain.
        landmarks: float32 (N, 2, 478, 2), x and y in pixels of the crop.
        digest: uint8 (N, 16), see `mer.prepare.signature`.
        signature: int8 (N, 2, 14, 14), see `mer.prepare.signature`.
        settings: The settings that the arrays depend on.
        hash: Identifies samples and settings, see `settings_hash`. Twelve hex digits.
        key: Identifies code and package versions too, see `mer.cache.make_key`. Twelve hex digits.
        size: Side of the crops in pixels.
    """

    path: Path
    index: pd.DataFrame
    drops: pd.DataFrame
    frames: np.ndarray | None
    flow: np.ndarray | None
    landmarks: np.ndarray | None
    digest: np.ndarray
    signature: np.ndarray
    settings: dict[str, Any]
    hash: str
    key: str
    size: int

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a store without reading its arrays.

        Raises:
            MerError: If the folder is missing, is no store, or is unfinished or damaged.
        """
        path = Path(path)
        mend = f"delete {path} and type `mer prepare` again"
        if not path.is_dir():
            raise MerError(f"There is no prepared store {path}; type `mer prepare`")
        if path.name.endswith(".partial"):
            raise MerError(f"{path} is an unfinished store; type `mer prepare` to complete it")
        try:
            facts = json.loads((path / "settings.json").read_text())
            _ = facts["settings"]["prepare"], [facts[n] for n in ("arrays", "hash", "key", "size")]
        except FileNotFoundError:
            raise MerError(f"{path} is no prepared store: it has no settings.json") from None
        except (ValueError, KeyError, TypeError) as error:
            raise MerError(f"{path / 'settings.json'} is damaged ({error!r}); {mend}") from error
        store = cls._read(path, facts, mend)
        hold(path, store)
        return store

    @classmethod
    def _read(cls, path: Path, facts: Mapping[str, Any], mend: str) -> Self:
        maps: dict[str, Any] = dict.fromkeys(ARRAYS)
        problems = []
        for name, (shape, dtype) in facts["arrays"].items():
            try:
                array = np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                problems.append(f"{name}.npy: {error}")
                continue
            if list(array.shape) != shape or array.dtype != dtype:
                problems.append(f"{name}.npy is {array.shape} {array.dtype}, not {shape} {dtype}")
            maps[name] = array
        try:
            index = pd.read_parquet(path / "index.parquet")
            drops = pd.read_csv(path / "drops.csv", dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            problems.append(str(error))
        raise_all(f"The prepared store {path} is damaged; {mend}:", problems)
        return cls(
            path=path,
            index=index,
            drops=drops,
            settings=facts["settings"]["prepare"],
            hash=facts["hash"],
            key=facts["key"],
            size=facts["size"],
            **maps,
        )

    def __reduce__(self) -> tuple[Callable[[Path], "Store"], tuple[Path]]:
        """Pickle the path alone: a worker process maps the files instead of receiving copies."""
        return type(self).open, (self.path,)


def store_path(
    table: pd.DataFrame, settings: Prepare, out: str | Path, name: str
) -> tuple[Path, Key]:
    """Folder and key of the store that `prepare_store` gives for the same arguments."""
    chosen = trust.with_sources(relevant(settings, source_kind(table)))
    key = make_key("prepared", {"data": settings_hash(settings, table), "prepare": chosen})
    return Path(out, f"{name}-{key.digest}"), key


def prepare_store(
    table: pd.DataFrame,
    settings: Prepare,
    out: Path,
    workers: int | None,
    name: str,
) -> Store:
    """Prepare every sample of an index table, or open the store that the same call gave before.

    The work is done in `<out>/.<name>-<hash>.partial`, which takes its final name when it is
    complete; a call after a crash continues there. A second caller waits for the first.

    Args:
        table: Index table; its rows come from pictures or from arrays of one kind.
        settings: Settings of the preparation; apexes are those of the table, whatever `apex` says.
        out: Folder of the stores.
        workers: Processes; 0 and 1 work in this one, None takes as many as cores and samples merit.
            From 2 on a script of your own needs `if __name__ == "__main__":`.
        name: First part of the folder's name, usually the dataset's.

    Raises:
        MerError: For a wrong table or settings, an unwritable or full disk, or when no sample is
            left.
    """
    validate(table)
    table = table.sort_values("sample_id", kind="stable", ignore_index=True)
    path, key = store_path(table, settings, out, name)
    try:
        with exclusive(path):
            if path.is_dir() and not integrity.intact(path):
                shutil.rmtree(path)
            return _reuse(path) if path.is_dir() else _write(path, table, settings, workers, key)
    except OSError as error:
        raise MerError(
            f"The prepared store {path} can't be written: {error}. Mend that, or set another "
            "folder with paths.cache; finished samples are kept"
        ) from error


def _reuse(path: Path) -> Store:
    log.debug("Prepared store %s is reused", path)
    return Store.open(path)


def _write(
    path: Path, table: pd.DataFrame, settings: Prepare, workers: int | None, key: Key
) -> Store:
    from mer.prepare import sheet

    for other in _same_samples(path, key):
        log.info("%s is by other code or packages: its samples are prepared anew", other)
    arrays = layout(table, settings)
    folder = path.parent / f".{path.name}.partial"
    with Partial(folder, arrays) as partial:
        build(partial, table, settings, workers)
        done = pd.DataFrame([partial.done[row] for row in range(len(table))])
    table = table.assign(row=np.arange(len(table)), **done)
    dropped = table["reason"].notna()
    drops = table.loc[dropped, ["sample_id", "reason", "detail"]]
    report = _drop_report(drops)
    if dropped.all():
        # Removed, so that the next call looks at the files anew.
        shutil.rmtree(folder)
        raise MerError(f"{path.name}: none of {len(table)} samples could be prepared:\n{report}")
    if len(drops):
        log.warning("%s: %d of %d samples dropped:\n%s", path.name, len(drops), len(table), report)
    index = table[~dropped].drop(columns=["reason", "detail"]).reset_index(drop=True)
    index = index.astype({"row": "int64", "has_onset": "bool", "still": "bool"})
    index.to_parquet(folder / "index.parquet", index=False)
    write_csv(drops, folder / "drops.csv")
    shape = next(iter(arrays.values()))[0]
    facts = {
        **key.record,
        "hash": key.record["settings"]["data"],
        "key": key.digest,
        "size": shape[3],
        "samples": len(index),
        "dropped": len(drops),
        "arrays": arrays,
    }
    (folder / "settings.json").write_text(json.dumps(facts, indent=2) + "\n")
    integrity.write(folder, [*(f"{name}.npy" for name in arrays), *TABLES, "settings.json"])
    sheet.draw(Store._read(folder, facts, "type `mer prepare` again"), folder / "contact_sheet.png")
    partial.publish(path)
    log.info("Prepared store %s: %d samples; look at its contact_sheet.png", path, len(index))
    return Store.open(path)


def _same_samples(path: Path, key: Key) -> Iterator[Path]:
    """Stores of the same samples and settings, made by other code or versions."""
    for file in sorted(path.parent.glob(f"{path.name.rpartition('-')[0]}-*/settings.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if json.loads(file.read_text())["hash"] == key.record["settings"]["data"]:
                yield file.parent


def _drop_report(drops: pd.DataFrame) -> str:
    """One line per reason: how many, and the first ids with their details."""
    lines = []
    for reason, group in drops.groupby("reason", sort=True):
        lines.append(f"  {len(group):5d}  {reason}")
        lines += [f"           {row.sample_id}: {row.detail}" for row in group[:3].itertuples()]
        if len(group) > 3:
            lines.append(f"           and {len(group) - 3} more")
    return "\n".join(lines)
