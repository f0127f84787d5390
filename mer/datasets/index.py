"""The index table: one row per sample, the same columns for every dataset.

Readers turn a dataset on disk into this table; everything after them (labels, preparation,
protocols, training) knows datasets only through it.
"""

from typing import Any, NamedTuple

import pandas as pd

from mer.errors import raise_all

#: Column -> (pandas dtype, may be missing). Frame numbers are the recording's, paths are absolute.
#:
#: ============== =================================================================================
#: sample_id      `<dataset>/<subject>/<clip>`, with `@<onset>` where a video holds several samples
#: dataset        reader name in lower case: casme2, samm, smic, ckplus, ck48, oulu_casia, mug, ...
#: subject        `<dataset>/<subject>`, e.g. `casme2/sub01`, `samm/006`, `smic/s01`
#: person         equals `subject` unless the same human was recorded under several names
#: clip           clip or sequence name as on disk
#: role           micro | macro
#: emotion        as annotated, lower case, spelling variants folded (`others` -> `other`)
#: action_units   canonical text such as `4+L7+R12`, empty where not annotated
#: apex_source    annotated | midpoint | spotted | last
#: fps            frames per second of the recording
#: onset_path     picture of the onset (micro) or of the neutral face (macro)
#: apex_path      picture of the apex (micro) or of the peak (macro)
#: offset_path    picture of the offset
#: array_path     .npz or .npy file of a precomputed sample, instead of the pictures
#: array_key      name of the array inside the .npz
#: array_row      position of the sample along the array's first axis
#: array_kind     flow | image
#: ============== =================================================================================
COLUMNS: dict[str, tuple[str, bool]] = {
    "sample_id": ("str", False),
    "dataset": ("str", False),
    "subject": ("str", False),
    "person": ("str", False),
    "clip": ("str", False),
    "role": ("str", False),
    "emotion": ("str", False),
    "action_units": ("str", False),
    "onset": ("Int64", True),
    "apex": ("Int64", True),
    "offset": ("Int64", True),
    "apex_source": ("str", True),
    "fps": ("float64", True),
    "onset_path": ("str", True),
    "apex_path": ("str", True),
    "offset_path": ("str", True),
    "array_path": ("str", True),
    "array_key": ("str", True),
    "array_row": ("Int64", True),
    "array_kind": ("str", True),
}

ROLES = ("micro", "macro")
APEX_SOURCES = ("annotated", "midpoint", "spotted", "last")


class Remark(NamedTuple):
    """What was done to one sample, or to several with one fault.

    Attributes:
        item: Sample id, or what the samples share: a file, a folder, a dataset.
        action: `dropped`, `mended`, `repeated` for a sample with the picture of another or
            with one as onset and apex, or `ignored` for what is no sample (a column, a second tree)
            or could not be done to one.
        reason: Reason, in words.
        samples: Number of samples that it is about.
    """

    item: str
    action: str
    reason: str
    samples: int = 1


class Reading(NamedTuple):
    """A reader's answer: the index table and what was dropped or mended on the way."""

    table: pd.DataFrame
    remarks: list[Remark]


def make_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Build a validated index table, sorted by `sample_id`, from one dict per sample.

    Keys that a row leaves out are missing values; `person` defaults to `subject`, `action_units` to
    the empty text.

    Raises:
        MerError: If a row breaks the contract (see `validate`).
    """
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table = table.astype({name: dtype for name, (dtype, _) in COLUMNS.items()})
    table["person"] = table["person"].fillna(table["subject"])
    table["action_units"] = table["action_units"].fillna("")
    table = table.sort_values("sample_id", kind="stable", ignore_index=True)
    validate(table)
    return table


def validate(table: pd.DataFrame) -> None:
    """Check the contract of an index table.

    Raises:
        MerError: With every broken rule: missing columns or values, other types, ids without the
            dataset's name, repeated `sample_id`, unknown role or apex source, order other than
            onset <= apex <= offset, neither picture nor array.
    """
    shapes = [f"column `{name}` is missing" for name in COLUMNS if name not in table.columns]
    shapes += [
        f"column `{name}` is {table[name].dtype}, expected {dtype}"
        for name, (dtype, _) in COLUMNS.items()
        if name in table.columns and str(table[name].dtype) != dtype
    ]
    raise_all("This is no index table; `mer.datasets.index.make_table` makes one of rows:", shapes)
    problems: list[str] = []

    def report(bad: pd.Series, text: str) -> None:
        if bad.any():
            items = table.loc[bad, "sample_id"].astype(str).tolist()
            more = f" and {len(items) - 3} more" if len(items) > 3 else ""
            problems.append(f"{text}: {', '.join(items[:3])}{more}")

    for name, (_, optional) in COLUMNS.items():
        if not optional:
            report(table[name].isna(), f"`{name}` has no value")
    report(table["sample_id"].duplicated(keep=False), "`sample_id` stands more than once")
    for name in ("sample_id", "subject"):
        pairs = zip(table[name].fillna(""), table["dataset"].fillna(""), strict=True)
        apart = pd.Series([not text.startswith(f"{dataset}/") for text, dataset in pairs])
        report(
            apart.set_axis(table.index), f"`{name}` does not begin with the dataset's name and /"
        )
    report(~table["role"].isin(ROLES), f"`role` is not one of {ROLES}")
    source = table["apex_source"]
    unknown = source.notna() & ~source.isin(APEX_SOURCES)
    report(unknown, f"`apex_source` is not one of {APEX_SOURCES}")
    report((table["onset"] > table["apex"]).fillna(False), "the onset comes after the apex")
    report((table["apex"] > table["offset"]).fillna(False), "the apex comes after the offset")
    nothing = table["apex_path"].isna() & table["array_path"].isna()
    report(nothing, "neither `apex_path` nor `array_path`")
    unplaced = table["array_path"].notna() & table["array_row"].isna()
    report(unplaced, "`array_path` without `array_row`")
    raise_all("The index table breaks its contract:", problems)
