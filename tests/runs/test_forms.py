"""Files of a run that are whole and hold something else than `mer train` writes."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mer.errors import MerError
from mer.runs import forms, run_files

PAIRS = {"uf1": [0.1, 0.9], "uar": [0.1, 0.9], "accuracy": [0.1, 0.9]}
SCORES = {"uf1": 0.5, "uar": 0.5, "accuracy": 0.5, "intervals": PAIRS}
METRICS = {"status": "complete", "classes": ["a"], "heads": {"svm": {"pooled": SCORES}}}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("metrics.json", {**METRICS, "status": None}, "it['status'] is NoneType, not str"),
        ("metrics.json", {**METRICS, "heads": []}, "it['heads'] is list, not dict"),
        ("metrics-ORACLE.json", {**METRICS, "classes": [1]}, "it['classes'][0] is int, not str"),
        (
            "metrics.json",
            {**METRICS, "heads": {"svm": {"pooled": {**SCORES, "uf1": True}}}},
            "it['heads']['svm']['pooled']['uf1'] is bool, not int or float",
        ),
        (
            "metrics.json",
            {**METRICS, "heads": {"svm": {"pooled": {**SCORES, "intervals": {"uf1": [1]}}}}},
            "it['heads']['svm']['pooled']['intervals']['uf1'] is list of 1, not list of 2",
        ),
        ("metrics.json", {**METRICS, "heads": {"svm": {}}}, "no pooled scores of 'svm'"),
        (
            "metrics.json",
            {**METRICS, "heads": {"svm": {"pooled": {**SCORES, "confusion": [[1, 0], [0, 1]]}}}},
            "confusion of 'svm', 'pooled', is not that of the classes",
        ),
        (
            "metrics.json",
            {**METRICS, "heads": {"svm": {"pooled": {**SCORES, "samples": 10**30}}}},
            "it['heads']['svm']['pooled']['samples'] is too large",
        ),
        ("label_access.json", ["x"], "it[0] is str, not dict"),
        ("environment.json", [{"data_hash": 1}], "it[0]['data_hash'] is int, not str"),
        ("checksums.json", {"a": None}, "it['a'] is NoneType, not str"),
    ],
)
def test_json_of_another_form_is_damaged(
    name: str, content: Any, problem: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(MerError) as error:
        run_files.read_json(tmp_path / name, type(content))
    assert f"{name} is damaged ({problem})" in str(error.value)


def test_json_of_the_form_is_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    assert run_files.read_json(tmp_path / "metrics.json") == METRICS


def test_json_of_many_levels_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "cost.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(MerError, match=r"cost\.json is damaged \(too many levels"):
        run_files.read_json(tmp_path / "cost.json")


def test_a_table_without_a_column_or_with_samples_twice_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    columns = ["sample_id", "dataset", "person", "label", "fold"]
    for names, rows, problem in (
        (columns, 2, "samples with more than one row"),
        (columns[:-1], 1, "no column fold"),
    ):
        pd.DataFrame({name: ["a"] * rows for name in names}).to_parquet(path)
        with pytest.raises(MerError, match=problem):
            run_files.read_table(path)


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (pa.array(["a", None]), "sample_id has gaps"),
        (pa.array([1, 2]), "sample_id holds integer, not text"),
        (pa.array([[1], [2]]), "sample_id holds mixed, not text"),
        (pa.array([b"a", b"b"]), "sample_id holds bytes, not text"),
        (pa.array([{"a": 1}] * 2), "sample_id holds mixed, not text"),
        (pa.array(["a", "b"]).dictionary_encode(), "sample_id holds categorical, not text"),
    ],
)
def test_a_table_of_other_types_is_damaged(column: pa.Array, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"sample_id": column}), path)
    with pytest.raises(MerError) as error:
        run_files.read_table(path)
    assert problem in str(error.value)


def test_a_table_with_one_name_twice_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, names=["fold", "fold"]), path)
    with pytest.raises(MerError, match="is damaged"):
        run_files.read_table(path)


def test_a_small_file_of_many_rows_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "other.parquet"
    pd.DataFrame({"fold": ["a"] * 11}).to_parquet(path)
    assert len(run_files.read_table(path)) == 11
    monkeypatch.setattr(forms, "MOST_ROWS", 10)
    with pytest.raises(MerError, match="11 rows"):
        run_files.read_table(path)


def test_a_long_text_that_many_rows_share_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pd.DataFrame({"fold": ["a" * 100_001] * 1_000}).to_parquet(path)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(MerError, match="a text of 100,001 bytes"):
        run_files.read_table(path)
    pd.DataFrame({"note": pd.Series([None, None], dtype="str")}).to_parquet(path)
    assert len(run_files.read_table(path)) == 2
