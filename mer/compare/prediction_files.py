"""Predictions of someone else's script: a CSV or Parquet file with a row per sample.

Columns, by any of the names in `COLUMNS`, whatever their case:

- which sample: `sample_id`, or `dataset`, `subject` and `clip`, as in `casme2/sub01/EP02_01f`;
- who is seen: `person`, or `subject` (with `dataset`, since datasets share subject names);
- the true class and the predicted one: `label`, `prediction`, as class names or as numbers, which
  count the classes of the runs beside it (`labels.classes`) from 0.

Labels, persons and datasets may be absent where another run or file of the comparison has all of
the samples; its persons and datasets are then used in any case.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mer.datasets.number_cells import whole
from mer.datasets.text_tables import read_csv
from mer.errors import MerError, flaw, raise_all
from mer.runs import results

ENDINGS = (".csv", ".parquet")

#: What a column holds -> names under which it is found.
COLUMNS = {
    "sample_id": ("sample_id", "sample", "id"),
    "dataset": ("dataset", "database"),
    "subject": ("subject", "subject_id"),
    "clip": ("clip", "video", "filename"),
    "person": ("person",),
    "label": ("label", "true", "y_true", "ground_truth", "target"),
    "prediction": ("prediction", "predicted", "pred", "y_pred"),
}

#: Sample -> dataset, person, label, as the other runs have them.
Known = Mapping[str, tuple[str, str, str]]


class Scored(NamedTuple):
    """A file of predictions with all that a comparison needs.

    Attributes:
        table: `sample_id`, `dataset`, `person`, `label`, `prediction`, all as text.
        classes: Class names in order.
        heads: Scores of `file` and `majority`, as in `metrics.json`.
    """

    table: pd.DataFrame
    classes: list[str]
    heads: dict[str, Any]


def load(path: Path) -> pd.DataFrame:
    """Read a file and give its columns the names that are the keys of `COLUMNS`.

    Raises:
        MerError: If it cannot be read, or columns or cells are missing; all problems are listed.
    """
    try:
        # As text: "01" and "1" may be two persons.
        raw = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except MerError:
        raise
    except Exception as error:
        raise MerError(
            f"{path} cannot be read ({flaw(error)}): it must be CSV or Parquet"
        ) from error
    found = {
        key: [name for name in raw.columns if str(name).strip().lower() in names]
        for key, names in COLUMNS.items()
    }
    twice = [f"{' and '.join(names)} both mean {key}" for key, names in found.items() if names[1:]]
    if twice:
        raise MerError(f"{path}: {'; '.join(twice)}: keep one of them")
    table = pd.DataFrame({key: raw[names[0]] for key, names in found.items() if names})
    lacking = [] if "prediction" in table else [_needed("prediction")]
    if "sample_id" not in table:
        apart = [key for key in ("dataset", "subject", "clip") if key not in table]
        lacking += [f"{_needed('sample_id')}, or instead {', '.join(apart)}"] if apart else []
    if lacking:
        there = ", ".join(map(str, raw.columns)) or "none"
        raise MerError(f"{path} has the columns {there}; it needs {' and '.join(lacking)}")
    table = _filled(path, table)
    table.attrs["columns"] = ", ".join(map(str, raw.columns))  # as the user knows them
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    cells, faults = read_csv(path)
    raise_all(f"{path} cannot be used:", (f"row {row}: {text}" for row, text in faults.items()))
    return cells.where(cells != "", None)


def _needed(key: str) -> str:
    return " or ".join(COLUMNS[key])


def _filled(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Text without gaps, a row per sample."""
    if table.empty:
        raise MerError(f"{path} has no row")
    empty = [f"{n} rows have no {key}" for key, n in table.isna().sum().items() if n]
    if empty:
        raise MerError(f"{path}: {', '.join(empty)}: fill them or leave those rows out")
    table = table.map(_as_text)
    if "sample_id" not in table:
        table["sample_id"] = table["dataset"] + "/" + table["subject"] + "/" + table["clip"]
    again = table.loc[table["sample_id"].duplicated(), "sample_id"].unique()
    if len(again):
        raise MerError(f"{path}: {_some(again)} stand in more than one row: keep one of each")
    return table


def _as_text(value: Any) -> str:
    """Numbers of Parquet may come as floats; 1.0 is class 1."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value).strip()


def complete(
    path: Path, table: pd.DataFrame, known: Known, classes: Sequence[str] | None
) -> Scored:
    """Add what other runs know of the samples and classes, and score.

    Raises:
        MerError: If labels or persons stay unknown, or a class is none of `classes`.
    """
    there, table = table.attrs["columns"], table.copy()
    if "person" not in table and "subject" in table:
        prefix = table["dataset"] + "/" if "dataset" in table else ""
        table["person"] = prefix + table["subject"]
    unknown = [sample for sample in table["sample_id"] if sample not in known]
    if not unknown:
        for place, key in enumerate(("dataset", "person", "label")):
            if key != "label" or key not in table:  # other labels must show as such
                table[key] = [known[sample][place] for sample in table["sample_id"]]
    or_subject = f"{_needed('person')} or {_needed('subject')}"
    needed = {"label": _needed("label"), "person": or_subject}
    lacking = [names for key, names in needed.items() if key not in table]
    if lacking:
        beside = "name a run with these samples beside it"
        if known:
            beside += f" (those named do not have {_some(unknown)})"
        raise MerError(
            f"{path} has the columns {there}; it needs {' and '.join(lacking)} as well, or {beside}"
        )
    per_dataset = "dataset" in table
    if not per_dataset:
        table["dataset"] = ""
    if classes is None:
        classes = _in_order({*table["label"], *table["prediction"]})
    for key in ("label", "prediction"):
        table[key] = _named(path, table[key], classes)
    frame = table.rename(columns={"prediction": "file"})
    try:
        heads = results.score(frame, classes, 0, per_dataset, names=["file"])
    except MerError as error:
        raise MerError(f"{path}: {error}") from error
    columns = ["sample_id", "dataset", "person", "label", "prediction"]
    return Scored(table[columns], list(classes), heads)


def _in_order(names: set[str]) -> list[str]:
    numbers = {name: whole(name) for name in names}
    return sorted(names, key=lambda name: (-1 if numbers[name] is None else numbers[name], name))


def _named(path: Path, column: pd.Series, classes: Sequence[str]) -> pd.Series:
    """Replace numbers by class names, and refuse what is neither."""
    numbers = {str(place): name for place, name in enumerate(classes)}
    if set(column) <= set(classes):
        return column
    if set(column) <= set(numbers):
        return column.map(numbers)
    strange = ", ".join(sorted(set(column) - set(classes)))
    raise MerError(
        f"{path}: {column.name} holds {strange}; the classes are {', '.join(classes)}, or in "
        f"numbers 0 to {len(classes) - 1}"
    )


def _some(samples: Sequence[str]) -> str:
    more = ", ..." if len(samples) > 3 else ""
    return f"{len(samples)} samples ({', '.join(list(samples)[:3])}{more})"
