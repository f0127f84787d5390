"""The audit's check of persons: ids, sides, validation persons."""

from pathlib import Path

import numpy as np
import pandas as pd

from mer.audit.check_persons import check_persons
from tests.audit.tampering import change, everywhere, failures, first_fold, manifest, write_manifest


def test_ids_without_their_dataset_are_seen_and_so_are_persons_who_merged(run_dir: Path) -> None:
    """`casme2/sub02/x` becomes `sub02/x`: two datasets' number 2 is then one person."""

    def strip(table: pd.DataFrame) -> pd.DataFrame:
        for name in {"sample_id", "subject", "person"} & set(table):
            table[name] = table[name].str.replace(r"^[^/]*/", "", regex=True)
        return table

    for name in ("manifest.parquet", "splits.parquet", "predictions.parquet"):
        everywhere(run_dir, name, strip)
    evidence = failures(run_dir)["persons"]
    assert "values of `sample_id` lack their dataset" in evidence
    assert "values of `subject` lack their dataset" in evidence


def test_one_number_in_two_datasets_is_one_person_only_where_a_file_says_so(
    tmp_path: Path,
) -> None:
    rows = [
        ("casme2/sub01/EP01", "casme2/sub01", "negative", "a"),
        ("smic/s1/x", "casme2/sub01", "negative", "a"),
        ("samm/006/006_1", "samm/006", "negative", "b"),
    ]
    merged = check_persons(write_manifest(tmp_path / "merged", rows))
    assert merged.verdict == "fail"
    assert "1 persons are one number in several datasets" in merged.evidence
    said = {"micro": {"smic": {"root": "SMIC", "persons": "people.csv"}}}
    documented = check_persons(write_manifest(tmp_path / "documented", rows, **said))
    assert documented.verdict == "pass"
    assert "which 1 persons have several names" in documented.evidence
    rows[1] = ("smic/s1/x", "01", "negative", "a")
    bare = check_persons(write_manifest(tmp_path / "bare", rows))
    assert "1 persons lack their dataset: 01" in bare.evidence


def test_a_random_split_puts_persons_on_two_sides(run_dir: Path) -> None:
    table = manifest(run_dir)
    folds = sorted(table["fold"].unique())
    drawn = np.random.default_rng(0).permutation(np.arange(len(table)) % len(folds))
    table["fold"] = [folds[number] for number in drawn]
    rows = [
        (fold, sample, "test" if own == fold else "train")
        for fold in folds
        for sample, own in zip(table["sample_id"], table["fold"], strict=True)
    ]
    table.to_parquet(run_dir / "manifest.parquet")
    columns = ["fold", "sample_id", "side"]
    pd.DataFrame(rows, columns=columns).to_parquet(run_dir / "splits.parquet")
    evidence = failures(run_dir)
    assert "persons in train and in test" in evidence["persons"]
    assert "tested persons" in evidence["weights"]


def test_validation_persons_from_the_test_side_are_seen(run_dir: Path) -> None:
    fold = first_fold(run_dir)
    tested = manifest(run_dir).query("fold == @fold")["sample_id"].iloc[0]
    more = pd.DataFrame([(fold, tested, "validation")], columns=["fold", "sample_id", "side"])
    change(run_dir / "splits.parquet", lambda table: pd.concat([table, more]))
    assert f"fold {fold}: 1 persons in validation and in test" in failures(run_dir)["persons"]


def test_a_fold_that_tests_other_samples_than_planned_is_seen(run_dir: Path) -> None:
    fold = first_fold(run_dir)

    def drop(table: pd.DataFrame) -> pd.DataFrame:
        tested = (table["fold"] == fold) & (table["side"] == "test")
        return table.drop(index=table.index[tested][0])

    change(run_dir / "splits.parquet", drop)
    assert f"fold {fold} does not test the samples" in failures(run_dir)["persons"]
