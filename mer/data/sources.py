"""From the `data` node of a configuration to one table of samples and its prepared stores."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from mer import datasets
from mer.config import trust
from mer.config.conversion import updated
from mer.config.settings import Data, Prepare, Settings
from mer.data import inputs
from mer.data.corpus import Corpus, combine
from mer.data.few_samples import few
from mer.datasets import labels
from mer.datasets.index import Reading, Remark
from mer.datasets.remarks import samples, summary
from mer.errors import MerError, raise_all
from mer.prepare.store import Store, prepare_store, store_path
from mer.protocols import Fold, make_folds
from mer.spotting.apexes import are_chosen, choose_apexes

if TYPE_CHECKING:
    from mer.data.dataset import UnifiedDataset

log = logging.getLogger(__name__)


def ensure_synthetic(settings: Settings) -> None:
    """Generate the synthetic corpora of `data.preset` where the configuration asks for them."""
    data = settings.data
    if data.generate:
        from mer.synthetic import generate

        generate(str(data.preset), Path(data.root), seed=0, workers=settings.prepare.workers)


class Source(NamedTuple):
    """A dataset that was read: its name in the configuration, own `prepare` settings, reading."""

    name: str
    prepare: dict[str, Any]
    reading: Reading


def read(settings: Settings, *roles: str) -> dict[str, list[Source]]:
    """Read every dataset of some roles.

    Args:
        settings: Settings of the run; `data.<role>` maps a name to `root` (below `data.root`),
            optionally `reader` (a name) or `_target_` (a user's function), `prepare`
            (settings that differ for it) and the reader's options.
        roles: micro, macro or both.

    Returns:
        Role -> the datasets of that role.

    Raises:
        MerError: With every dataset of all the roles that is missing or unreadable.
    """
    ensure_synthetic(settings)
    found: dict[str, list[Source]] = {role: [] for role in roles}
    problems = []
    for role, name, node in settings.data.nodes(*roles):
        try:
            source = _read(settings.data, role, name, node)
            scheme = scheme_of(settings, role)
            reading = few(settings, name, source.reading, scheme)
            found[role].append(source._replace(reading=reading))
        except MerError as error:
            problems.append(f"data.{role}.{name}: {error}")
    headline = (
        f"Datasets could not be read (data={settings.data.name}, data.root={settings.data.root}; "
        "data.root=FOLDER names another folder)."
    )
    unset = "MER_DATA" not in os.environ and settings.data.root == "data"
    if not settings.data.generate and unset:
        headline += " MER_DATA is not set: export MER_DATA=FOLDER_OF_YOUR_DATASETS."
    raise_all(headline, problems)
    return found


def scheme_of(settings: Settings, role: str) -> dict[str, Any]:
    """The label scheme of the samples of a role."""
    return settings.labels if role == "micro" else settings.macro.labels


def _read(data: Data, role: str, name: str, node: Mapping[str, Any]) -> Source:
    """Read one dataset by the reader that its node names."""
    options = dict(node)
    if not isinstance(options.pop("root", None), str):
        raise MerError(f"set root, the dataset's folder below {data.root}")
    if not isinstance(options.get("prepare") or {}, Mapping):
        raise MerError(f"prepare={options['prepare']}: set a mapping of keys below prepare")
    for key, what in (("persons", "a CSV file with subject,person"), ("reader", "its name")):
        if not isinstance(options.get(key), str | None):
            raise MerError(f"{key}={options[key]}: set {what}")
    prepare = options.pop("prepare", None) or {}
    reader, target = options.pop("reader", None), options.pop("_target_", None)
    if reader and target:
        raise MerError(f"reader={reader} and _target_={target} both name a reader; remove one")
    if reader == "table":
        options = {"name": name, "role": role, **options}
    own = trust.resolve(target, "") if target else None
    if own is not None and not callable(own):
        raise MerError(f"_target_={target} is no function")
    return Source(
        name, prepare, datasets.read(own or reader or name, data.path_of(node), **options)
    )


def prepare(settings: Settings, source: Source) -> tuple[Store, list[Remark]]:
    """Prepare a dataset with the run's settings and its own, or open the store they gave before.

    Returns:
        The store, and the remarks of the reader and on apexes that were spotted.
    """
    chosen = prepare_settings(settings, source)
    store, remarks = _prepare(source.reading.table, chosen, settings.paths.cache, source.name)
    return store, [*source.reading.remarks, *remarks]


def _prepare(
    table: pd.DataFrame, settings: Prepare, cache: str | Path, name: str
) -> tuple[Store, list[Remark]]:
    """Choose the apexes of a table and prepare it; give the store and remarks on the apexes."""
    table, remarks = choose_apexes(table, settings, cache, name)
    store = prepare_store(table, settings, Path(cache, "prepared"), settings.workers, name)
    return store, remarks


def prepare_samples(
    samples: Reading, settings: Prepare | None = None, cache: str | Path = "cache"
) -> Store:
    """Prepare the samples that a reader found, or open the store that the same call gave before.

    Args:
        samples: Samples of `mer.datasets.read`.
        settings: Apex, face crop, size and flow; the defaults of `conf/prepare/default.yaml`.
        cache: Folder that runs share; the store is in `prepared` below it.

    Raises:
        MerError: For a wrong table, an unwritable or full disk, or when no sample is left.
    """
    name = str(samples.table["dataset"].iloc[0])
    return _prepare(samples.table, settings or Prepare(), cache, name)[0]


def is_prepared(settings: Settings, source: Source) -> bool:
    """Whether `prepare` has nothing to spot and nothing to prepare."""
    chosen = prepare_settings(settings, source)
    table, cache, name = source.reading.table, settings.paths.cache, source.name
    if not are_chosen(table, chosen, cache, name):
        return False
    table = choose_apexes(table, chosen, cache, name).table
    return store_path(table, chosen, Path(cache, "prepared"), name)[0].is_dir()


def prepare_settings(settings: Settings, source: Source) -> Prepare:
    """Settings of the preparation of one dataset: those of the run, and its own."""
    return updated(settings.prepare, source.prepare, "prepare")


def load(settings: Settings, role: str, read_before: list[Source] | None = None) -> Corpus:
    """Read, label and prepare every dataset of a role.

    Args:
        settings: Settings of the run.
        role: micro or macro; the label scheme is `labels` or `macro.labels`.
        read_before: The role's datasets, if `read` has given them already.

    Returns:
        One corpus over all datasets; empty when `data.<role>` names none.

    Raises:
        MerError: If datasets are missing, a class has no micro sample, or label counts differ from
            the scheme's expected ones while `data.check_counts` is true.
    """
    found = read(settings, role)[role] if read_before is None else read_before
    scheme = scheme_of(settings, role)
    if role == "micro":  # before the preparation, which takes long
        labelled(settings, found)
    strict = role == "micro" and settings.data.strict
    if strict:
        _refuse_dropped(found, scheme, [one for source in found for one in source.reading.remarks])
    prepared = [prepare(settings, source) for source in found]
    stores = [store for store, _ in prepared]
    needs_onset = inputs.make(settings.input).kind.needs_onset
    complete = role == "micro" and settings.data.check_counts
    corpus = combine(stores, scheme, complete, needs_onset)
    if role == "micro":
        _check_classes(scheme, [corpus.table])
    remarks = [remark for _, made in prepared for remark in made]
    if strict:
        _refuse_dropped(found, scheme, remarks + corpus.remarks)
    if stores:
        _log_counts(corpus, role, remarks + corpus.remarks)
    return corpus._replace(remarks=remarks + corpus.remarks)


def _refuse_dropped(found: list[Source], scheme: Mapping[str, Any], remarks: list[Remark]) -> None:
    """Refuse data of which a sample was dropped, unless the label scheme leaves it out on purpose.

    A scheme knows the emotions of the datasets that mer reads, and not those of a table.
    """
    known = set(datasets.READERS) - {"table"}
    left_out = {
        (one.item, one.reason)
        for source in found
        for one in labels.apply(source.reading.table, scheme).remarks
        if one.item in scheme.get("exclude", {}) or one.item in known
    }
    raise_all(
        "data.strict=true refuses data of which samples were dropped; mend them, or set "
        "data.strict=false:",
        [
            f"{one.item}: {one.reason}" + (f" ({one.samples} samples)" if one.samples > 1 else "")
            for one in remarks
            if one.action == "dropped" and (one.item, one.reason) not in left_out
        ],
    )


def labelled(settings: Settings, found: list[Source]) -> pd.DataFrame:
    """The micro samples that were read, with their labels, before any is prepared.

    Raises:
        MerError: If a class has no sample.
    """
    tables = [labels.apply(source.reading.table, settings.labels).table for source in found]
    _check_classes(settings.labels, tables)
    return pd.concat(tables, ignore_index=True)


def _check_classes(scheme: Mapping[str, Any], tables: list[pd.DataFrame]) -> None:
    """Refuse data that lack a class: no score over all classes could be given after training."""
    there = {label for table in tables for label in table["label"]}
    absent = [name for name in scheme["classes"] if tables and name not in there]
    if absent:
        raise MerError(
            f"no sample has the class {' or '.join(absent)}; there are {', '.join(sorted(there))}. "
            f"Choose a label scheme with these classes alone (`labels=...`), or add such samples"
        )


def folds(settings: Settings, table: pd.DataFrame) -> list[Fold]:
    """Make the folds of the run's protocol over labelled samples."""
    chosen = settings.protocol
    return make_folds(table, chosen.name, chosen.validation, chosen.n_splits, settings.seed)


def dataset(settings: Settings, corpus: Corpus) -> "UnifiedDataset":
    """The samples of a corpus as the configuration's inputs, built once and kept for later runs."""
    from mer.data.dataset import UnifiedDataset  # brings torch, which reading runs does not need

    folder = Path(settings.paths.cache, "inputs")
    return UnifiedDataset(corpus.table, corpus.stores, corpus.classes, settings.input, folder)


def _log_counts(corpus: Corpus, role: str, remarks: list[Remark]) -> None:
    table, stores = corpus.table, corpus.stores
    counts = pd.crosstab(table["dataset"], table["label"])
    folder, mended = stores[0].path.parent, samples(remarks, "mended")
    repeated = {one.item for one in remarks if one.action == "repeated"} & {*table["sample_id"]}
    facts = [
        f"{len(table)} samples of {table['person'].nunique()} persons, prepared in {folder}",
        summary(len(table), remarks),
    ]
    facts += [f"{mended} mended"] if mended else []
    facts += [f"{len(repeated)} with a picture that repeats"] if repeated else []
    if names := [store.path.name for store in stores if len(store.drops)]:
        facts.append(f"to prepare the dropped ones again, delete {', '.join(names)} there")
    log.info("%s: %s\n%s", role, "; ".join(filter(None, facts)), counts.to_string())
