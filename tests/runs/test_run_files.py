"""Files of a run that are missing, cut off or of another form: a sentence with the mend."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mer.compare.candidates import read as read_candidates
from mer.errors import MerError
from mer.runs import label_access, run_files
from mer.runs.stored_run import load_run
from tests.compare.compare_inputs import write_run


def test_content_passes_through(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    pd.DataFrame({"a": [1], "b": [2]}).to_parquet(tmp_path / "a.parquet")
    assert run_files.read_json(tmp_path / "a.json") == {"a": 1}
    assert run_files.read_table(tmp_path / "a.parquet", ["b"])["b"].tolist() == [2]


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("folds/smic-s1/fold.json", "remove the folder {}/folds/smic-s1; the same `mer train` com"),
        ("macro/net-0/pretraining.json", "remove the folder {}/macro/net-0; the same `mer train`"),
        ("metrics.json", "remove it; `mer train` with the same words and run.dir={} writes it aga"),
        ("predictions-ORACLE.parquet", "remove it; `mer train` with the same words"),
        ("manifest.parquet", "remove it; `mer train` with the same words"),
        ("label_access.json", "copy the run again, or start one in another directory"),
    ],
)
def test_each_file_has_its_mend(tmp_path: Path, name: str, mend: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"a')
    with pytest.raises(MerError) as caught:
        run_files.read_json(path)
    text = str(caught.value)
    assert text.startswith(f"{path} is damaged (no JSON, or cut off): ")
    assert text.partition("): ")[2].startswith(mend.format(tmp_path))


def test_another_form_is_damage(tmp_path: Path) -> None:
    (tmp_path / "cost.json").write_text("[]")
    with pytest.raises(MerError, match=r"cost.json is damaged \(no dict in it\)"):
        run_files.read_json(tmp_path / "cost.json")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "splits.parquet")
    with pytest.raises(
        MerError, match=r"splits.parquet is damaged \(no column fold, sample_id, side\)"
    ):
        run_files.read_table(tmp_path / "splits.parquet", ["a", "fold", "side"])


def test_a_missing_file_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"manifest.parquet is missing: `mer train` with the same"):
        run_files.read_table(tmp_path / "manifest.parquet")


READERS: dict[str, Callable[[Path], object]] = {
    "config.yaml": lambda run: load_run(run).config,
    "metrics.json": lambda run: load_run(run).metrics,
    "predictions.parquet": lambda run: load_run(run).predictions,
    "manifest.parquet": lambda run: load_run(run).folds,
    "environment.json": lambda run: load_run(run).environment,
    "cost.json": lambda run: run_files.read_json(run / "cost.json"),
    "label_access.json": label_access.looks,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_every_file_of_a_run_may_be_cut_off(tmp_path: Path, name: str, share: float) -> None:
    run = write_run(tmp_path / "run", {"svm": 0.5})
    path = run / name
    if not path.exists():
        path.write_text(json.dumps({"a": [1, 2, 3]}))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    if name == "config.yaml":
        path.write_text("a: [1")
    with pytest.raises(MerError, match=f"{name} is damaged"):
        READERS[name](run)
    if name in ("metrics.json", "manifest.parquet"):
        with pytest.raises(MerError, match=name):
            read_candidates([run])
