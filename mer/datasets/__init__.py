"""Readers of the datasets: each turns a folder on disk into the same index table.

`READERS` names them; `read` calls one by its name, or a user's function, checks the options
and joins subjects that are known to be the same person.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from mer.config.sentences import sentences
from mer.datasets.frame_files import swapped
from mer.datasets.index import Reading, Remark, validate
from mer.datasets.text_tables import read_csv
from mer.errors import MerError, raise_all

#: Name in the configuration -> module with `index(root, **options) -> Reading`.
READERS: dict[str, str] = {
    "casme2": "mer.datasets.readers.casme2",
    "samm": "mer.datasets.readers.samm",
    "smic": "mer.datasets.readers.smic",
    "ckplus": "mer.datasets.readers.ckplus",
    "ck48": "mer.datasets.readers.ck48",
    "oulu_casia": "mer.datasets.readers.oulu_casia",
    "mug": "mer.datasets.readers.mug",
    "table": "mer.datasets.readers.table",
}


def read(reader: str | Callable[..., Reading], root: str | Path, /, **options: Any) -> Reading:
    """Read a dataset into the index table.

    Args:
        reader: A key of `READERS`, or a function `index(root, **options)` that returns a
            `mer.datasets.index.Reading`; its table is checked.
        root: The dataset's folder (a file for `table`); `~` is expanded.
        **options: The reader's own, see its `index`; those that are `None` take their default. For
            every reader `persons`: a CSV file with the columns `subject,person`, for people who
            were recorded under several names. Subjects are written `casme2/sub01` or, for the
            reader's own dataset, `sub01`; all subjects of one person get the same `person`.

    Raises:
        MerError: If the reader or an option is not known, or the dataset cannot be read.
    """
    given = {name: value for name, value in options.items() if value is not None}
    persons = given.pop("persons", None)
    index = _index_of(reader)
    called = reader if isinstance(reader, str) else f"{index.__module__}.{index.__qualname__}"
    parameters = inspect.signature(index).parameters
    known = [name for name in parameters if name != "root"]
    unknown = sorted(set(given) - set(known))
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        unknown = []
    raise_all(
        f"Reader {called}:",
        [
            f"option `{name}` is not known; known are: {', '.join([*known, 'persons'])}"
            for name in unknown
        ],
    )
    if isinstance(reader, str):
        raise_all(f"Reader {called}:", _wrong_options(index, given))
    reading = index(Path(root).expanduser().absolute(), **given)
    if callable(reader):
        reading = _checked(reading, called)
    if persons is not None:
        reading = _join_persons(reading, Path(persons).expanduser())
    return reading._replace(remarks=[*reading.remarks, *_repeated(reading.table)])


def _repeated(table: pd.DataFrame) -> list[Remark]:
    """Remarks on samples whose apex is their onset, or, as a row of an array, that of another."""
    names = ("onset_path", "apex_path", "array_path", "array_key", "array_row")
    first: dict[tuple[object, ...], str] = {}
    remarks = []
    for sample, *values in table[["sample_id", *names]].itertuples(index=False):
        onset, apex, file, key, row = (None if pd.isna(value) else value for value in values)
        if file is None and onset == apex:
            remarks.append(Remark(sample, "repeated", f"its apex is its onset, no motion: {apex}"))
        source = (apex,) if file is None else (file, key, row)
        if (other := first.setdefault(source, sample)) != sample:
            picture = apex if file is None else f"row {row} of {file}"
            remarks.append(Remark(sample, "repeated", f"has the picture of {other}: {picture}"))
    return remarks


def _wrong_options(index: Callable[..., Reading], given: Mapping[str, Any]) -> list[str]:
    """One sentence per option of another type than the reader's parameter."""
    kinds = get_type_hints(index)
    problems: list[str] = []
    for name, value in given.items():
        try:
            TypeAdapter(kinds[name]).validate_python(value)
        except ValidationError as error:
            problems += sentences(error, (), name)
    return problems


def _index_of(reader: str | Callable[..., Reading]) -> Callable[..., Reading]:
    if callable(reader):
        return reader
    if reader not in READERS:
        known = ", ".join(READERS)
        raise MerError(
            f"there is no dataset reader `{reader}`; known are: {known}. Set `reader` to one of "
            "them, or `_target_` to a function of your own, package.module.function"
        )
    index: Callable[..., Reading] = importlib.import_module(READERS[reader]).index
    return index


def _checked(reading: Any, called: str) -> Reading:
    """Check what a reader from elsewhere returned."""
    if not isinstance(reading, tuple) or len(reading) != 2:
        raise MerError(
            f"reader {called} returned {type(reading).__name__}, expected a Reading(table, remarks)"
        )
    table, remarks = reading
    if not isinstance(table, pd.DataFrame) or table.empty:
        found = "no row" if isinstance(table, pd.DataFrame) else type(table).__name__
        raise MerError(f"reader {called} gave a table of {found}, expected one row per sample")
    try:
        validate(table)
    except MerError as error:
        raise MerError(f"reader {called}: {error}") from error
    return _without_swapped(Reading(table, [Remark(*remark) for remark in remarks]), called)


def _without_swapped(reading: Reading, called: str) -> Reading:
    """Drop the samples whose file names say that the onset comes after the apex."""
    columns = ["onset", "apex", "offset", "onset_path", "apex_path"]
    values = reading.table[columns].astype(object)
    rows = values.where(values.notna(), None).itertuples(index=False)
    faults = [swapped(*row) for row in rows]
    remarks = [
        Remark(sample, "dropped", fault)
        for sample, fault in zip(reading.table["sample_id"], faults, strict=True)
        if fault
    ]
    table = reading.table[[not fault for fault in faults]].reset_index(drop=True)
    if table.empty:
        raise MerError(f"reader {called} gave no usable sample: {remarks[0].reason}")
    return Reading(table, [*reading.remarks, *remarks])


def _join_persons(reading: Reading, path: Path) -> Reading:
    """Fill the column `person` from a CSV file of known double recordings."""
    if not path.is_file():
        raise MerError(f"`persons`: there is no file {path}; expected is a CSV of subject,person")
    listed, faults = read_csv(path)
    raise_all(f"{path} cannot be used:", (f"row {row}: {text}" for row, text in faults.items()))
    missing = [name for name in ("subject", "person") if name not in listed.columns]
    if missing:
        raise MerError(
            f"{path}: the columns {', '.join(missing)} are missing, found are: "
            f"{', '.join(map(str, listed.columns))}"
        )
    table = reading.table.copy()
    datasets = sorted(table["dataset"].unique())
    people: dict[str, str] = {}
    for subject, person in zip(listed["subject"], listed["person"], strict=True):
        for name in [subject] if "/" in subject else [f"{one}/{subject}" for one in datasets]:
            people[name] = person
    joined = table["subject"].map(people)
    table["person"] = joined.where(joined.notna() & (joined != ""), table["person"]).astype("str")
    absent = [
        Remark(name, "ignored", f"{path.name} names this subject, who has no sample here", 0)
        for name in sorted(set(people) - set(table["subject"]))
        if name.split("/")[0] in datasets
    ]
    return Reading(table, [*reading.remarks, *absent])
