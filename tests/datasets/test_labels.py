import pandas as pd
import pytest
from omegaconf import OmegaConf

from mer.config.composition import conf_dir
from mer.datasets import labels
from mer.datasets.index import make_table
from mer.errors import MerError

# Emotions of the complete datasets, counted in the workbooks of 2014 (CASME II) and v2 (SAMM).
CASME2 = dict(
    other=99, disgust=63, happiness=32, repression=27, surprise=25, sadness=7, fear=2
)  # 255
SAMM = dict(
    anger=57, other=26, happiness=26, surprise=15, contempt=12, disgust=9, fear=8, sadness=6
)  # 159
SMIC = dict(negative=70, positive=51, surprise=43)  # 164


def row(dataset: str, emotion: str, name: str) -> dict[str, str]:
    return {
        "sample_id": name,
        "dataset": dataset,
        "subject": "/".join(name.split("/")[:2]),
        "clip": name.split("/")[-1],
        "role": "micro",
        "emotion": emotion,
        "apex_path": "/a.jpg",
    }


def rows_of(dataset: str, counts: dict[str, int]) -> list[dict[str, str]]:
    return [
        row(dataset, emotion, f"{dataset}/s/{emotion}_{number:02d}")
        for emotion, count in counts.items()
        for number in range(count)
    ]


def rename(rows: list[dict[str, str]], old: str, new: str) -> None:
    next(row for row in rows if row["sample_id"] == old)["sample_id"] = new


@pytest.fixture
def composite() -> pd.DataFrame:
    casme2 = rows_of("casme2", CASME2)
    # The two disgust rows that the official list leaves out, and the row that only 2019 has.
    rename(casme2, "casme2/s/disgust_00", "casme2/sub04/EP12_01f")
    rename(casme2, "casme2/s/disgust_01", "casme2/sub05/EP09_05f")
    extra = row("casme2", "disgust", "casme2/sub24/EP02_07")
    return make_table([*casme2, extra, *rows_of("samm", SAMM), *rows_of("smic", SMIC)])


def test_megc2019_gives_the_official_442(composite: pd.DataFrame) -> None:
    table, remarks = labels.apply(composite, "megc2019")
    counts = table.groupby(["dataset", "label"]).size().to_dict()
    # casme2 negative = 61 of 63 disgust + 27 repression; samm negative = 57 + 12 + 9 + 8 + 6.
    assert counts == {
        ("casme2", "negative"): 88,
        ("casme2", "positive"): 32,
        ("casme2", "surprise"): 25,
        ("samm", "negative"): 92,
        ("samm", "positive"): 26,
        ("samm", "surprise"): 15,
        ("smic", "negative"): 70,
        ("smic", "positive"): 51,
        ("smic", "surprise"): 43,
    }
    assert labels.check_counts(table, "megc2019", ["casme2", "samm", "smic", "mug"]) == []
    said = {remark.item: remark.reason for remark in remarks if "excluded" in remark.reason}
    assert sorted(said) == [
        "casme2/sub04/EP12_01f",
        "casme2/sub05/EP09_05f",
        "casme2/sub24/EP02_07",
    ]
    assert ("samm", "dropped", "emotion `other` without class in megc2019", 26) in remarks


def test_class_names_of_precomputed_tables_are_accepted() -> None:
    names = ["negative", "positive", "surprise"]
    table = make_table(
        [row(one, name, f"{one}/s/{name}") for one in ("casme2", "samm", "smic") for name in names]
    )
    labelled, remarks = labels.apply(table, "megc2019")
    assert (labelled["label"] == labelled["emotion"]).all()
    assert (len(labelled), remarks) == (9, [])


def test_five_classes() -> None:
    extra = row("casme2", "surprise", "casme2/sub24/EP02_07")
    casme2, _ = labels.apply(make_table([*rows_of("casme2", CASME2), extra]), "casme2-5")
    samm, _ = labels.apply(make_table(rows_of("samm", SAMM)), "samm-5")
    assert (len(casme2), len(samm)) == (246, 136)
    assert labels.check_counts(casme2, "casme2-5", ["casme2"]) == []
    assert labels.check_counts(samm, "samm-5", ["samm"]) == []


def test_macro_schemes_agree_with_the_published_counts() -> None:
    # CK+: 45 + 18 + 59 + 25 + 69 + 28 + 83 = 327 sequences; CK+48 three pictures of each, 981.
    ckplus = dict(anger=45, contempt=18, disgust=59, fear=25, happiness=69, sadness=28, surprise=83)
    ck48 = {emotion: 3 * count for emotion, count in ckplus.items()}
    table = make_table([*rows_of("ckplus", ckplus), *rows_of("ck48", ck48)])
    for scheme, size in [("macro-3", 327 + 981), ("macro-7", 327 + 981), ("macro-6", 309 + 927)]:
        labelled, _ = labels.apply(table, scheme)
        assert len(labelled) == size
        assert labels.check_counts(labelled, scheme, ["ckplus", "ck48"]) == []


def test_different_counts_are_reported_with_both_numbers(composite: pd.DataFrame) -> None:
    table, _ = labels.apply(composite, "megc2019")
    table = table.drop(table.index[table["sample_id"] == "smic/s/surprise_00"])
    (problem,) = labels.check_counts(table, "megc2019", ["casme2", "samm", "smic"])
    assert problem == (
        "smic: 163 (70 negative, 51 positive, 42 surprise) found, "
        "164 (70 negative, 51 positive, 43 surprise) expected in megc2019 (version 1)"
    )


def test_every_scheme_of_the_project_loads() -> None:
    names = sorted(path.stem for path in (conf_dir() / "labels").glob("*.yaml"))
    assert {"megc2019", "casme2-5", "samm-5", "macro-3"} <= set(names)
    assert [labels.load_scheme(name)["name"] for name in names] == names


def test_a_scheme_may_be_a_configuration_node(composite: pd.DataFrame) -> None:
    node = OmegaConf.create(labels.load_scheme("megc2019"))
    assert len(labels.apply(composite, node).table) == 442


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    with pytest.raises(MerError, match=r"no label scheme `megc`.*casme2-5.*megc2019"):
        labels.load_scheme("megc")


def test_all_faults_of_a_scheme_are_reported_at_once() -> None:
    scheme = {
        "name": "mine",
        "version": 1,
        "classes": ["a", "b"],
        "map": {"casme2": {"fear": "c"}},
        "expected": {"casme2": {"d": 3}},
    }
    with pytest.raises(MerError) as error:
        labels.load_scheme(scheme)
    assert "`map.casme2` names the class `c`" in str(error.value)
    assert "`expected.casme2` names the class `d`" in str(error.value)
    with pytest.raises(MerError, match=r"(?s)`version` is missing.*`klasses` is not known"):
        labels.load_scheme({"name": "mine", "klasses": [], "map": {}, "classes": ["a", "b"]})


def test_a_scheme_of_another_form_is_named_key_by_key() -> None:
    scheme = {"name": "mine", "version": 1, "classes": ["a", "b"], "map": {"mine": {"x": "a"}}}
    assert labels.load_scheme(scheme)["map"] == {"mine": {"x": "a"}}
    wrong = {"version": "one", "classes": None, "map": {"mine": ["a"]}, "exclude": 3}
    with pytest.raises(MerError) as error:
        labels.load_scheme({**scheme, **wrong})
    assert str(error.value).splitlines()[1:] == [
        "  - `version` is one; set a whole number",
        "  - `classes` is null; set a list of class names",
        "  - `map` is {'mine': ['a']}; set a mapping: dataset, emotion, class",
        "  - `exclude` is 3; set a mapping: sample id, reason",
    ]


def test_class_names_are_classes_in_a_table_of_ones_own() -> None:
    table = make_table(
        [
            row("mylab", "surprise", "mylab/a/1"),
            row("mylab", "disgust", "mylab/a/2"),  # neither a class nor mapped
            row("mmew", "positive", "mmew/b/1"),
        ]
    )
    kept = labels.apply(table, "megc2019").table
    assert dict(zip(kept["sample_id"], kept["label"], strict=True)) == {
        "mylab/a/1": "surprise",
        "mmew/b/1": "positive",
    }


def test_a_known_dataset_that_the_scheme_does_not_map_is_dropped() -> None:
    table = make_table([row("casme2", "disgust", "casme2/a/1"), row("samm", "disgust", "samm/b/1")])
    reading = labels.apply(table, "casme2-5")
    assert reading.table["dataset"].tolist() == ["casme2"]
    assert [remark.item for remark in reading.remarks] == ["samm"]


def test_a_table_without_any_class_is_an_error() -> None:
    table = make_table([row("mug", "anger", "mug/001/anger")])
    with pytest.raises(MerError, match=r"no sample has a class.*found are mug anger"):
        labels.apply(table, "megc2019")


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("Others", "other"),
        (" Happiness ", "happiness"),
        ("happyiness", "happiness"),
        ("happy", "happiness"),
        ("sad", "sadness"),
        ("tense", "tense"),
        ("", ""),
    ],
)
def test_spellings_of_emotions_are_folded(written: object, word: str) -> None:
    assert labels.canonical_emotion(written) == word
