"""From the `data` node of a configuration to one table of samples and its prepared stores."""

import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from mer import datasets
from mer.datasets import labels
from mer.datasets.index import Remark
from mer.errors import MerError, raise_all
from mer.prepare.store import Store, prepare_store

if TYPE_CHECKING:
    from mer.data.dataset import UnifiedDataset

log = logging.getLogger(__name__)


class Corpus(NamedTuple):
    """Samples of one role, ready for a `UnifiedDataset`.

    `table` is the index table with `label`, `store` (position in `stores`) and `row`; `classes` are
    the label scheme's; `remarks` say what was dropped or mended, by readers, labels and
    preparation.
    """

    table: pd.DataFrame
    stores: list[Store]
    classes: list[str]
    remarks: list[Remark]

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any sample, label or prepared array."""
        columns = (self.table[name] for name in ("sample_id", "person", "label"))
        digest = hashlib.sha256("\n".join(store.hash for store in self.stores).encode())
        for sample, person, label in zip(*columns, strict=True):
            digest.update(f"\n{sample} {person} {label}".encode())
        return digest.hexdigest()[:12]


def ensure_synthetic(cfg: DictConfig) -> None:
    """Generate the synthetic corpora of `data.preset` where the configuration asks for them."""
    if cfg.data.get("generate"):
        from mer.synthetic import generate

        generate(cfg.data.preset, Path(cfg.data.root), seed=0, workers=cfg.prepare.workers)


class Source(NamedTuple):
    """A dataset that was read: its name in the configuration, own `prepare` settings, reading."""

    name: str
    prepare: dict[str, Any]
    reading: datasets.Reading


def read(cfg: DictConfig, *roles: str) -> dict[str, list[Source]]:
    """Read every dataset of some roles.

    Args:
        cfg: Composed configuration; `data.<role>` maps a name to `root` (relative to `data.root`),
            optionally `reader`, `prepare` (settings that differ for it) and the reader's options.
        roles: micro, macro or both.

    Returns:
        Role -> the datasets of that role.

    Raises:
        MerError: With every dataset of all the roles that is missing or unreadable.
    """
    ensure_synthetic(cfg)
    found: dict[str, list[Source]] = {role: [] for role in roles}
    problems = []
    for role in roles:
        for name, node in (cfg.data.get(role) or {}).items():
            options = OmegaConf.to_container(node, resolve=True)
            root = Path(cfg.data.root, options.pop("root")).expanduser()
            prepare = options.pop("prepare", None) or {}
            reader = options.pop("reader", name)
            if reader == "table":
                options = {"role": role, **options}
            try:
                reading = datasets.read(reader, root, **options)
                found[role].append(Source(name, prepare, reading))
            except MerError as error:
                problems.append(f"data.{role}.{name}: {error}")
    headline = f"Datasets could not be read (data={cfg.data.name}, data.root={cfg.data.root})."
    if not cfg.data.generate and "MER_DATA" not in os.environ:
        headline += " MER_DATA is not set: export MER_DATA=FOLDER_OF_YOUR_DATASETS."
    raise_all(headline, problems)
    return found


def prepare(cfg: DictConfig, source: Source) -> Store:
    """Prepare a dataset with the run's settings and its own, or open the store they gave before."""
    settings = OmegaConf.to_container(OmegaConf.merge(cfg.prepare, source.prepare), resolve=True)
    folder = Path(cfg.paths.cache, "prepared")
    return prepare_store(source.reading.table, settings, folder, settings["workers"], source.name)


def load(cfg: DictConfig, role: str, read_before: list[Source] | None = None) -> Corpus:
    """Read, label and prepare every dataset of a role.

    Args:
        cfg: Composed configuration.
        role: micro or macro; the label scheme is `labels` or `macro.labels`.
        read_before: The role's datasets, if `read` has given them already.

    Returns:
        One corpus over all datasets; empty when `data.<role>` names none.

    Raises:
        MerError: If datasets are missing, or label counts differ from the scheme's expected ones
            while `data.check_counts` is true.
    """
    scheme = labels.load_scheme(
        OmegaConf.to_container(cfg.labels if role == "micro" else cfg.macro.labels, resolve=True)
    )
    tables, stores, remarks = [], [], []
    for source in read(cfg, role)[role] if read_before is None else read_before:
        store = prepare(cfg, source)
        labelled = labels.apply(store.index, scheme)
        remarks += [*source.reading.remarks, *labelled.remarks]
        remarks += [Remark(d.sample_id, "dropped", d.reason) for d in store.drops.itertuples()]
        tables.append(labelled.table.assign(store=len(stores)))
        stores.append(store)
    classes = list(scheme["classes"])
    if not tables:
        return Corpus(pd.DataFrame(), [], classes, [])
    table = pd.concat(tables, ignore_index=True).sort_values("sample_id", ignore_index=True)
    twice = table["sample_id"][table["sample_id"].duplicated()].tolist()
    raise_all("Two datasets hold the same sample:", twice)
    if role == "micro" and cfg.data.get("check_counts", True):
        raise_all(
            f"Sample counts differ from label scheme `{scheme['name']}`. If your copy of the data "
            "is known to differ, set data.check_counts=false; the numbers are then not comparable:",
            labels.check_counts(table, scheme, sorted(table["dataset"].unique())),
        )
    _log_counts(table, role, remarks)
    return Corpus(table, stores, classes, remarks)


def dataset(cfg: DictConfig, corpus: Corpus) -> "UnifiedDataset":
    """The samples of a corpus as the configuration's inputs, built once and kept for later runs."""
    from mer.data.dataset import UnifiedDataset  # brings torch, which reading runs does not need

    settings = OmegaConf.to_container(cfg.input, resolve=True)
    folder = Path(cfg.paths.cache, "inputs")
    return UnifiedDataset(corpus.table, corpus.stores, corpus.classes, settings, folder)


def _log_counts(table: pd.DataFrame, role: str, remarks: list[Remark]) -> None:
    counts = pd.crosstab(table["dataset"], table["label"])
    log.info(
        "%s: %d samples of %d persons (%d remarks)\n%s",
        role,
        len(table),
        table["person"].nunique(),
        len(remarks),
        counts.to_string(),
    )
