"""Folds: disjoint persons, every sample tested once, nothing depends on the order of the table."""

from collections import Counter

import pandas as pd
import pytest

from mer import protocols
from mer.errors import MerError
from mer.protocols import Fold

LABELS = ("negative", "positive", "surprise")


def make_table() -> pd.DataFrame:
    """Twelve persons in three datasets, three samples each; casme2/07 and samm/07 are one human."""
    rows = [
        {
            "sample_id": f"{dataset}/{subject:02d}/clip{number}",
            "dataset": dataset,
            "person": f"{dataset}/{subject:02d}" if subject != 7 else "both/07",
            "label": LABELS[number],
        }
        for dataset, subjects in (
            ("casme2", (1, 2, 3, 7)),
            ("samm", (1, 2, 3, 7)),
            ("smic", (1, 2, 3)),
        )
        for subject in subjects
        for number in range(3)
    ]
    return pd.DataFrame(rows)


ALL = [
    {"name": "loso"},
    {"name": "loso", "validation": 0.3},
    {"name": "loso_per_dataset", "validation": 0.3},
    {"name": "holdout_dataset", "validation": 0.3},
    {"name": "group_kfold", "n_splits": 3, "validation": 0.3},
]


@pytest.mark.parametrize("protocol", ALL, ids=lambda protocol: protocol["name"])
def test_persons_are_disjoint_and_samples_tested_once(protocol: dict) -> None:
    table = make_table()
    person = dict(zip(table["sample_id"], table["person"], strict=True))
    tested: list[str] = []
    for fold in protocols.make_folds(table, **protocol):
        train = {person[sample] for sample in fold.train}
        validation = {person[sample] for sample in fold.validation}
        test = {person[sample] for sample in fold.test}
        assert not train & validation
        assert not train & test
        assert not validation & test
        assert train
        assert bool(validation) == bool(protocol.get("validation"))
        tested += fold.test
    assert sorted(tested) == sorted(table["sample_id"])


def test_loso_has_a_fold_per_human() -> None:
    folds = protocols.make_folds(make_table(), name="loso")
    # 4 + 4 + 3 subjects, of whom two are the same human.
    assert len(folds) == 10
    both = next(fold for fold in folds if fold.name == "both-07")
    assert {sample.split("/")[0] for sample in both.test} == {"casme2", "samm"}


@pytest.mark.parametrize("protocol", ALL[:2] + ALL[3:], ids=lambda protocol: protocol["name"])
def test_order_of_the_table_does_not_matter(protocol: dict) -> None:
    table = make_table()
    shuffled = table.sample(frac=1, random_state=3)
    assert protocols.make_folds(table, **protocol) == protocols.make_folds(shuffled, **protocol)


def test_holdout_leaves_a_shared_person_out_of_training() -> None:
    folds = protocols.make_folds(make_table(), name="holdout_dataset")
    assert [fold.name for fold in folds] == ["casme2", "samm", "smic"]
    # The human of casme2/07 is tested with casme2, so his samples in samm do not train that fold.
    assert not any("samm/07" in sample for sample in folds[0].train)
    assert any("samm/07" in sample for sample in folds[2].train)


def test_validation_takes_the_share_from_every_dataset() -> None:
    fold = protocols.make_folds(make_table(), name="loso", validation=0.3)[-1]
    # smic/03 is tested. 30 % of the 4, 4 and 2 persons left (both/07 counts in both) rounds to 1
    # each.
    assert fold.name == "smic-03"
    assert {sample.split("/")[0] for sample in fold.validation} == {"casme2", "samm", "smic"}


def test_validation_persons_take_turns() -> None:
    persons = [f"smic/{number:02d}" for number in range(20)]
    table = pd.DataFrame({"sample_id": persons, "person": persons, "dataset": "smic"})
    folds = protocols.make_folds(table.assign(label="positive"), name="loso", validation=0.2)
    # 20 % of the 19 persons left are 4; 20 folds give 80 turns to 20 persons.
    assert {len(fold.validation) for fold in folds} == {4}
    turns = Counter(person for fold in folds for person in fold.validation)
    assert len(turns) == 20 and set(turns.values()) <= {3, 4, 5}
    again = protocols.make_folds(
        table.assign(label="positive"), name="loso", validation=0.2, seed=1
    )
    assert [fold.validation for fold in again] != [fold.validation for fold in folds]


def test_nobody_validates_twice_before_all_others_have() -> None:
    table = make_table()
    person = dict(zip(table["sample_id"], table["person"], strict=True))
    folds = protocols.make_folds(table, name="group_kfold", n_splits=5, validation=0.3)
    turns: Counter[str] = Counter()
    for fold in folds:
        chosen = {person[sample] for sample in fold.validation}
        for dataset in ("casme2", "samm", "smic"):
            here = {person[sample] for sample in fold.train + fold.validation if dataset in sample}
            held = {person[sample] for sample in fold.validation if dataset in sample}
            alone = [
                name for name in held if name != "both/07"
            ]  # who may come by the other dataset
            waiting = {turns[name] for name in here - chosen}
            assert all(turns[name] <= min(waiting, default=99) for name in alone)
        turns.update(chosen)


def test_a_leak_is_found() -> None:
    table = make_table()
    ids = table["sample_id"].tolist()
    leaky = [Fold("one", tuple(ids[1:]), (), tuple(ids[:1]))]
    with pytest.raises(MerError) as error:
        protocols.check_folds(leaky, table)
    assert "casme2/01 in train and in test" in str(error.value)
    assert f"{len(ids) - 1} samples not tested exactly once" in str(error.value)
    strange = [Fold("one", tuple(ids[3:]), (), (*ids[:3], "casme2/99/clip0"))]
    with pytest.raises(MerError, match=r"the table does not hold:\n  - casme2/99/clip0$"):
        protocols.check_folds(strange, table)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"name": "lopo"}, "protocol.name is lopo; set one of loso"),
        ({"name": "loso", "validation": 1.0}, "set a share of persons"),
        ({"name": "group_kfold", "n_splits": 40}, "with 10 persons set 2 to 10"),
    ],
)
def test_wrong_settings_are_named(protocol: dict, message: str) -> None:
    with pytest.raises(MerError, match=message):
        protocols.make_folds(make_table(), **protocol)


def test_one_person_cannot_be_left_out() -> None:
    table = make_table()[:3]
    with pytest.raises(MerError, match="needs two persons or more; found 1"):
        protocols.make_folds(table, name="loso")


def test_description_counts_persons_samples_and_classes() -> None:
    table = make_table()
    folds = protocols.make_folds(table, name="holdout_dataset")
    row = protocols.describe(folds, table).set_index("fold").loc["smic"]
    assert row["train_persons"] == 7  # 3 of casme2, 3 of samm, one of both
    assert row["train_samples"] == 24
    assert row["test_negative"] == 3
