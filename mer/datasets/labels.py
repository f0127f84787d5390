"""Emotion words and label schemes: which emotion of which dataset belongs to which class.

A scheme is a file `conf/labels/<name>.yaml` with a version and the class counts that the complete
datasets must give, so that a wrong workbook shows before training and not in the results.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, NotRequired, TypedDict, cast

import pandas as pd
from pydantic import Field, TypeAdapter, ValidationError

from mer.config import trust
from mer.config.sentences import shown
from mer.datasets.index import Reading, Remark
from mer.errors import MerError, raise_all
from mer.randomness import generator

#: Spelling in an annotation file -> the word used here.
ALIASES: dict[str, str] = {
    "others": "other",
    "happy": "happiness",
    "happyiness": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "afraid": "fear",
}


class Scheme(TypedDict):
    """A label scheme; the position in `classes` is the label code.

    `map` is dataset -> emotion -> class, `exclude` sample id -> reason, `expected` dataset -> class
    -> number of samples in the complete dataset. `permutation` is a seed for `permute`, set by
    `mer audit --null` alone.
    """

    name: str
    version: int
    classes: list[str]
    map: dict[str, dict[str, str]]
    exclude: dict[str, str]
    expected: dict[str, dict[str, int]]
    permutation: NotRequired[int | None]


_Text = str | int
#: Key of a scheme -> its type, and what to say where it is another.
_KINDS: dict[str, tuple[Any, str]] = {
    "name": (str, "a name"),
    "version": (int, "a whole number"),
    "classes": (list[_Text], "a list of class names"),
    "map": (dict[str, dict[str, _Text]], "a mapping: dataset, emotion, class"),
    "exclude": (dict[str, _Text] | None, "a mapping: sample id, reason"),
    "expected": (dict[str, dict[_Text, int]] | None, "a mapping: dataset, class, samples"),
    "permutation": (Annotated[int, Field(ge=0)] | None, "a seed, 0 or more, or null"),
}


def canonical_emotion(text: str) -> str:
    """Return an emotion in lower case, stripped, with spelling variants folded; may be empty."""
    word = text.strip().lower()
    return ALIASES.get(word, word)


def load_scheme(scheme: str | Mapping[str, Any]) -> Scheme:
    """Load and check a label scheme.

    Args:
        scheme: Name of a file in `conf/labels`, without `.yaml`, or the scheme itself (a mapping,
            plain values).

    Raises:
        MerError: If there is no such file (the known ones are listed) or the scheme is faulty (all
            faults are).
    """
    if isinstance(scheme, str):
        from mer.config.composition import conf_dir

        folder = conf_dir() / "labels"
        path = folder / f"{scheme}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
            raise MerError(f"there is no label scheme `{scheme}` in {folder}; known are: {known}")
        from omegaconf import OmegaConf

        scheme = cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.load(path)))
    return _checked(dict(trust.as_plain(scheme)))


@cache
def _kind(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _is_kind(value: Any, kind: Any) -> bool:
    try:
        _kind(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _checked(scheme: dict[str, Any]) -> Scheme:
    name = scheme.get("name", "without a name")
    problems = [
        f"key `{key}` is missing"
        for key in ("name", "version", "classes", "map")
        if key not in scheme
    ]
    unknown = sorted(map(str, set(scheme) - set(Scheme.__annotations__)))
    problems += [f"key `{key}` is not known" for key in unknown]
    problems += [
        f"`{key}` is {shown(scheme[key])[:100]}; set {text}"
        for key, (kind, text) in _KINDS.items()
        if key in scheme and not _is_kind(scheme[key], kind)
    ]
    raise_all(f"Label scheme {name}:", problems)

    classes = [str(label) for label in scheme["classes"]]
    if len(set(classes)) < 2 or len(set(classes)) != len(classes) or "" in classes:
        problems.append(f"`classes` must be two or more different names, found {classes}")
    groups = (("map", scheme["map"]), ("expected", scheme.get("expected") or {}))
    for key, group in groups:
        for dataset, entries in group.items():
            named = entries.values() if key == "map" else entries.keys()
            wrong = sorted({str(label) for label in named} - set(classes))
            problems += [
                f"`{key}.{dataset}` names the class `{label}`, which `classes` lacks"
                for label in wrong
            ]
    folded = {
        dataset: {canonical_emotion(str(emotion)): str(label) for emotion, label in entries.items()}
        for dataset, entries in scheme["map"].items()
    }
    raise_all(f"Label scheme {name}:", problems)
    return Scheme(
        name=scheme["name"],
        version=scheme["version"],
        classes=classes,
        map=folded,
        exclude=dict(scheme.get("exclude") or {}),
        expected={key: dict(value) for key, value in (scheme.get("expected") or {}).items()},
        permutation=scheme.get("permutation"),
    )


def apply(table: pd.DataFrame, scheme: str | Mapping[str, Any]) -> Reading:
    """Give every sample its class and drop the samples that the scheme has none for.

    Of a dataset that has no reader here, such as a table of one's own, and that the scheme does not
    map, emotions that are class names are those classes.

    Args:
        table: An index table.
        scheme: See `load_scheme`.

    Returns:
        The table with the further column `label` (class name), renumbered from 0, and the remarks:
        one per excluded sample, one per dataset and emotion without class.

    Raises:
        MerError: If the scheme is faulty, or no sample at all has a class in it.
    """
    from mer.datasets import READERS

    scheme = load_scheme(scheme)
    excluded = table["sample_id"].isin(scheme["exclude"].keys())
    remarks = [
        Remark(sample, "dropped", f"excluded by {scheme['name']}: {scheme['exclude'][sample]}")
        for sample in table.loc[excluded, "sample_id"]
    ]
    kept = table[~excluded]
    known: dict[str, dict[str, str]] = {reader: {} for reader in READERS if reader != "table"}
    mappings = known | scheme["map"]
    class_names = {name: name for name in scheme["classes"]}
    label = pd.Series(
        [
            mappings.get(dataset, class_names).get(emotion)
            for dataset, emotion in zip(kept["dataset"], kept["emotion"], strict=True)
        ],
        index=kept.index,
        dtype="str",
    )
    without = kept[label.isna()].groupby(["dataset", "emotion"], sort=True).size()
    remarks += [
        Remark(
            dataset, "dropped", f"emotion `{emotion}` without class in {scheme['name']}", int(count)
        )
        for (dataset, emotion), count in without.items()
    ]
    if len(kept) and label.isna().all():
        found = ", ".join(f"{dataset} {emotion}" for dataset, emotion in without.index)
        own = [dataset for dataset in kept["dataset"].unique() if dataset not in mappings]
        mend = f"it maps {', '.join(scheme['map'])}. Choose another scheme with labels=NAME"
        if own:
            classes = ", ".join(scheme["classes"])
            key = f"data.{kept['role'].iloc[0]}.{own[0]}.classes"
            meanings = f"'++{key}={{WORD: {scheme['classes'][0]}, ...}}'"
            mend = (
                f"its classes are {classes}. Write these words into your table, say what yours "
                f"mean with {meanings}, or choose another scheme with labels=NAME"
            )
        raise MerError(
            f"no sample has a class in the label scheme {scheme['name']}: found are {found}; {mend}"
        )
    labelled = kept.assign(label=label)[label.notna()].reset_index(drop=True)
    if (seed := scheme.get("permutation")) is not None:
        labelled = permute(labelled, seed)
    return Reading(labelled, remarks)


def permute(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Permute the labels among the samples of each person in each dataset.

    The permutation depends on the seed and on names alone, not on the order of the table.

    Args:
        table: `sample_id`, `dataset`, `person` and `label`.
        seed: Seed of the permutations.
    """
    labels = table["label"].copy()
    for names, rows in table.sort_values("sample_id").groupby(["dataset", "person"]):
        order = generator("label permutation", seed, *names).permutation(len(rows))
        labels.loc[rows.index] = rows["label"].to_numpy()[order]
    return table.assign(label=labels)


def check_counts(
    table: pd.DataFrame, scheme: str | Mapping[str, Any], datasets: Iterable[str]
) -> list[str]:
    """Compare the number of samples per dataset and class with the scheme's expectation.

    Args:
        table: A table with the column `label`, as `apply` returns it.
        scheme: See `load_scheme`.
        datasets: Datasets that should be complete; those without expectation are passed over.

    Returns:
        One sentence per dataset whose counts differ; empty if all agree.
    """
    scheme = load_scheme(scheme)
    problems = []
    for dataset in datasets:
        expected = scheme["expected"].get(dataset)
        if expected is None:
            continue
        counts = table.loc[table["dataset"] == dataset, "label"].value_counts()
        found = {label: int(counts.get(label, 0)) for label in scheme["classes"]}
        wanted = {label: expected.get(label, 0) for label in scheme["classes"]}
        if found != wanted:
            problems.append(
                f"{dataset}: {_counts(found)} found, {_counts(wanted)} expected in "
                f"{scheme['name']} (version {scheme['version']})"
            )
    return problems


def _counts(counts: dict[str, int]) -> str:
    return f"{sum(counts.values())} ({', '.join(f'{n} {label}' for label, n in counts.items())})"
